"""Checks of whole episodes: that none repeats another, their lengths, and where they end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import SAME, Subject
from dyna_ail.checks.findings import Finding, listed


def check_duplicates(subject: Subject) -> Iterator[Finding]:
    """Trajectories that were recorded once and counted twice, or that begin at the same reset."""
    if len(np.unique(subject.starts, axis=0)) < len(subject.starts):
        yield Finding("ok", "Episodes of this task begin in few states: whether trajectories repeat is not checked.")
        return
    seen: set[int] = set()
    starts: set[int] = set()
    copies, same_start = [], []
    for index, trajectory in enumerate(subject.trajectories):
        rows = [hash(row.tobytes()) for row in trajectory.obs]
        if sum(row in seen for row in rows) > len(rows) / 2:
            copies.append(index)
        elif subject.whole and rows[0] in starts:
            same_start.append(index)
        seen.update(rows)
        starts.add(rows[0])
    if copies:
        yield Finding(
            "warning",
            f"Copies or overlapping pieces of earlier ones: {listed(copies)}.",
            "Drop them: they add nothing, and a run that draws them has fewer demonstrations than it says.",
        )
    if same_start:
        yield Finding(
            "warning",
            f"Begun at the same observation as an earlier one: {listed(same_start)}.",
            "Record each episode from a reset of its own, without a seed or with another one.",
        )
    if not copies and not same_start:
        yield Finding("ok", "No trajectory repeats another.")


def check_lengths(subject: Subject) -> Iterator[Finding]:
    """Lengths against the task's time limit."""
    if not subject.whole:
        return
    lengths, limit = subject.lengths, subject.limit
    terminated = np.array([trajectory.terminated for trajectory in subject.trajectories])
    if limit is not None and lengths.max() > limit:
        yield Finding(
            "warning",
            f"Longer than the task's limit of {limit} steps: {listed(np.flatnonzero(lengths > limit).tolist())} "
            f"(up to {lengths.max()}).",
            "Split them where episodes were joined, or cut them at the limit if they were recorded without one.",
        )
    elif len(lengths) > 1 and len(set(lengths.tolist())) == 1 and not terminated.any() and lengths[0] != limit:
        yield Finding(
            "warning",
            f"All episodes are cut at {lengths[0]} steps; the task's limit is {limit}, and none terminated.",
            "If a tool cut them, record whole episodes: what comes later is missing from the demonstrations.",
        )
    else:
        of = "no limit" if limit is None else f"limit {limit}"
        yield Finding("ok", f"Lengths {lengths.min()} to {lengths.max()} ({of}); {terminated.sum()} terminated.")
    if limit is not None and not subject.verified and (full := terminated & (lengths == limit)).any():
        yield Finding(
            "warning",
            f"Marked terminated exactly at the time limit: {listed(np.flatnonzero(full).tolist())}.",
            "Mark episodes that only the limit ended as truncated (terminated = False).",
        )


def check_ends(subject: Subject) -> Iterator[Finding]:
    """``terminated`` against what the environment says of the last step, and of steps before it."""
    played = subject.played
    if played is None or not subject.verified:
        return
    inside = np.array([step < subject.lengths[index] - 1 for index, step in played.rows])
    going_on = played.steps.terminated & (played.error < SAME) & inside
    if going_on.any():
        index, step = played.rows[int(np.argmax(going_on))]
        yield Finding(
            "error",
            f"Episodes go on where the task would have ended them, as at step {step} of trajectory {index}.",
            "Cut them at their end: what follows cannot be met in the task.",
        )
    last = subject.play([(i, int(length) - 1) for i, length in enumerate(subject.lengths)])
    for flag, text in (
        (True, "Marked terminated where the task goes on"),
        (False, "Not marked terminated where the task ends"),
    ):
        wrong = [
            row[0]
            for row, ended, error in zip(last.rows, last.steps.terminated, last.error, strict=True)
            if error < SAME and subject.trajectories[row[0]].terminated == flag and bool(ended) != flag
        ]
        if wrong:
            yield Finding(
                "warning",
                f"{text}: {listed(wrong)}.",
                "Set terminated to True where the task ended the episode, to False where only a limit did.",
            )
