"""Runs that are interrupted on purpose within a process, and how what they come to is compared to the last bit."""

from __future__ import annotations

import csv
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dyna_ail.config import RunConfig
from dyna_ail.errors import Stopped
from dyna_ail.runs import load_policy, resume, train
from dyna_ail.runs.session import Session


class Killed(BaseException):
    """The process is gone: nobody cleans up, nothing more is saved."""


class Interrupter:
    """Ends the runs of this process before a given step, and remembers the last learner.

    Args:
        monkeypatch: undoes it all after the test. Figures are not drawn meanwhile: they take longer than these runs.

    Attributes:
        stop_at: interactions at which a signal asks the next run to stop.
        kill_at: interactions at which the next run is killed.
        learner: the learner of the last run.
        between_episodes: interactions after which an episode of the last run had ended.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop_at: int | None = None
        self.kill_at: int | None = None
        self.learner: Any = None
        self.between_episodes: list[int] = []
        before_step = Session.before_step

        def watched(session: Session, learner: Any) -> None:
            if learner is not self.learner:
                self.learner, self.between_episodes = learner, []
            if learner.rollout._obs is None:
                self.between_episodes.append(learner.interactions)
            if learner.interactions == self.stop_at:
                session.stopping = signal.SIGTERM
            before_step(session, learner)
            if learner.interactions == self.kill_at:
                raise Killed

        monkeypatch.setattr(Session, "before_step", watched)
        monkeypatch.setattr("dyna_ail.reports.plots.learning_curves", lambda runs, out: out.touch())

    def run(self, config: RunConfig, folder: Path) -> dict[str, Any]:
        """Train without any interruption; returns what came of it."""
        train(config, folder, progress=False)
        return outcome(folder)

    def run_in_pieces(
        self, config: RunConfig, folder: Path, stops: Sequence[int] = (), kills: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Train, interrupted again and again and resumed each time; returns what came of it in the end."""
        points = sorted([(at, Stopped) for at in stops] + [(at, Killed) for at in kills], key=lambda point: point[0])
        for at, how in points:
            self.stop_at, self.kill_at = (at, None) if how is Stopped else (None, at)
            with pytest.raises(how):
                go_on(config, folder)
        self.stop_at = self.kill_at = None
        go_on(config, folder)
        return outcome(folder)


def go_on(config: RunConfig, folder: Path) -> None:
    """Start the run, or resume it."""
    if folder.exists():
        resume(folder, progress=False)
    else:
        train(config, folder, progress=False)


def stopped_and_whole(config: RunConfig, folder: Path, at: int) -> tuple[Path, dict[str, Any]]:
    """A run stopped by a signal at so many interactions; and what it would have come to."""
    with pytest.MonkeyPatch.context() as patch:
        interrupter = Interrupter(patch)
        expected = interrupter.run(config, folder / "whole")
        interrupter.stop_at = at
        with pytest.raises(Stopped):
            train(config, folder / "run", progress=False)
    return folder / "run", expected


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, without the times."""
    with path.open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if not name.startswith("seconds")} for row in csv.DictReader(file)
        ]


def files(folder: Path) -> set[str]:
    """The names in a folder."""
    return {path.name for path in folder.iterdir()}


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Every file under a folder, with its content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outcome(folder: Path) -> dict[str, Any]:
    """What a run has come to, to be compared with ``==``: its tables without the times, and the policy's bits."""
    return {
        "progress": table(folder / "progress.csv"),
        "diagnostics": table(folder / "diagnostics.csv"),
        "weights": frozen(dict(load_policy(folder).state_dict())),
    }


def state(learner: Any) -> Any:
    """Everything that a learner goes on from, to be compared with ``==``."""
    return frozen(learner.state_dict())


def frozen(value: Any) -> Any:
    """Tensors inside nested containers as their bits, so that NaN equals NaN and 0 does not equal -0."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.detach().numpy().tobytes()
    if isinstance(value, dict):
        return {key: frozen(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(inner) for inner in value]
    return value
