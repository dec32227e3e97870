"""The example of an own environment, by its README's commands: it learns, it flies, bad input is refused."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from dyna_ail.cli import main
from dyna_ail.demos import Demonstrations
from dyna_ail.envs.recording import record_episodes

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "own_environment"
COMMANDS = re.findall(r"^ {4}((?:python|dyna-ail) .+)$", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.M)


def call(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of the README, as a shell in ``folder`` would run it. (The training takes up to seven minutes.)"""
    program, *arguments = shlex.split(line)
    start = [sys.executable] if program == "python" else [sys.executable, "-m", "dyna_ail"]
    return subprocess.run([*start, *arguments], cwd=folder, capture_output=True, text=True, timeout=600)


def output(line: str, folder: Path) -> str:
    done = call(line, folder)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def command(start: str) -> str:
    """The one line of the README that begins so."""
    (found,) = [line for line in COMMANDS if line.startswith(start)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with the demonstrations recorded."""
    copy = tmp_path_factory.mktemp("example") / "own_environment"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__", "runs", "*.npz"))
    assert "10 demonstrations" in output(command("python record.py"), copy)
    return copy


def test_the_demonstrations_fit_the_environment(folder: Path) -> None:
    text = output(command("dyna-ail demos info"), folder)
    assert "10, of 100 to 100 steps" in text
    controller, random = (float(re.search(rf"{name}_return +(\S+)", text)[1]) for name in ("expert", "random"))
    assert controller > 95 and random < 10


@pytest.mark.slow
def test_it_learns_what_cloning_does_not_and_flies(folder: Path) -> None:
    """In a third of the README's budget: seed 0 holds 90% from 2,500, the slowest of ten seeds from 6,500."""
    train = command("dyna-ail train --task orbit:Orbit-v0 --demos orbit-demos.npz --trajectories 10 --every 10 --int")
    once = train.replace("--interactions 12000 --evaluation.every 1000", "--interactions 4000 --evaluation.every 4000")
    assert once != train
    assert "4,000 interactions in" in output(once, folder)

    share = re.compile(r"return \S+ ± \S+ over 10 deterministic episodes, (-?\d+)% of the expert")
    evaluate = command("dyna-ail evaluate")
    learned = int(share.fullmatch(output(evaluate, folder).strip())[1])
    assert learned >= 80

    flown = re.fullmatch(
        r"return (\S+): still on the orbit at the time limit", output(command("python use.py"), folder).strip()
    )
    assert flown is not None and float(flown[1]) > 80


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, as the current one of this process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("orbit", "record"):
        sys.modules.pop(name, None)
    gymnasium.registry.pop("Orbit-v0", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "dyna-ail train --task orbit:Orbit-v0 --demos unclipped.npz",
            r"of orbit:Orbit-v0 have an action outside the task's bounds \[-1.0, 1.0\]: .* Clip or rescale",
        ),
        (
            "dyna-ail train --task CartPole-v1 --demos orbit-demos.npz",
            "have actions of shape .2,., the task has discrete",
        ),
    ],
)
def test_demonstrations_that_do_not_fit_are_refused(line: str, message: str, inside: Path, capsys) -> None:
    from record import TASK, controller  # the example's

    episodes, _ = record_episodes(TASK, lambda obs: 3 * controller(obs), episodes=4, seed=0)
    Demonstrations(episodes).save("unclipped.npz")
    assert main(line.split()[1:]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert re.search(message, said), said


def test_the_module_must_be_where_python_looks(folder: Path) -> None:
    done = call("dyna-ail train --task orbit:Orbit-v0 --demos own_environment/orbit-demos.npz", folder.parent)
    assert done.returncode == 2 and "cannot import module 'orbit'" in done.stderr
