"""What a run does between the learner's steps: it evaluates, writes tables and checkpoints, and shows its progress."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail.config import RunConfig
from dyna_ail.errors import Stopped
from dyna_ail.records import folder as names
from dyna_ail.records.reading import read_progress
from dyna_ail.runs.checkpoint import Checkpointer
from dyna_ail.runs.display import Display, summary, worse_than_start
from dyna_ail.runs.evaluation import Evaluator
from dyna_ail.runs.health import Health
from dyna_ail.runs.tables import Tables

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL


class Session:
    """The callbacks of a run's learning, which do these things in the right order.

    Args:
        folder: the run's folder, which exists.
        config: the run's configuration.
        references: returns of the ``random`` policy and of the ``expert``; None where unknown.
        progress: whether to report while running.
        tensorboard: also write event files.
        state: what :meth:`state_dict` gave when the run was interrupted; None for a new run.

    Attributes:
        stopping: number of the signal that asked the run to stop; None before one has come.

    Raises:
        InputError: the environment cannot be made, or the tables lack rows of the interrupted run or do not hold
            numbers.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        references: dict[str, float | None],
        progress: bool = True,
        tensorboard: bool = False,
        state: dict[str, Any] | None = None,
    ) -> None:
        state = state or {}
        self.folder, self.config = folder, config
        self.evaluator = Evaluator(config, references, state.get("evaluated_at"))
        self.tables = Tables(folder, state.get("rows", {}), tensorboard)
        self.checkpointer = Checkpointer(folder, config.safety, state.get("checkpoint_at"))
        self.display = Display(config.learner.interactions, self.checkpointer.made_at or 0, progress)
        self.health = Health()
        for row in self.tables.diagnostics.numbers():
            self.health.notice(row)
        self.start = time.perf_counter() - state.get("seconds", 0.0)
        self.stopping: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What the session of the resumed run needs."""
        return {
            "rows": self.tables.rows(),
            "seconds": self._seconds(),
            "evaluated_at": self.evaluator.evaluated_at,
            "checkpoint_at": self.checkpointer.made_at,
        }

    def after_iteration(self, learner: DynaAIL) -> None:
        """Write the iteration's diagnostics, and evaluate if it is time. Also called before the first iteration."""
        done = learner.interactions
        counts = {"interactions": done, "imagined": learner.imagined}
        if learner.iteration > 0 or self.config.learner.cloning.updates > 0:
            self.tables.diagnostics.append({**counts, "seconds": self._seconds(), **learner.metrics}, done)
            for warning in self.health.notice(learner.metrics):
                print(f"warning: at {done:,} interactions {warning}", file=sys.stderr)
        if not self.evaluator.is_due(done):
            self.display.advance(done)
            return
        result, score = self.evaluator.evaluate(learner.policy, done)
        learner.save_policy(self.folder / names.POLICY)  # before the row: who sees the row finds its policy
        row = {
            "return_mean": result.mean,
            "return_std": result.std,
            "length_mean": float(result.lengths.mean()),
            "score": score,
            "seconds": self._seconds(),
        }
        self.tables.progress.append({**counts, **row}, done)
        self.evaluator.evaluated_at = done
        self.display.advance(done, result, score)

    def before_step(self, learner: DynaAIL) -> None:
        """Write a checkpoint if one is due or the run is to stop. Called before every step of the environment.

        Raises:
            Stopped: the run has been asked to stop. The checkpoint is written.
            OSError: the checkpoint cannot be written; the earlier ones stay.
        """
        if self.stopping is not None or self.checkpointer.is_due(learner.interactions):
            self.checkpoint(learner)
        if self.stopping is not None:
            raise Stopped(self.stopping)

    def checkpoint(self, learner: DynaAIL) -> None:
        """Write a checkpoint.

        Raises:
            OSError: it cannot be written; the earlier ones stay.
        """
        self.checkpointer.make(self.config, learner, self.state_dict)

    def close(self, how: str) -> None:
        """Close the tables, draw the figure and print a summary, which says ``how`` the run ended."""
        self.tables.close()
        self.evaluator.close()
        self.display.close()
        if self.evaluator.evaluated_at is None:
            print(f"{how} before the first evaluation; {self.hint()}")
            return
        from dyna_ail.reports.plots import learning_curves

        learning_curves([self.folder], self.folder / names.FIGURE)
        print(summary(self.folder, how))
        worse = worse_than_start(read_progress(self.folder / names.PROGRESS), self.config.evaluation.episodes)
        if worse:
            print(f"  note    {worse}")
        for label, name in (("folder", ""), ("policy", names.POLICY), ("figure", names.FIGURE)):
            print(f"  {label}  {self.folder / name}")
        if how != "finished":
            print(f"  {self.hint()}")

    def hint(self) -> str:
        """The command that continues the run, for messages."""
        resume = f"dyna-ail train --resume {shlex.quote(str(self.folder))}"
        if self.checkpointer.made_at is not None:
            return f"saved at {self.checkpointer.made_at:,} interactions; go on with: {resume}"
        if self.evaluator.evaluated_at:
            return f"no checkpoint yet; start over with: {resume} --force"
        return f"go on with: {resume}"

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.start, 3)
