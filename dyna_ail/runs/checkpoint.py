"""Checkpoints: everything that a run goes on from, in one file that holds tensors and numbers and no code."""

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
        safety: how often.
        made_at: interactions at the checkpoint that the run was resumed from, if any.

    Attributes:
        made_at: interactions at the newest checkpoint; None before the first.
    """

    def __init__(self, folder: Path, safety: SafetyConfig, made_at: int | None = None) -> None:
        self.folder, self.safety, self.made_at = folder, safety, made_at
        self.time, self.cost = time.perf_counter(), 0.0

    def is_due(self, interactions: int) -> bool:
        """Whether it is time, by the clock or by the interactions. Writing takes at most 2% of the time."""
        safety, passed = self.safety, time.perf_counter() - self.time
        return passed >= max(60 * safety.checkpoint_minutes, 50 * self.cost) or (
            safety.checkpoint_every is not None and interactions >= (self.made_at or 0) + safety.checkpoint_every
        )

    def make(self, config: RunConfig, learner: DynaAIL, session: Callable[[], dict[str, Any]]) -> None:
        """Write one, with the state of the ``session`` as it is then.

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
    """Refuse what is not a checkpoint of such a run; its learner's state is checked by the learner.

    Raises:
        InputError: says what does not fit.
    """
    require_like("checkpoint", state, {"settings": {}, "learner": {}, "session": {}}, shallow=True)
    if state["settings"] != result_settings(config):
        raise InputError("it was made with other settings than the run's configuration has.")
    rows = dict.fromkeys((PROGRESS, DIAGNOSTICS), 0)
    found = state["session"]
    evaluated_at = None if found.get("evaluated_at") is None else 0
    require_like("session", found, {"rows": rows, "seconds": 0.0, "evaluated_at": evaluated_at, "checkpoint_at": 0})


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as the newest checkpoint of the run in ``folder``; the newest so far becomes the previous one.

    At every moment, even if the process is killed or the disk full, a whole checkpoint stays.

    Raises:
        OSError: it cannot be written; the earlier ones stay.
    """
    newest = folder / CHECKPOINT
    with replacing(newest) as file:
        with failing_as_oserror(newest):
            write_state(state, file)
        file.flush()
        os.fsync(file.fileno())  # before the earlier one gives way
        if newest.exists():
            os.replace(newest, folder / PREVIOUS)


def saved(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | InputError]]:
    """The checkpoints of a run, newest first, each with its state or with why it cannot be read.

    Runs no code from the files: only tensors, numbers and containers of them are read.

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
