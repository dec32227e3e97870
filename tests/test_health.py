"""Warnings before a run blows up: of what, when, and how often."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dyna_ail.runs.health import Health


def told(values: Sequence[float], name: str = "critic/grad_norm") -> list[tuple[int, str]]:
    """In which iterations a metric with these values is told of, and how."""
    health = Health()
    return [(i, line) for i, value in enumerate(values) for line in health.notice({name: value})]


def test_an_explosion_is_told_once():
    assert told([1, 2, 3, 201, 500, 1e6]) == [(3, "critic/grad_norm rose to 201, 100 times its median so far.")]


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3, 200],  # a hundred times the median, not more
        [1, 1e9, 1],  # too little is known yet
        [5, 500],
        [1e9, 1e8, 1, 1e-9],  # falling
        [0, 0, 0, 1e9],  # a part that had not learned yet
        [float("nan")] * 9,
        [1, 2, 3, float("nan"), float("inf"), 4],  # NonFiniteError's affair
        [],
    ],
)
def test_what_is_no_explosion(values: list[float]):
    assert not told(values)


def test_numbers_that_are_missing_do_not_count():
    nan = float("nan")
    assert [i for i, _ in told([nan, 1, nan, 2, nan, 3, 300])] == [6]


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("planner/grad_norm", True),
        ("planner/critic_grad_norm", True),
        ("model/error_7", True),
        ("planner/cost", False),
        ("model_free/value_loss", False),
    ],
)
def test_which_metrics_are_watched(name: str, watched: bool):
    assert bool(told([1, 1, 1, 1000], name)) == watched


def test_every_metric_has_its_own_history():
    health = Health()
    for _ in range(3):
        health.notice({"a/grad_norm": 1.0, "b/grad_norm": 1000.0})
    assert health.notice({"a/grad_norm": 1000.0, "b/grad_norm": 1000.0}) == [
        "a/grad_norm rose to 1e+03, 1,000 times its median so far."
    ]
    assert len(health.notice({"b/grad_norm": 1e6})) == 1
