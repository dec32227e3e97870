"""Checks of the observations' scales: whether they were normalised, or come from elsewhere than the task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import Array, Subject
from dyna_ail.checks.findings import Finding


def check_observations(subject: Subject) -> Iterator[Finding]:
    """Observations that were normalised, or come from elsewhere. No matter where playback vouches for them."""
    if subject.verified:
        return
    if normalised(subject):
        yield Finding(
            "error",
            f"The observations look standardised: the components' spreads are {_extremes(_spread(subject.obs))}, under "
            f"random actions {_extremes(_spread(subject.random.obs))}.",
            "Undo it: multiply by the standard deviation and add the mean that the recording used (VecNormalize's "
            "obs_rms), or record again without normalisation. Policies here take raw observations.",
        )
    elif not subject.whole or not _starts_elsewhere(subject):
        yield Finding("ok", "The observations have the scales of the task's own.")
    elif subject.pieces:
        yield Finding("ok", "The trajectories are pieces that begin in the midst of episodes.")
    elif Range(np.concatenate([subject.starts, subject.random.obs])).holds(_first(subject)).mean() < 0.5:
        yield Finding(
            "warning",
            "The trajectories begin where neither resets nor random actions lead.",
            "Look for other units, or for another version of the task. No fault if the beginnings were cut off.",
        )
    else:
        yield Finding("ok", "The trajectories begin elsewhere than resets do, but where random actions lead.")


def normalised(subject: Subject) -> bool:
    """Whether the spreads of the components are all alike and near 1, though those of random episodes are not; and the
    trajectories do not begin where the task does."""
    if subject.verified or (subject.whole and not _starts_elsewhere(subject)):
        return False
    ours, theirs = _spread(subject.obs), _spread(np.concatenate([subject.random.obs, subject.starts]))
    if len(ours) < 2 or len(theirs) < 2:
        return False
    alike, unlike = np.log(ours).std(), np.log(theirs).std()
    return bool(0.2 < np.median(ours) < 2 and alike < 0.6 and alike < 0.7 * unlike)


class Range:
    """The range of some observations, widened by what a few samples of it miss."""

    def __init__(self, obs: Array) -> None:
        low, high = obs.min(0), obs.max(0)
        margin = 0.5 * (high - low) + 1e-3 * (1 + np.abs(obs).max(0))
        self.low, self.high = low - margin, high + margin

    def holds(self, obs: Array) -> Array:
        """[N] bool, of obs [N, obs_dim]."""
        return ((obs >= self.low) & (obs <= self.high)).all(1)


def _starts_elsewhere(subject: Subject) -> bool:
    """Whether more than half of the trajectories begin outside of what the environment resets to."""
    return bool(Range(subject.starts).holds(_first(subject)).mean() < 0.5)


def _first(subject: Subject) -> Array:
    return np.stack([trajectory.obs[0] for trajectory in subject.trajectories])


def _spread(obs: Array) -> Array:
    """Standard deviations of the components that move."""
    spread = obs.std(0)
    return spread[spread > 1e-6 * (1e-6 + np.abs(obs).max(0))]


def _extremes(values: Array) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"
