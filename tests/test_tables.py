"""The table of a study, against numbers counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import make_run

from dyna_ail.errors import InputError
from dyna_ail.tables import scores


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_one_line_for_each_task_and_setting(tmp_path: Path):
    """Holding takes three evaluations in a row; a seed that never holds is infinite in the median."""
    runs = [
        make_run(tmp_path / "b", [0, 95, 50, 91, 92, 93], seed=1),
        make_run(tmp_path / "a", [0, 90, 90, 90, 80, 70], seed=0),
        make_run(tmp_path / "c", [0, 95, 95, 10, 95, 95], seed=2),
        make_run(tmp_path / "g", [0, 10, 20], preset="gail"),
        make_run(tmp_path / "w", [0, 99, 99, 99], task="Walker2d-v5", interval=1000),
    ]
    header, rule, *lines = scores(runs).splitlines()
    assert [cells(line)[:2] for line in lines] == [
        ["Hopper-v5", "dyna-ail"],
        ["Hopper-v5", "gail"],
        ["Walker2d-v5", "dyna-ail"],
    ]
    assert len(cells(header)) == len(cells(rule)) == len(cells(lines[0])) == 10
    assert cells(lines[0])[2:] == [
        "3",
        "10,000",
        "2,000, 6,000, -",
        "6,000",
        "90, 95, 95%",
        "70, 93, 95%",
        "86%",
        "0.1",
    ]
    assert cells(lines[1])[2:7] == ["1", "4,000", "-", "-", "20%"]
    assert cells(lines[2])[4:6] == ["1,000", "1,000"]


def test_no_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no run given"):
        scores([])
    with pytest.raises(InputError, match="not a folder"):
        scores([tmp_path / "absent"])
