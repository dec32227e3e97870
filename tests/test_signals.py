"""Ctrl-C and SIGTERM: the first saves everything, the second stops at once, and the command printed goes on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from cartpole import TINY, tiny_options
from interrupted import Interrupter, files, outcome, table

from dyna_ail import algorithm
from dyna_ail.algorithm import DynaAIL
from dyna_ail.cli import main
from dyna_ail.config import make_run_config
from dyna_ail.planners.mgail import MGAILPlanner
from dyna_ail.runs import train
from dyna_ail.runs.session import Session

STOPPING = "\nstopping after the step or the updates in progress; once more to stop at once\n"
LEFT = {"config.json", "versions.json", "progress.csv", "diagnostics.csv", "policy.zip", "learning_curve.png"}
SMALL = {"interactions": 2000, "steps_per_iteration": 50, "evaluation.every": 1000, "replay_capacity": 3000}


def options(demos: Path, out: str, **values: object) -> list[str]:
    return ["train", *tiny_options(**{**SMALL, **values}), "--demos", str(demos), "--out", out]


@contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which does not outlive the test."""
    command = [sys.executable, "-m", "dyna_ail", *arguments]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def expected(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the run comes to if nobody stops it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main([*options(demos, str(folder)), "--no-progress"]) == 0
    return outcome(folder)


@pytest.mark.slow
def test_the_first_saves_everything_and_the_command_printed_goes_on(
    demos: Path, expected: dict[str, object], tmp_path: Path
):
    """Though its reader goes away, as with ``| head -1``."""
    with started(*options(demos, "my run"), cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("0/2,000 interactions")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (130, STOPPING)
    lines = out.splitlines()
    assert lines[0].startswith("stopped: return")
    assert [line.split()[0] for line in lines[1:]] == ["folder", "policy", "figure", "saved"]
    told = re.fullmatch(r"  saved at ([\d,]+) interactions; go on with: dyna-ail (train --resume 'my run')", lines[-1])
    assert told, lines
    assert files(tmp_path / "my run") == {*LEFT, "checkpoint.pt"}

    with started(*shlex.split(told[2]), cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == f"resumed at {told[1]} interactions\n"
        process.stdout.close()
        assert not process.stderr.read()
        assert process.wait(600) == 0
    assert outcome(tmp_path / "my run") == expected
    assert files(tmp_path / "my run") == LEFT


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_codes(signum: int, code: int, demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """And the step before which the signal came is not made."""
    Interrupter(monkeypatch)
    before_step, seen, signals = Session.before_step, [], [20, 70]

    def signalled(session: Session, learner: DynaAIL) -> None:
        seen.append(learner.interactions)
        if signals and learner.interactions == signals[0]:
            signal.raise_signal(signum)
            del signals[0]
        before_step(session, learner)

    monkeypatch.setattr(Session, "before_step", signalled)
    run = str(tmp_path / "run")
    assert main([*options(demos, run), "--no-progress"]) == code
    said = capfd.readouterr()
    assert said.err == STOPPING and "saved at 20 interactions" in said.out
    assert main(["train", "--resume", run, "--no-progress"]) == code
    said = capfd.readouterr()
    assert said.err == STOPPING and "saved at 70 interactions" in said.out
    assert seen == [*range(21), *range(20, 71)]


def test_the_second_stops_at_once(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """In the middle of updates that would take hours; the checkpoint from before them stays."""
    Interrupter(monkeypatch)
    monkeypatch.chdir(tmp_path)
    improve, sent = MGAILPlanner.improve, []

    def interrupted(*arguments: Any) -> Any:
        threading.Thread(target=send).start()
        return improve(*arguments)

    def send() -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            time.sleep(1)
            sent.append(signum)
            os.kill(os.getpid(), signum)

    monkeypatch.setattr(MGAILPlanner, "improve", interrupted)
    endless = options(demos, "run", **{"planner.updates": 10_000_000, "safety.checkpoint_every": 49})
    assert main([*endless, "--no-progress"]) == 143
    said = capfd.readouterr()
    assert sent == [signal.SIGINT, signal.SIGTERM] and said.err == STOPPING
    assert said.out.startswith("stopped: return")
    assert said.out.endswith("  saved at 49 interactions; go on with: dyna-ail train --resume run\n")
    assert "checkpoint.pt" in files(tmp_path / "run")


def test_the_second_while_the_checkpoint_is_written(
    demos: Path, expected: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    """The one before stays. Torch turns what is raised in a file's write into errors of its own."""
    interrupter, run, save = Interrupter(monkeypatch), tmp_path / "run", torch.save

    class Interrupting:
        """A file in whose fifth write a signal comes."""

        def __init__(self, file: IO[bytes]) -> None:
            self.file, self.writes = file, 0

        def write(self, data: bytes) -> int:
            self.writes += 1
            if self.writes == 5:
                signal.raise_signal(signal.SIGTERM)
            return self.file.write(data)

    def interrupted(state: dict[str, object], file: IO[bytes]) -> None:
        save(state, Interrupting(file) if getattr(interrupter.learner, "interactions", 0) == 90 else file)

    interrupter.stop_at = 90
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        assert main([*options(demos, str(run), **{"safety.checkpoint_every": 40}), "--no-progress"]) == 143
    said = capfd.readouterr()
    assert not said.err and "saved at 80 interactions" in said.out
    assert files(run) == {*LEFT, "checkpoint.pt", "checkpoint.previous.pt"}
    interrupter.stop_at = None
    assert main(["train", "--resume", str(run), "--no-progress"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("resumed at 80 interactions\n") and "\nfinished: return" in out
    assert outcome(run) == expected


def test_there_is_nothing_to_save_while_cloning(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    clone, run = algorithm.clone, tmp_path / "run"

    def interrupted(*arguments: Any) -> Any:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return clone(*arguments)

    monkeypatch.setattr(algorithm, "clone", interrupted)
    assert main([*options(demos, str(run), **{"cloning.updates": 10_000_000}), "--no-progress"]) == 130
    assert capfd.readouterr() == (
        f"stopped before the first evaluation; go on with: dyna-ail train --resume {run}\n",
        "",
    )


def test_a_signal_after_the_last_step_changes_nothing(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Interrupter(monkeypatch)
    after_iteration = Session.after_iteration

    def signalled(session: Session, learner: DynaAIL) -> None:
        after_iteration(session, learner)
        if learner.interactions == 600:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Session, "after_iteration", signalled)
    train(make_run_config("dyna-ail", TINY, demos=str(demos)), tmp_path / "run", progress=False)
    assert "checkpoint.pt" not in files(tmp_path / "run")
    assert table(tmp_path / "run" / "progress.csv")[-1]["interactions"] == "600"


def test_the_handlers_of_others_come_back(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Interrupter(monkeypatch)
    config = make_run_config("dyna-ail", TINY, demos=str(demos))
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    train(config, tmp_path / "one", progress=False)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    elsewhere = threading.Thread(target=train, args=(config, tmp_path / "two"), kwargs={"progress": False})
    elsewhere.start()  # where no signal arrives
    elsewhere.join()
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
