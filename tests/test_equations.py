"""docs/equations.md points at code and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "equations.md").read_text(encoding="utf-8")
LINKS = sorted(set(re.findall(r"\[`([\w.]+)`\]\(([^)]+)\)", TEXT)))


def _defined(path: Path) -> set[str]:
    """Dotted names of the functions, classes and methods in a file."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_the_names_are_in_the_files():
    files = {target for _, target in LINKS}
    defined = {target: _defined(DOCS / target) for target in files if (DOCS / target).is_file()}
    assert not [(name, target) for name, target in LINKS if name not in defined.get(target, ())]


def test_every_equation_and_line_is_listed():
    dyna, mgail, _ = re.split(r"\n## (?:MGAIL|MAIL)", TEXT)[:3]

    def numbers(part: str, word: str) -> set[int]:
        found = set()
        for cell in re.findall(rf"^\| ([^|\n]*{re.escape(word)}[^|\n]*) \|", part, re.MULTILINE):
            for first, last in re.findall(r"(\d+)(?:-(\d+))?", cell.split(word, 1)[1]):
                found |= set(range(int(first), int(last or first) + 1))
        return found

    assert numbers(dyna, "Eq.") >= set(range(1, 9)) and numbers(dyna, "line") >= set(range(1, 11))
    assert numbers(mgail, "Eq.") >= set(range(1, 14)) and numbers(mgail, "line") >= set(range(1, 16))
    assert len(LINKS) > 50
