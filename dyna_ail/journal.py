"""What a run writes while it learns: rows, policy, checkpoints, the figure, and a few words to the user."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from dyna_ail import checkpoint, record
from dyna_ail.config import Config
from dyna_ail.display import Display
from dyna_ail.errors import EnvironmentFailure, Stopped
from dyna_ail.evaluation import Evaluation, evaluate, evaluation_seed, make_environments, normalised_score
from dyna_ail.exits import mute
from dyna_ail.health import Health
from dyna_ail.rows import Rows
from dyna_ail.statistics import HOLD, interactions_to

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL


class Journal:
    """The callback of a run: evaluates, writes the rows, keeps policy.zip and the checkpoint fresh, tells the user.

    Args:
        folder: the run's folder, which exists.
        config: the run's configuration.
        references: returns of the ``random`` policy and of the ``expert``; None where unknown.
        progress: whether to report while running.
        tensorboard: also write event files.
        state: what :meth:`state_dict` gave when the run was interrupted; None for a new run.

    Attributes:
        stopping: the signal that asked the run to stop, once one has come.

    Raises:
        InputError: the environment cannot be made, or the tables have lost rows that the interrupted run had written or
            hold something else than numbers.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        references: dict[str, float | None],
        progress: bool = True,
        tensorboard: bool = False,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.config, self.references = folder, config, references
        safety, state = config.safety, state or {}
        self.environments = make_environments(config.task, config.evaluation.episodes, safety.step_timeout)
        rows = state.get("rows", {})
        self.tables = {name: Rows(folder / name, rows.get(name, 0)) for name in (record.PROGRESS, record.DIAGNOSTICS)}
        shared = [TensorBoardOutputFormat(str(folder))] if tensorboard else []
        self.loggers = {name: Logger(str(folder), [table, *shared]) for name, table in self.tables.items()}
        self.health = Health()
        for row in self.tables[record.DIAGNOSTICS].numbers():
            self.health.notice(row)
        self.display = Display(config.interactions, state.get("checkpoint_at") or 0) if progress else None
        self.start = time.perf_counter() - state.get("seconds", 0.0)
        self.next_evaluation: int = state.get("next_evaluation", 0)
        self.evaluated_at: int = state.get("evaluated_at", -1)
        self.checkpoint_at: int | None = state.get("checkpoint_at")
        self.checkpoint_time = time.perf_counter()
        self.checkpoint_cost = 0.0
        self.stopping: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What an interrupted run's journal goes on from."""
        return {
            "rows": {name: table.rows for name, table in self.tables.items()},
            "seconds": self._seconds(),
            "next_evaluation": self.next_evaluation,
            "evaluated_at": self.evaluated_at,
            "checkpoint_at": self.checkpoint_at,
        }

    def __call__(self, learner: DynaAIL) -> None:
        """Record one iteration, or a cloned start."""
        done = learner.interactions
        if learner.iteration > 0 or self.config.cloning.updates > 0:
            counts = {"interactions": done, "imagined": learner.imagined, "seconds": self._seconds()}
            self._write(record.DIAGNOSTICS, {**counts, **learner.metrics}, done)
            for warning in self.health.notice(learner.metrics):
                print(f"warning: at {done:,} interactions {warning}", file=sys.stderr)
        if (done >= self.next_evaluation or done >= self.config.interactions) and done != self.evaluated_at:
            self._evaluate(learner)
        else:
            self._show(done)

    def before_step(self, learner: DynaAIL) -> None:
        """Write a checkpoint if one is due or the run is to stop; called before every step of the environment.

        Raises:
            Stopped: the run has been asked to stop, and the checkpoint holds everything.
            OSError: the checkpoint cannot be written; the earlier ones stay.
        """
        safety, done = self.config.safety, learner.interactions
        passed = time.perf_counter() - self.checkpoint_time
        due = passed >= max(60 * safety.checkpoint_minutes, 50 * self.checkpoint_cost) or (
            safety.checkpoint_every is not None and done >= (self.checkpoint_at or 0) + safety.checkpoint_every
        )
        if due or self.stopping is not None:
            self.checkpoint(learner)
        if self.stopping is not None:
            raise Stopped(self.stopping)

    def checkpoint(self, learner: DynaAIL) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it cannot be written; the earlier ones stay.
        """
        before, self.checkpoint_at = self.checkpoint_at, learner.interactions
        start = time.perf_counter()
        try:
            state = {**checkpoint.state_of(learner), "journal": self.state_dict()}
            checkpoint.save(self.folder, state)
        except BaseException:  # a full disk, or the second Ctrl-C
            self.checkpoint_at = before
            raise
        self.checkpoint_time = time.perf_counter()
        self.checkpoint_cost = self.checkpoint_time - start

    def _evaluate(self, learner: DynaAIL) -> None:
        done, every = learner.interactions, self.config.evaluation.every
        seed = evaluation_seed(self.config.seed, done)
        try:
            result = evaluate(learner.policy, self.environments, self.config.evaluation.episodes, seed)
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"in the evaluation at {done:,} interactions {error}") from error
        score = normalised_score(result.mean, self.references["random"], self.references["expert"])
        row = {
            "interactions": done,
            "imagined": learner.imagined,
            "return_mean": result.mean,
            "return_std": result.std,
            "length_mean": float(result.lengths.mean()),
            "score": score,
            "seconds": self._seconds(),
        }
        self._save_policy(learner)  # before the row, so that the last row means that all is there
        self._write(record.PROGRESS, row, done)
        self.next_evaluation = (done // every + 1) * every
        self.evaluated_at = done
        self._show(done, result, score)

    def _show(self, done: int, result: Evaluation | None = None, score: float = float("nan")) -> None:
        try:
            if self.display:
                self.display.advance(done, result, score)
        except BrokenPipeError:  # the reader of the output, such as head, has gone; the run goes on
            self.display = None
            mute()

    def _write(self, table: str, row: dict[str, Any], step: int) -> None:
        for key, value in row.items():
            self.loggers[table].record(key, value)
        self.loggers[table].dump(step)

    def _save_policy(self, learner: DynaAIL) -> None:
        """Replace policy.zip in one step, so that a killed run leaves a whole one."""
        path = self.folder / record.POLICY
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with checkpoint.failing_as_oserror(path):
                learner.save(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def close(self, how: str) -> None:
        """Close the tables, draw the figure and print the summary; ``how`` the run ended."""
        for logger in self.loggers.values():
            logger.close()
        self.environments.close()
        self.close_display()
        if self.evaluated_at < 0:
            print(f"{how} before the first evaluation; {self.hint()}")
            return
        from dyna_ail.plots import learning_curves

        learning_curves([self.folder], self.folder / record.FIGURE)
        print(summary(self.folder, how))
        for label, name in (("folder", ""), ("policy", record.POLICY), ("figure", record.FIGURE)):
            print(f"  {label}  {self.folder / name}")
        if how != "finished":
            print(f"  {self.hint()}")

    def hint(self) -> str:
        """How to go on with the run."""
        resume = f"dyna-ail train --resume {shlex.quote(str(self.folder))}"
        if self.checkpoint_at is not None:
            return f"saved at {self.checkpoint_at:,} interactions; go on with: {resume}"
        if self.evaluated_at > 0:
            return f"no checkpoint yet; start over with: {resume} --force"
        return f"go on with: {resume}"

    def close_display(self) -> None:
        """Give the terminal back."""
        if self.display:
            self.display.close()

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.start, 3)


def summary(folder: Path, how: str) -> str:
    """One line about a run that has ``how`` ("finished", "stopped"): its last score and when it reached the expert."""
    progress = record.read_progress(folder / record.PROGRESS)
    parts = [f"return {progress['return_mean'][-1]:,.1f}"]
    if np.isfinite(progress["score"][-1]):
        first, held = interactions_to(progress), interactions_to(progress, hold=HOLD)
        parts[0] += f" ({progress['score'][-1]:.0%} of the expert)"
        parts.append(
            "90% never reached"
            if first is None
            else f"90% first at {first:,}, {f'held from {held:,}' if held is not None else 'not held'}"
        )
    minutes = progress["seconds"][-1] / 60
    return f"{how}: {', '.join(parts)}; {int(progress['interactions'][-1]):,} interactions in {minutes:.1f} min"
