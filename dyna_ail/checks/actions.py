"""Checks of single values: whether they lie within the bounds of their spaces, and how actions use their range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium import spaces

from dyna_ail.checks.evidence import Subject
from dyna_ail.checks.findings import Finding
from dyna_ail.checks.observations import normalised


def check_bounds(subject: Subject) -> Iterator[Finding]:
    """Actions and observations within the bounds of their spaces."""
    low, high = subject.bounds
    slack = 1e-5 * np.maximum(1, high - low) if subject.box else 0  # as Demonstrations.check allows
    outside = (subject.action < low - slack) | (subject.action > high + slack)
    if outside.any():
        share = outside.reshape(len(outside), -1).any(1).mean()
        yield Finding(
            "error",
            f"{share:.1%} of the actions are outside the task's bounds, {low.min():.3g} to {high.max():.3g}: they go "
            f"from {subject.action.min():.3g} to {subject.action.max():.3g}.",
            _how_to_bound(subject),
        )
    else:
        yield Finding("ok", "All actions are within their bounds.")
    space = subject.observation_space
    assert isinstance(space, spaces.Box)
    slack = 1e-5 * np.maximum(1, np.abs(subject.obs))
    beyond = ((subject.obs < space.low - slack) | (subject.obs > space.high + slack)).any(1)
    if beyond.any() and not normalised(subject):
        yield Finding(
            "warning",
            f"{beyond.mean():.1%} of the observations are outside the task's observation space.",
            "Look whether they are normalised, in other units, or of another task.",
        )


def _how_to_bound(subject: Subject) -> str:
    if not subject.box:
        return "Number the actions from 0."
    if subject.verified:
        return "Clip the actions: clipped, they reproduce the recording."
    if np.abs(subject.action).max() <= 1 + 1e-5:
        return "They look normalised to [-1, 1]: rescale them by low + (action + 1) / 2 * (high - low)."
    return "Clip them if the demonstrator's environment did so; rescale them if they are in other units."


def check_action_range(subject: Subject) -> Iterator[Finding]:
    """Actions that use hardly any of their range or only its ends. No matter where playback vouches for them."""
    if not subject.box or subject.verified or subject.pieces:
        return
    low, high = subject.bounds
    unit = (subject.action - low) / (high - low) * 2 - 1
    reach = np.abs(unit).max()
    if reach < 0.05:
        yield Finding(
            "warning",
            f"The actions keep within {reach:.1%} of their range around its middle.",
            "Look whether they were divided by something on recording; if so, multiply them back.",
        )
    saturated = (np.abs(unit) > 0.999).mean()
    if saturated > 0.9:
        yield Finding(
            "warning",
            f"{saturated:.0%} of the actions' components are at a bound.",
            "Look whether they were multiplied or clipped on recording. A demonstrator that switches between the "
            "bounds is no fault.",
        )
    largest = np.abs(subject.action).max()
    if 0.98 < largest < 1.0001 and (high > 1.5).all() and (np.abs(subject.action) > 0.999 * largest).mean() > 0.005:
        yield Finding(
            "warning",
            f"The actions end at {largest:.3g}, the bounds at {high.max():.3g}: they look normalised to [-1, 1].",
            "If so, rescale them by low + (action + 1) / 2 * (high - low).",
        )
    if saturated < 1 and (subject.action == np.round(subject.action)).all():
        yield Finding(
            "warning",
            "All actions are whole numbers, though the task's actions are continuous.",
            "Look whether they were rounded, or are indices of choices.",
        )
