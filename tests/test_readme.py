"""README.md keeps its promises: its example runs and its commands parse. What any page links to exists."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from runs import make_run
from sb3_contrib import TRPO

from dyna_ail.cli import COMMANDS, main
from dyna_ail.demos import Demonstrations

ROOT = Path(__file__).resolve().parents[1]
TEXT = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
BLOCKS = [
    re.sub(r"^ {3}", "", block, flags=re.MULTILINE) if indent else block
    for indent, block in re.findall(r"^( *)```python\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
]
EXAMPLE, MY_TASK, SAVING = BLOCKS
LINES = re.findall(r"^ {4,}dyna-ail (.+)$", TEXT, re.MULTILINE)
MENTIONED = re.findall(r"`dyna-ail ([^`]+)`", TEXT)
PAGES = [
    *ROOT.glob("*.md"),
    *(p for part in ("docs", "results", "examples", "benchmarks") for p in (ROOT / part).rglob("*.md")),
]
LINKS = sorted(
    {
        (str(page.relative_to(ROOT)), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    }
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with the README's own task in it, as the command line sees it, and a run to go on with."""
    make_run(tmp_path / "results" / "runs" / "cartpole-1", [0.0])
    (tmp_path / "my_task.py").write_text(MY_TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_task", raising=False)
    monkeypatch.delitem(gymnasium.registry, "MyTask-v0", raising=False)
    return tmp_path


def test_the_example_runs_and_saves(folder, capsys):
    assert len(EXAMPLE.splitlines()) <= 25
    short = EXAMPLE.replace("10_000", "200")
    assert short != EXAMPLE
    names: dict = {}
    exec(short, names)
    torque, mean = capsys.readouterr().out.splitlines()
    assert abs(float(torque.strip("[]"))) <= 2
    assert -2000 < float(mean) < 0
    assert names["learner"].interactions == 200
    obs = names["env"].reset(seed=3)[0]
    again = TRPO.load(folder / "pendulum.zip").predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(again, names["learner"].policy.predict(obs, deterministic=True)[0])

    exec(SAVING, names)
    found = Demonstrations.load("my_demos.npz")
    assert len(found.trajectories) == 4 and found.metadata["task"] == "my_task:MyTask-v0"
    importlib.import_module("my_task")
    env = gymnasium.make("MyTask-v0")
    found.check(env.observation_space, env.action_space)
    assert np.mean([t.return_ for t in found.trajectories]) > -300, "the demonstrator no longer swings up"


@pytest.mark.parametrize("line", LINES)
def test_every_command_parses(line, folder, monkeypatch):
    parsed = []
    for kind in COMMANDS.values():
        monkeypatch.setattr(kind, "run", lambda command: parsed.append(command))
    assert main(shlex.split(line, comments=True)) == 0
    assert len(parsed) == 1


def test_every_command_is_shown():
    assert {name for name in COMMANDS for line in LINES if line.startswith(name)} == set(COMMANDS)


@pytest.mark.parametrize("words", MENTIONED)
def test_every_command_mentioned_exists(words):
    assert any(name == words or name.startswith(f"{words} ") or words.startswith(f"{name} ") for name in COMMANDS)


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^ {4}make (\w+)", TEXT, re.MULTILINE))
    assert named == {"demo", "test"} and named <= targets


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_every_link_leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists()
    assert not anchor or anchor in anchors(found)


def test_every_module_is_in_the_table():
    modules = {f"{part}/{p.name}" for part in ("dyna_ail", "planners", "envs") for p in (ROOT / part).glob("*.py")}
    listed = {target.removeprefix("../") for page, target in LINKS if page == "docs/development.md"}
    unlisted = {m for m in modules - listed if not m.endswith(("__init__.py", "__main__.py"))}
    assert not unlisted, f"the table of files in docs/development.md lacks {unlisted}"
