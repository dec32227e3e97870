"""The rules of the house, checked on the source: imports run one way, one place steps environments, help is instant."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = {f"dyna_ail.{name}" for name in ("config", "errors", "networks", "replay", "spaces")}
# The loop, what surrounds it and what is drawn from it: nothing that the loop is made of may know these.
UPPER = (
    "algorithm",
    "checkpoint",
    "cell",
    "checks",
    "cli",
    "display",
    "evaluation",
    "exits",
    "groups",
    "health",
    "journal",
    "overview",
    "plots",
    "record",
    "rows",
    "run",
    "statistics",
    "sweep",
    "tables",
    "__main__",
)


def _source_files() -> dict[str, Path]:
    """Module name -> file, of every module of the package; the links are skipped, their files are listed once."""
    folders = {
        "dyna_ail": "dyna_ail",
        "dyna_ail.formats": "dyna_ail/formats",
        "dyna_ail.reports.plots": "dyna_ail/plots",
        "dyna_ail.planners": "planners",
        "dyna_ail.envs": "envs",
    }
    files = {}
    for package, folder in folders.items():
        for path in sorted((ROOT / folder).glob("*.py")):
            files[package if path.stem == "__init__" else f"{package}.{path.stem}"] = path
    return files


FILES = _source_files()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
EVERY_FILE = sorted(
    {*FILES.values(), *(p for part in ("tests", "benchmarks", "docs", "results") for p in (ROOT / part).rglob("*.py"))}
)


def _for_types_only(tree: ast.Module) -> set[ast.AST]:
    """The nodes under ``if TYPE_CHECKING:``, which import nothing at run time."""
    guarded = (n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING"))
    return {inner for guard in guarded for statement in guard.body for inner in ast.walk(statement)}


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


def _imports(module: str, *, types: bool) -> set[str]:
    """The project's modules that ``module`` imports, at its top or inside a function."""
    tree = TREES[module]
    skipped = set() if types else _for_types_only(tree)
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        for name in _targets(node, module, FILES[module].stem == "__init__"):
            while name and name not in FILES:
                name = name.rpartition(".")[0]
            if name:
                found.add(name)
    return found - {module}


AT_RUN_TIME = {module: _imports(module, types=False) for module in FILES}
WITH_TYPES = {module: _imports(module, types=True) for module in FILES}


def _reachable(module: str) -> set[str]:
    """Everything that ``module`` imports, directly or through others. Lazy names of the package's root do not count."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = AT_RUN_TIME[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def _members(package: str) -> list[str]:
    return [module for module in FILES if module == package or module.startswith(package + ".")]


def _upper_part(modules: set[str]) -> set[str]:
    return modules & {f"dyna_ail.{name}" for name in UPPER}


def test_the_modules_are_found():
    assert {"dyna_ail", "dyna_ail.config", "dyna_ail.planners", "dyna_ail.envs"} <= set(FILES)
    assert "dyna_ail.config" in AT_RUN_TIME["dyna_ail.demos"] | AT_RUN_TIME["dyna_ail.algorithm"]


def test_no_module_imports_itself_through_others():
    cyclic = [module for module in FILES if module in _reachable(module)]
    assert not cyclic, f"import cycles through {cyclic}"


@pytest.mark.parametrize("module", sorted(LEAVES & set(FILES)))
def test_leaves_import_only_leaves(module):
    assert WITH_TYPES[module] <= LEAVES


@pytest.mark.parametrize("module", ["dyna_ail.errors", "dyna_ail.config", "dyna_ail.learning.replay"])
def test_config_and_replay_know_nobody(module):
    assert WITH_TYPES[module] <= {"dyna_ail.errors"}


@pytest.mark.parametrize("module", [*_members("dyna_ail.planners"), *_members("dyna_ail.envs")])
def test_planners_and_envs_never_see_the_loop(module):
    assert not _upper_part(WITH_TYPES[module] | _reachable(module))


def test_planners_cannot_reach_an_environment():
    for module in _members("dyna_ail.planners"):
        assert not [
            seen for seen in _reachable(module) if seen.startswith(("dyna_ail.envs", "dyna_ail.learning.rollout"))
        ]


def test_the_reader_in_a_process_of_its_own_knows_nobody():
    assert not WITH_TYPES["dyna_ail.formats.reader"]


def test_nobody_imports_the_command_line():
    assert [module for module in FILES if "dyna_ail.cli" in WITH_TYPES[module]] in (["dyna_ail.__main__"], [])


def test_the_loop_never_sees_evaluation_or_figures():
    for module in {"dyna_ail.algorithm", "dyna_ail.model_free"} & set(FILES):
        assert not _upper_part(WITH_TYPES[module] | _reachable(module)) - {"dyna_ail.algorithm"}


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_bare_planners_or_envs(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [name for node in ast.walk(tree) for name in _targets(node, "outside", False)]
    assert not [name for name in names if name.split(".")[0] in ("planners", "envs")]


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


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


def _loaded_after(statement: str) -> set[str]:
    """The top-level modules in memory after ``statement`` in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(output.splitlines()[-1].split())


HEAVY = {"torch", "gymnasium", "stable_baselines3", "sb3_contrib", "matplotlib"}


@pytest.mark.parametrize(
    "statement", ["import dyna_ail", "import dyna_ail.cli", "from dyna_ail import Config, InputError"]
)
def test_heavy_libraries_are_not_imported(statement):
    assert not _loaded_after(statement) & HEAVY


@pytest.mark.parametrize("command", ["", "train", "evaluate", "plot", "expert train", "demos record", "demos info"])
def test_help_waits_for_no_heavy_library(command):
    """Without them it takes about half a second."""
    loaded = _loaded_after(f"from dyna_ail.cli import main\nassert main({[*command.split(), '--help']}) == 0")
    assert "tyro" in loaded and not loaded & HEAVY


def test_every_lazy_name_resolves():
    import dyna_ail

    declared = {
        alias.asname
        for node in _for_types_only(TREES["dyna_ail"])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == set(dyna_ail._HOME), "the names for type checkers and the lazy names differ"
    for name in declared:
        assert getattr(dyna_ail, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dyna_ail.nonsense
