"""Statistics over runs, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dyna_ail.reports.statistics import (
    align,
    bootstrap_interval,
    interactions_to,
    interquartile_mean,
    ratio_of_medians,
)


def progress(*scores: float) -> dict[str, np.ndarray]:
    return {"interactions": np.arange(len(scores)) * 2000.0, "score": np.array(scores)}


def test_first_reaches_and_held_needs_three_in_a_row():
    run = progress(0.0, 0.9, 0.5, 0.95, 0.92, 1.1, 0.2)
    assert interactions_to(run) == 2000  # 90% itself counts
    assert interactions_to(run, hold=2) == 6000
    assert interactions_to(run, hold=3) == 6000
    assert interactions_to(run, hold=4) is None
    assert interactions_to(run, threshold=1.2) is None


def test_held_counts_the_last_evaluations_and_not_fewer():
    assert interactions_to(progress(0.1, 0.9, 0.9, 0.9), hold=3) == 2000
    assert interactions_to(progress(0.1, 0.1, 0.9, 0.9), hold=3) is None
    assert interactions_to(progress(0.99), hold=3) is None


def test_unknown_score_is_never_reached():
    assert interactions_to(progress(float("nan"), float("nan"))) is None


def test_interquartile_mean_drops_a_quarter_at_either_end():
    assert interquartile_mean(np.array([8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0])) == pytest.approx(4.5)
    assert interquartile_mean(np.array([-100.0, 1.0, 2.0, 3.0, 1000.0])) == pytest.approx(2.0)
    assert interquartile_mean(np.array([1.0, 2.0, 9.0])) == pytest.approx(4.0)  # fewer than four: the plain mean


def test_interquartile_mean_is_over_runs():
    values = np.array([[0.0, 10.0], [2.0, 20.0]])
    np.testing.assert_allclose(interquartile_mean(values), [1.0, 15.0])


def test_align_interpolates_within_the_common_range():
    first = (np.array([0.0, 2.0, 4.0, 6.0]), np.array([0.0, 2.0, 4.0, 6.0]))
    second = (np.array([1.0, 4.0]), np.array([10.0, 40.0]))
    grid, values = align([first, second])
    np.testing.assert_allclose(grid, [1.0, 2.0, 4.0])
    np.testing.assert_allclose(values, [[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])


def test_align_refuses_disjoint_curves():
    with pytest.raises(ValueError, match="no common range"):
        align([(np.array([0.0, 1.0]), np.zeros(2)), (np.array([2.0, 3.0]), np.zeros(2))])


def test_bootstrap_interval_of_two_runs_spans_them():
    # Of the 4 equally likely resamples of {0, 1}, a quarter have mean 0 and a quarter 1: beyond 2.5% at both ends.
    low, high = bootstrap_interval(np.array([[0.0, 5.0], [1.0, 5.0]]))
    np.testing.assert_allclose(low, [0.0, 5.0])
    np.testing.assert_allclose(high, [1.0, 5.0])


def test_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(20, 200))  # 200 studies of 20 runs whose true mean is 0
    low, high = bootstrap_interval(samples)
    assert 0.86 <= np.mean((low <= 0) & (high >= 0)) <= 0.99  # 95%, less what the percentile method loses at n = 20


def test_bootstrap_interval_repeats_and_needs_two_runs():
    values = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_array_equal(bootstrap_interval(values), bootstrap_interval(values))
    with pytest.raises(ValueError, match="at least 2"):
        bootstrap_interval(values[:1])


def test_ratio_of_medians_and_its_interval():
    rng = np.random.default_rng(0)
    values, baseline = 3.0 * rng.normal(10, 1, 2000), rng.normal(10, 1, 2000)
    ratio, low, high = ratio_of_medians(values, baseline)
    assert ratio == np.median(values) / np.median(baseline)
    assert 2.9 < low < ratio < high < 3.1
    # The median of 5 draws of [1, 1, 1, inf, inf] is infinite with probability 0.32: the lower end is 0, not the upper.
    assert ratio_of_medians(np.full(5, 2.0), np.array([1.0, 1.0, 1.0, np.inf, np.inf])) == (2.0, 0.0, 2.0)
    with pytest.raises(ValueError, match="at least 2 runs"):
        ratio_of_medians(np.ones(1), np.ones(5))
