"""A CSV file that is whole whenever it is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from dyna_ail.errors import InputError
from dyna_ail.files import replacing


class Rows(KVWriter):
    """A writer for SB3's logger. Each new row replaces the whole file, so that a reader never sees half a row.

    Appending would not do: the system may show an appended row page by page.

    Args:
        path: the file.
        rows: how many rows of an existing file to keep; 0 for a new file.

    Raises:
        InputError: the file has fewer rows than it must keep.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, rows: int = 0) -> None:
        self.path, self.rows = path, rows
        data = path.read_bytes() if rows and path.exists() else b""
        lines = [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
        if rows and len(lines) <= rows:
            found = max(0, len(lines) - 1)
            raise InputError(f"{path} has {found} rows; it had {rows} when the checkpoint was made. Restore the file.")
        kept = lines[: rows + 1] if rows else []
        self.columns = next(csv.reader(line.decode() for line in kept), [])
        self._write(b"".join(kept))

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row. A new column is empty in the rows before it."""
        new, before = [key for key in key_values if key not in self.columns], self.data
        if new:
            rows = self.read()
            self.columns += new
            before = _lines(self.columns, [dict(zip(self.columns, self.columns, strict=True)), *rows])
        self._write(before + _lines(self.columns, [key_values]))
        self.rows += 1

    def read(self) -> list[dict[str, str]]:
        """The rows so far, by column."""
        return list(csv.DictReader(io.StringIO(self.data.decode())))

    def numbers(self) -> list[dict[str, float]]:
        """The rows so far, by column; NaN where a cell is empty.

        Raises:
            InputError: a cell holds no number.
        """
        try:
            return [{name: float(cell or "nan") for name, cell in row.items()} for row in self.read()]
        except (TypeError, ValueError) as error:  # more cells than columns, or words
            raise InputError(f"{self.path} holds something else than numbers: {error}. Restore the file.") from error

    def close(self) -> None:
        """Nothing to close: no file stays open."""

    def _write(self, data: bytes) -> None:
        with replacing(self.path) as file:
            file.write(data)
        self.data = data


def _lines(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writerows({name: str(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode()
