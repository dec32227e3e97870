"""A CSV file that grows by whole rows, whenever it is read."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from dyna_ail.errors import InputError
from dyna_ail.files import replacing


class Rows(KVWriter):
    """A writer for SB3's logger. Each row is one write to the file, so that nobody reads half of one.

    SB3's own CSV writer fills its file piece by piece, and starts it anew when opened.

    Args:
        path: the file.
        rows: keep so many of the rows in it and go on after them; 0 starts anew.

    Raises:
        InputError: the file has fewer rows.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, rows: int = 0) -> None:
        self.path, self.rows = path, rows
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if rows and len(lines) <= rows:
            os.close(self.file)
            found = max(0, len(lines) - 1)
            raise InputError(f"{path} has {found} rows; it had {rows} when the checkpoint was made. Restore the file.")
        kept = lines[: rows + 1] if rows else []
        os.ftruncate(self.file, sum(map(len, kept)))
        self.columns = next(csv.reader(line.decode() for line in kept), [])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row. A new column makes the file anew, with empty cells in the rows so far."""
        new = [key for key in key_values if key not in self.columns]
        if new and self.columns:
            with self.path.open(newline="") as file:
                before = list(csv.DictReader(file))
            self.columns += new
            os.close(self.file)
            with replacing(self.path) as out:
                out.write(_lines(self.columns, [dict(zip(self.columns, self.columns, strict=True)), *before]))
            self.file = os.open(self.path, os.O_RDWR | os.O_APPEND)
        header = []
        if not self.columns:
            self.columns = new
            header = [dict(zip(new, new, strict=True))]
        data = _lines(self.columns, [*header, key_values])
        size = os.fstat(self.file).st_size
        if os.write(self.file, data) < len(data):
            os.ftruncate(self.file, size)  # no half row on a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self.rows += 1

    def sync(self) -> int:
        """Make sure that the rows are on the disk; returns their number."""
        os.fsync(self.file)
        return self.rows

    def close(self) -> None:
        """Close the file."""
        os.close(self.file)


def _lines(columns: list[str], rows: list[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writerows({name: str(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode()
