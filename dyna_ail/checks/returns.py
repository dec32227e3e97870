"""Checks of rewards and returns: against the task, the metadata, the random policy and the expert."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import Subject
from dyna_ail.checks.findings import Finding, listed


def check_rewards(subject: Subject) -> Iterator[Finding]:
    """Recorded rewards against those paid when the steps are played again."""
    played = subject.played
    if played is None or not subject.verified or not subject.rewarded:
        return
    recorded, paid = played.reward, played.steps.reward
    if np.median(np.abs(recorded - paid)) > 0.02 * (paid.std() + 0.05 * np.abs(paid).mean()) + 1e-6:
        yield Finding(
            "warning",
            f"The recorded rewards are not the task's: {recorded.mean():.3g} a step, where the task pays "
            f"{paid.mean():.3g}.",
            "Look whether rewards were normalised, or are another version's. Nothing learns from them, but returns and "
            "scores mean something else.",
        )
    else:
        yield Finding("ok", "The recorded rewards are the task's.")


def check_sums(subject: Subject) -> Iterator[Finding]:
    """Returns in the metadata against the recorded rewards."""
    told, recorded = subject.demonstrations.metadata.get("returns"), subject.demonstrations.returns
    if not subject.whole or not isinstance(told, list) or not all(isinstance(value, int | float) for value in told):
        return
    close = {"rtol": 0.01, "atol": 0.01 * np.abs(recorded).max()}
    if len(told) != len(recorded) or not np.allclose(told, recorded, **close):
        yield Finding(
            "warning",
            "The returns in the metadata are not the sums of the recorded rewards.",
            "Write the metadata anew, or leave the returns out of it.",
        )


def check_returns(subject: Subject) -> Iterator[Finding]:
    """Returns against the random policy's and the expert's."""
    recorded = subject.demonstrations.returns
    scores = subject.scores
    if np.isnan(scores).all():
        why = "no rewards were recorded" if not subject.rewarded else "no reference, or no complete episode"
        yield Finding("ok", f"Returns are not compared: {why}.")
        return
    known, mean = np.isfinite(scores), float(np.nanmean(scores))
    bad = np.flatnonzero(known & (scores < 0.5)).tolist()
    at = f"{round(100 * mean)}% of the way from random actions to the expert"
    what = f"mean return {recorded[known].mean():,.1f} is {at}"
    if mean < -0.01:
        yield Finding("error", f"Worse than random: the {what}.", "Take demonstrations of someone who can do the task.")
    elif mean < 0.5:
        yield Finding(
            "warning", f"Far below the expert: the {what}.", "Imitation ends where its demonstrations do: find better."
        )
    elif bad:
        yield Finding(
            "warning", f"The {what}, but less than 50% for {listed(bad)}.", "Drop them, unless failures are wanted."
        )
    else:
        yield Finding("ok", f"The {what}.")
