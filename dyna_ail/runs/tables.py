"""The tables of a run, written through SB3's logger: one row per evaluation, and one per iteration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat

from dyna_ail.records.folder import DIAGNOSTICS, PROGRESS
from dyna_ail.records.rows import Rows


class Table:
    """One table. The ``others``, such as TensorBoard's files, get the same rows."""

    def __init__(self, path: Path, rows: int, *others: KVWriter) -> None:
        self.file = Rows(path, rows)
        self.logger = Logger(str(path.parent), [self.file, *others])

    def append(self, row: Mapping[str, Any], step: int) -> None:
        """Add a row. ``step`` is its place on TensorBoard's axis."""
        for key, value in row.items():
            self.logger.record(key, value)
        self.logger.dump(step)

    def numbers(self) -> list[dict[str, float]]:
        """The rows so far, by column; NaN where a cell is empty.

        Raises:
            InputError: a cell holds no number.
        """
        return self.file.numbers()


class Tables:
    """``progress.csv``, with a row for every evaluation, and ``diagnostics.csv``, with one for every iteration.

    Args:
        folder: the run's folder.
        rows: how many rows of each file to keep, by file name; empty for a new run.
        tensorboard: also write event files.

    Raises:
        InputError: a table has fewer rows than it must keep.
        OSError: a table cannot be written.
    """

    def __init__(self, folder: Path, rows: Mapping[str, int], tensorboard: bool = False) -> None:
        shared = [TensorBoardOutputFormat(str(folder))] if tensorboard else []
        self.progress, self.diagnostics = (
            Table(folder / name, rows.get(name, 0), *shared) for name in (PROGRESS, DIAGNOSTICS)
        )

    def rows(self) -> dict[str, int]:
        """How many rows each has, by file name."""
        return {table.file.path.name: table.file.rows for table in (self.progress, self.diagnostics)}

    def close(self) -> None:
        """Close the event files."""
        for table in (self.progress, self.diagnostics):
            table.logger.close()
