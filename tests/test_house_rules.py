"""The rules of the house, checked on the source: imports run one way, one place steps environments, help is instant."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [
    *("errors", "files", "spaces", "guard", "exits"),  # the ground
    *("config", "demos", "envs", "learning", "model_free", "planners", "algorithm"),
    *("formats", "checks", "records", "reports", "runs", "cli", "__main__"),
]
"""From the ground up: a file imports its own room and those before it, except for STRANGERS."""
LEARNER, WORLD = {"learning", "model_free", "planners", "algorithm"}, {"envs", "formats", "checks"}
STRANGERS = {
    "learning": {"envs"},
    "model_free": {"envs"},
    "planners": {"envs", "model_free"},
    "algorithm": {"envs"},
    "formats": LEARNER,
    "checks": LEARNER,
    "records": LEARNER | WORLD,
    "reports": LEARNER | WORLD,
    "__main__": set(ROOMS) - {"cli"},
}
"""Earlier rooms that a room does not know all the same."""


def _source_files() -> dict[str, Path]:
    """Module name -> file, of every module of the package; the links are skipped, their files are listed once."""
    files = {}
    for folder, package in (("dyna_ail", "dyna_ail"), ("planners", "dyna_ail.planners"), ("envs", "dyna_ail.envs")):
        for path in sorted((ROOT / folder).rglob("*.py")):  # which does not follow links
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            files[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return files


FILES = _source_files()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
ELSEWHERE = ("tests", "benchmarks", "docs", "results", "examples")
EVERY_FILE = sorted({*FILES.values(), *(path for part in ELSEWHERE for path in (ROOT / part).rglob("*.py"))})


def _targets(node: ast.AST, module: str, is_package: bool) -> list[str]:
    """The absolute names an import statement asks for, submodules and attributes alike."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.split(".")
            parts = parts[: len(parts) - node.level + is_package]
            base = ".".join([*parts, *filter(None, [node.module])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


def _imports(module: str) -> set[str]:
    """The project's modules that ``module`` imports, at its top, inside a function or for types only."""
    found = set()
    for node in ast.walk(TREES[module]):
        for name in _targets(node, module, FILES[module].stem == "__init__"):
            while name and name not in FILES:
                name = name.rpartition(".")[0]
            found.add(name)
    return found - {module, "dyna_ail", ""}  # the root holds the version, and names that are imported when asked for


IMPORTS = {module: _imports(module) for module in FILES if module != "dyna_ail"}


def _reachable(module: str) -> set[str]:
    """Everything that ``module`` imports, directly or through others."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = IMPORTS[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def test_imports_lead_down():
    def room(module: str) -> str:
        return module.split(".")[1]

    wrong = []
    for module, imported in IMPORTS.items():
        allowed = {*ROOMS[: ROOMS.index(room(module))], room(module)} - STRANGERS.get(room(module), set())
        wrong += [f"{module} imports {other}" for other in sorted(imported) if room(other) not in allowed]
    assert not wrong and {room(module) for module in IMPORTS} == set(ROOMS)


def test_no_module_imports_itself_through_others():
    cyclic = [module for module in IMPORTS if module in _reachable(module)]
    assert not cyclic, f"import circles through {cyclic}"


def test_planners_cannot_reach_an_environment():
    planners = [module for module in IMPORTS if module.startswith("dyna_ail.planners")]
    reached = {seen for module in planners for seen in _reachable(module)}
    assert "dyna_ail.learning.unroll" in reached, "the check no longer sees what planners import"
    assert not [name for name in reached if name.startswith(("dyna_ail.envs", "dyna_ail.learning.rollout"))]


def test_the_reader_in_a_process_of_its_own_knows_nobody():
    assert not IMPORTS["dyna_ail.formats.reader"]


def test_no_bare_planners_or_envs():
    bare = []
    for path in EVERY_FILE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = _targets(node, "outside", False)
            bare += [(str(path), name) for name in names if name.split(".")[0] in ("planners", "envs")]
    assert not bare


def test_every_module_says_what_it_is_for():
    assert not [path for path in EVERY_FILE if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]


def test_one_module_steps_a_training_environment():
    allowed = {
        "dyna_ail.learning.rollout",  # the training environment
        "dyna_ail.envs.recording",  # records demonstrations
        "dyna_ail.envs.playback",  # repeats them
        "dyna_ail.guard",  # a wrapper, which passes on what one of these asks
    }
    stepping = set()
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            if (
                isinstance(called, ast.Attribute)
                and called.attr == "step"
                and "env" in ast.unparse(called.value).lower()
            ):
                stepping.add(module)
    assert "dyna_ail.learning.rollout" in stepping, "the check no longer recognises a step"
    assert stepping <= allowed


def _loaded_after(*statements: str) -> list[set[str]]:
    """The top-level modules in memory after each of the statements, in a fresh interpreter."""
    tell = "print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    code = "\n".join(["import sys", *(line for statement in statements for line in (statement, tell))])
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [set(line.split()) for line in output.splitlines() if line.startswith("loaded:")]


HEAVY = {"torch", "gymnasium", "stable_baselines3", "sb3_contrib", "matplotlib"}


def test_heavy_libraries_are_not_imported():
    statements = ["import dyna_ail", "from dyna_ail import Config, InputError", "import dyna_ail.cli"]
    assert [loaded & HEAVY for loaded in _loaded_after(*statements)] == [set()] * 3
    assert _loaded_after("import dyna_ail.algorithm")[0] & HEAVY, "the check no longer sees them"


def test_help_waits_for_no_heavy_library():
    """Without them it takes about half a second."""
    commands = ["", "train", "evaluate", "plot", "expert train", "demos record", "demos info"]
    asked = [f"assert main({[*command.split(), '--help']}) == 0" for command in commands]
    for command, loaded in zip(commands, _loaded_after("from dyna_ail.cli import main", *asked)[1:], strict=True):
        assert "tyro" in loaded and not loaded & HEAVY, command


def test_every_lazy_name_resolves():
    import dyna_ail

    guards = (node for node in ast.walk(TREES["dyna_ail"]) if isinstance(node, ast.If))
    (for_types,) = (guard for guard in guards if ast.unparse(guard.test) == "TYPE_CHECKING")
    declared = {alias.asname for node in for_types.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared == set(dyna_ail._HOME), "the names for type checkers and the lazy names differ"
    for name in declared:
        assert getattr(dyna_ail, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dyna_ail.nonsense
