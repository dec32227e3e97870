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

from dyna_ail import DynaAIL
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
    loaded = DynaAIL.load("pendulum.zip", gymnasium.make("Pendulum-v1"))
    assert loaded.interactions == 200
    np.testing.assert_array_equal(again, loaded.policy.predict(obs, deterministic=True)[0])

    exec(SAVING, names)
    found = Demonstrations.load("my_demos.npz")
    assert len(found.trajectories) == 4 and found.metadata["task"] == "my_task:MyTask-v0"
    importlib.import_module("my_task")
    env = gymnasium.make("MyTask-v0")
    found.check(env.observation_space, env.action_space)
    assert np.mean([t.return_ for t in found.trajectories]) > -300, "the demonstrator no longer swings up"


def test_every_command_parses(folder, monkeypatch):
    parsed: list[object] = []
    for kind in COMMANDS.values():
        monkeypatch.setattr(kind, "run", lambda command: parsed.append(command))
    refused = []
    for line in LINES:
        parsed.clear()
        status = main(shlex.split(line, comments=True))
        if status != 0 or len(parsed) != 1:
            refused.append(line)
    assert LINES and not refused


def test_every_command_is_shown():
    assert {name for name in COMMANDS for line in LINES if line.startswith(name)} == set(COMMANDS)


def test_every_command_mentioned_exists():
    def exists(words: str) -> bool:
        return any(name == words or name.startswith(f"{words} ") or words.startswith(f"{name} ") for name in COMMANDS)

    assert MENTIONED
    unknown = [words for words in MENTIONED if not exists(words)]
    assert not unknown


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^ {4}make (\w+)", TEXT, re.MULTILINE))
    assert named == {"demo", "test"} and named <= targets


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere():
    def leads(page: str, target: str) -> bool:
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        return found.exists() and (not anchor or anchor in anchors(found))

    assert len(LINKS) > 100
    broken = [(page, target) for page, target in LINKS if not leads(page, target)]
    assert not broken


def test_every_module_is_in_the_table():
    """Itself or its folder."""
    page = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    table = re.search(r"^## Where is what\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert table is not None
    listed = {target.removeprefix("../") for target in re.findall(r"\]\(([^)\s]+)\)", table[1])}
    modules = [
        path.relative_to(ROOT)
        for part in ("dyna_ail", "planners", "envs")
        for path in (ROOT / part).rglob("*.py")
        if not path.name.startswith("__")
    ]
    assert len(modules) > 50
    unlisted = [str(m) for m in modules if str(m) not in listed and str(m.parent) not in listed]
    assert not unlisted, f"the table of files in docs/development.md lacks {unlisted}"
