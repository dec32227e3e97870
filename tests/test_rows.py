"""The tables of a run on disk: whole whenever they are read, and their numbers to the last bit."""

from __future__ import annotations

import csv
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dyna_ail.records.rows import Rows


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 100 bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, small_files: None):
    table = Rows(tmp_path / "rows.csv")
    for number in range(3):
        table.write({"number": number, "long": "x" * 20}, {})
    before = (tmp_path / "rows.csv").read_bytes()
    assert len(before) < 100 < len(before) + 60
    with pytest.raises(OSError, match=os.strerror(28) + "|" + os.strerror(27)):
        table.write({"number": 3, "long": "x" * 60}, {})
    assert (tmp_path / "rows.csv").read_bytes() == before


def test_a_row_never_appears_in_halves(tmp_path: Path):
    """A file that grows is seen page by page: who reads it as it is has all of it, and never sees it change."""
    table = Rows(tmp_path / "rows.csv")
    table.write({"number": 1}, {})
    with (tmp_path / "rows.csv").open() as reader:
        for number in (2, 3):
            table.write({"number": number}, {})
        assert reader.read() == "number\n1\n"
    assert (tmp_path / "rows.csv").read_text() == "number\n1\n2\n3\n"


def test_numbers_are_written_to_the_last_bit(tmp_path: Path):
    table = Rows(tmp_path / "rows.csv")
    values = {"a": 0.1 + 0.2, "b": float("nan"), "c": float(torch.tensor(0.1)), "d": np.float64(1 / 3)}
    table.write(dict(values), {})
    with (tmp_path / "rows.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    np.testing.assert_array_equal([float(row[name]) for name in values], list(values.values()))
