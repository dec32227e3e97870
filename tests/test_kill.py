"""A killed training ends as if it had never been killed: some kills; ``python tests/kill.py`` does many."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill import Killer, problems


def test_ends_as_if_never_killed(tmp_path: Path):
    killer = Killer(tmp_path, kills=2)
    told = killer.run(say=False)
    assert told.startswith("2 kills, ") and killer.resumed_at


GOOD = "interactions,loss\n100,0.5\n200,nan\n"


@pytest.mark.parametrize("text", ["", "interactions,loss\n", GOOD])
def test_the_reader_takes_whole_tables(text: str):
    assert not problems(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD[:-1], "ends in the middle"),
        (GOOD + "300", "ends in the middle"),
        (GOOD + "300\n", "1 cells under 2 names"),
        (GOOD + "300,0.5,1\n", "3 cells under 2 names"),
        (GOOD + "300,0.5-\n", "not all are numbers"),
        (GOOD + "200,0.5\n", "200 interactions after 200"),
    ],
)
def test_the_reader_finds_broken_tables(text: str, problem: str):
    assert any(problem in found for found in problems(text))
