"""Numbers drawn from several runs: interquartile means, bootstrap intervals, interactions to a score.

Pure functions of numpy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

HOLD = 3
"""A score is held once this many evaluations in a row reach it."""


def interactions_to(progress: Mapping[str, np.ndarray], threshold: float = 0.9, hold: int = 1) -> int | None:
    """Interactions at the first of ``hold`` evaluations in a row whose score is at least ``threshold``.

    Args:
        progress: at least the columns ``interactions`` and ``score``, each [evaluations].
        threshold: score to reach, as a fraction of the expert's.
        hold: evaluations in a row: 1 to reach the score, ``HOLD`` to hold it.

    Returns:
        The interactions, or None if it never happens.
    """
    reached = np.asarray(progress["score"]) >= threshold
    for i in range(len(reached) - hold + 1):
        if reached[i : i + hold].all():
            return int(progress["interactions"][i])
    return None


def align(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Put curves on one grid: all points of all curves, within the range that every curve covers.

    Args:
        curves: (x, y) of each run, [points], x ascending; y is interpolated linearly.

    Returns:
        The grid [points] and the values [runs, points].

    Raises:
        ValueError: the ranges do not overlap.
    """
    low = max(x[0] for x, _ in curves)
    high = min(x[-1] for x, _ in curves)
    if low > high:
        raise ValueError(f"the curves have no common range: the latest begins at {low}, the earliest ends at {high}")
    points = np.unique(np.concatenate([x for x, _ in curves]))
    grid = points[(points >= low) & (points <= high)]
    return grid, np.stack([np.interp(grid, x, y) for x, y in curves])


def interquartile_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of the middle half along ``axis``; a quarter, rounded down, is cut at either end (none below 4 values)."""
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def bootstrap_interval(
    values: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile-bootstrap confidence interval of the interquartile mean over runs.

    Args:
        values: [runs, ...], at least two runs.
        confidence: probability that the interval covers.
        resamples: bootstrap samples.
        seed: seed of the resampling, so that a figure can be remade exactly.

    Returns:
        The lower and the upper end, each [...].

    Raises:
        ValueError: fewer than two runs.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 runs; got {len(values)}")
    found = stats.bootstrap(
        (values,),
        interquartile_mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        axis=0,
        rng=np.random.default_rng(seed),
    )
    return np.asarray(found.confidence_interval.low), np.asarray(found.confidence_interval.high)


def ratio_of_medians(
    values: np.ndarray, baseline: np.ndarray, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """How many times the baseline's median the median of ``values`` is, with its percentile-bootstrap interval.

    Args:
        values: [runs], finite, at least two.
        baseline: [runs], positive, at least two. A run that never got there is infinite; if the median is, the ratio
            is 0.
        confidence: probability that the interval covers.
        resamples: bootstrap samples; both sides are drawn with replacement, independently.
        seed: seed of the resampling, so that a table can be remade exactly.

    Returns:
        The ratio, the lower and the upper end.

    Raises:
        ValueError: fewer than two runs on either side.
    """

    def ratio(values: np.ndarray, baseline: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.median(values, axis=axis) / np.median(baseline, axis=axis))

    if min(len(values), len(baseline)) < 2:
        raise ValueError(f"an interval needs at least 2 runs a side; got {len(values)} and {len(baseline)}")
    found = stats.bootstrap(
        (values, baseline),
        ratio,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(ratio(values, baseline)), float(found.low), float(found.high)
