"""Checkpoints: all that a run needs to continue, in one file that holds tensors and numbers and no code."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail.config import RunConfig, result_settings
from dyna_ail.config.run import SafetyConfig
from dyna_ail.errors import InputError
from dyna_ail.files import failing_as_oserror, read_state, replacing, write_state
from dyna_ail.learning.state import require_like
from dyna_ail.records.folder import CHECKPOINT, DIAGNOSTICS, PREVIOUS, PROGRESS

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL


class Checkpointer:
    """Writes checkpoints, and knows when one is due.

    Args:
        folder: the run's folder.
        safety: how often to write one.
        made_at: interactions at the checkpoint that the run was resumed from, if any.

    Attributes:
        made_at: interactions at the newest checkpoint; None before the first.
    """

    def __init__(self, folder: Path, safety: SafetyConfig, made_at: int | None = None) -> None:
        self.folder, self.safety, self.made_at = folder, safety, made_at
        self.time, self.cost = time.perf_counter(), 0.0

    def is_due(self, interactions: int) -> bool:
        """Whether to write one now, by the clock or by the interactions. Writing takes at most 2% of the time."""
        safety, passed = self.safety, time.perf_counter() - self.time
        return passed >= max(60 * safety.checkpoint_minutes, 50 * self.cost) or (
            safety.checkpoint_every is not None and interactions >= (self.made_at or 0) + safety.checkpoint_every
        )

    def make(self, config: RunConfig, learner: DynaAIL, session: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint: the settings, the learner's state and what ``session()`` returns.

        Raises:
            OSError: it cannot be written; the earlier ones stay.
        """
        before, self.made_at = self.made_at, learner.interactions
        start = time.perf_counter()
        try:
            settings = result_settings(config)
            save(self.folder, {"settings": settings, "learner": learner.state_dict(), "session": session()})
        except BaseException:  # a full disk, or the second Ctrl-C
            self.made_at = before
            raise
        self.time = time.perf_counter()
        self.cost = self.time - start


def check(state: dict[str, Any], config: RunConfig) -> None:
    """Refuse a state that is not a checkpoint of such a run. The learner checks its own part when it loads it.

    Raises:
        InputError: something does not fit; the message names it.
    """
    require_like("checkpoint", state, {"settings": {}, "learner": {}, "session": {}}, shallow=True)
    if state["settings"] != result_settings(config):
        raise InputError("it was made with other settings than the run's configuration has.")
    rows = dict.fromkeys((PROGRESS, DIAGNOSTICS), 0)
    found = state["session"]
    evaluated_at = None if found.get("evaluated_at") is None else 0
    require_like("session", found, {"rows": rows, "seconds": 0.0, "evaluated_at": evaluated_at, "checkpoint_at": 0})


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as the newest checkpoint of the run in ``folder``. The newest so far becomes the previous one.

    A whole checkpoint exists at every moment, even if the process is killed or the disk is full.

    Raises:
        OSError: it cannot be written; the earlier ones stay.
    """
    newest = folder / CHECKPOINT
    with replacing(newest) as file:
        with failing_as_oserror(newest):
            write_state(state, file)
        file.flush()
        os.fsync(file.fileno())  # before the earlier one is replaced
        if newest.exists():
            os.replace(newest, folder / PREVIOUS)


def saved(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | InputError]]:
    """The checkpoints of a run, newest first, each with its state, or with the error that reading it gave.

    No code from the files runs: only tensors, numbers and containers of them are read.

    Raises:
        MemoryError, RuntimeError, OSError: as :func:`dyna_ail.errors.of_the_machine`.
    """
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if path.exists():
            try:
                with path.open("rb") as file:
                    state: dict[str, Any] | InputError = read_state(file, str(path))
            except InputError as error:
                state = error
            yield path, state
