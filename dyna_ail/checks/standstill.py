"""Checks of what does not move: constant trajectories and components, and demonstrators that stand still."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import Array, Subject
from dyna_ail.checks.findings import Finding, listed
from dyna_ail.checks.observations import normalised

FEWEST_STEPS = 50
"""Recorded steps below which the range of values says little."""
STANDSTILL = 0.1
"""Forward speed (m/s) below which a demonstrator of a locomotion task stands still."""


def check_constant(subject: Subject) -> Iterator[Finding]:
    """Trajectories, or components, that never move."""
    still = [i for i, t in enumerate(subject.trajectories) if t.length > 1 and (t.obs == t.obs[0]).all()]
    if still:
        yield Finding("error", f"The observation never changes in {listed(still)}.", "Drop them, or record them again.")
    idle = [i for i, t in enumerate(subject.trajectories) if _idle(t.action, subject)]
    if idle:
        yield Finding(
            "error" if len(idle) == len(subject.trajectories) else "warning",
            f"The action never changes in {listed(idle)}.",
            "Look whether the actions were recorded at all; drop these trajectories if not.",
        )
    lost_actions, lost_obs = [], []
    if len(subject.action) >= FEWEST_STEPS and not still and not idle:
        lost_actions = _constant(subject.action) if subject.box else []
        moving = (subject.random.next_obs != subject.random.obs).mean(0) > 0.9
        lost_obs = [] if subject.verified else [k for k in _constant(subject.obs) if moving[k]]
    if lost_actions:
        yield Finding(
            "warning", f"Components {lost_actions} of the actions never change.", "Look whether they were recorded."
        )
    if lost_obs:
        yield Finding(
            "warning",
            f"Components {lost_obs} of the observations never change, though random actions move them at every step.",
            "Look whether they were lost or masked on recording: a policy trained on this meets them in the task.",
        )
    if not (still or idle or lost_actions or lost_obs):
        yield Finding("ok", "Observations and actions move in every trajectory.")


def _idle(action: Array, subject: Subject) -> bool:
    """Constant for longer than a demonstrator that switches between few actions would hold one."""
    switching = not subject.box or np.logical_or(*(action[0] == bound for bound in subject.bounds)).all()
    return len(action) >= (100 if switching else 10) and bool((action == action[0]).all())


def _constant(columns: Array) -> list[int]:
    return np.flatnonzero((columns == columns[0]).all(0)).tolist()


def check_standstill(subject: Subject) -> Iterator[Finding]:
    """A demonstrator that stands still: in Hopper it is paid 1,000 for it, and is no expert."""
    if normalised(subject):
        return
    speeds = subject.speeds()
    slow = np.flatnonzero(speeds < STANDSTILL).tolist()
    if slow:
        yield Finding(
            "warning",
            f"The demonstrator hardly moves forward in {listed(slow)}: at most {speeds[slow].max():.2f} m/s.",
            "Standing still is paid in some tasks, such as Hopper, but is not the task: take other demonstrations.",
        )
    elif np.isfinite(speeds).any():
        yield Finding("ok", f"The demonstrator moves forward, at {np.nanmean(speeds):.2f} m/s.")
    elif subject.whole:
        yield from _hardly_changing(subject)


def _hardly_changing(subject: Subject) -> Iterator[Finding]:
    """Where no speed is known: second halves in which the observation changes much less than under random actions."""
    typical = (subject.random.next_obs - subject.random.obs).std(0)
    moving = typical > 0
    slow = []
    for index, trajectory in enumerate(subject.trajectories):
        change = np.diff(trajectory.obs[trajectory.length // 2 :], axis=0)[:, moving] / typical[moving]
        if np.sqrt((change**2).mean()) < 0.1:
            slow.append(index)
    if not slow:
        return
    what = f"The observation hardly changes in the second half of {listed(slow)}."
    if np.nanmin([*subject.scores[slow], np.inf]) < 0.5:
        yield Finding("warning", what, "The return is low, too: the demonstrator gave up. Take other demonstrations.")
    else:
        yield Finding("ok", what + " So it must be if the task is to hold still.")
