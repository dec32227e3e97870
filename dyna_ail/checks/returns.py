"""Checks of rewards and returns: against the task, the metadata, the random policy and the expert."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import Subject
from dyna_ail.checks.findings import Finding, listed
from dyna_ail.errors import number


def check_rewards(subject: Subject) -> Iterator[Finding]:
    """Recorded rewards against those paid when the steps are played again."""
    played = subject.played
    if played is None or not subject.verified or not subject.rewarded:
        return
    recorded, paid = played.reward, played.steps.reward
    if (
        np.median(np.abs(recorded - paid))
        > 0.02 * (paid.std() + 0.05 * np.abs(paid).mean()) + 1e-6 * np.abs(recorded).max()
    ):
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
    """Returns against each other, the random policy's and the expert's."""
    why = {
        "absent": "No rewards were recorded, so returns are not compared. Nothing learns from them.",
        "zero": "All recorded rewards are 0, so returns are not compared. Nothing learns from them.",
    }
    known = np.isfinite(subject.returns)
    if not known.any():
        told = why.get(subject.demonstrations.rewards, "Returns are not compared: no complete episode.")
        yield Finding("ok", told)
        return
    returns, scores = subject.returns[known], subject.scores
    spread = f", from {number(returns.min())} to {number(returns.max())}" if len(returns) > 1 else ""
    what = f"mean return {number(returns.mean())}{spread}; random actions earn {number(subject.random_return)}"
    if returns.mean() < subject.random_return - 0.01 * abs(subject.random_return):
        yield Finding("error", f"Worse than random: {what}.", "Take demonstrations of someone who can do the task.")
        return
    if np.isnan(scores).all():
        yield Finding("warning", f"As bad as random: {what}.", "Take demonstrations of someone who can do the task.")
        return
    mean, bad = float(np.nanmean(scores)), np.flatnonzero(scores < 0.5).tolist()
    what += f" (the mean is {round(100 * mean)}% of the way from there to the expert)"
    if mean < 0.5:
        yield Finding(
            "warning", f"Far below the expert: {what}.", "Imitation ends where its demonstrations do: find better."
        )
    elif bad:
        yield Finding(
            "warning",
            f"{what[0].upper()}{what[1:]}, but less than 50% for {listed(bad)}.",
            "Drop them, unless failures are wanted.",
        )
    else:
        yield Finding("ok", f"{what[0].upper()}{what[1:]}.")
