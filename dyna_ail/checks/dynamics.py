"""Checks of whether each action leads to the next observation: played again in the task, or in a model of it.

Where it does not, these find the cause: shifted or rescaled actions, joined episodes, rows left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import FIRST_STEPS, SAME, Rows, Subject
from dyna_ail.checks.findings import Finding, counted
from dyna_ail.checks.observations import Range, normalised

LATE = (
    "The actions come one row too late: each row holds the action that led to its observation",
    "Pair each observation with the next row's action: drop the first action and the last observation.",
)
EARLY = (
    "The actions come one row too early: each row holds the action that follows the next observation",
    "Pair each observation with the row before's action: drop the last action and the first observation.",
)


def check_playback(subject: Subject) -> Iterator[Finding]:
    """Recorded steps, each from the recorded observation: does the recorded action lead to the next one?"""
    played = subject.played
    if played is None or normalised(subject):
        return
    tested = f"played again from their observations, {played.share:.0%} of {counted(len(played.rows), 'step')}"
    if subject.verified:
        yield Finding("ok", f"Actions lead where the recording says: {tested} are reproduced.")
        return
    cause = _cause(subject)
    if cause is not None:
        yield Finding("error", f"{cause[0]} (as recorded, {tested} are reproduced).", cause[1])
    elif played.loss < 0.2:
        yield Finding(
            "warning",
            f"The task is close to the one recorded but not the same: {tested} are reproduced; on average they end "
            f"{played.loss:.1%} of a typical change apart.",
            "Look whether --task names the version that was recorded, and whether observations were rounded. Small "
            "differences do no harm to imitation, but the reference returns may not hold.",
        )
    else:
        yield Finding(
            "error",
            f"The recording does not follow the task's dynamics: {tested} are reproduced; on average they end "
            f"{played.loss:.0%} of a typical change apart.",
            "Look for normalised or reordered observations, permuted or rescaled actions, steps left out between rows, "
            "or another task.",
        )


def _cause(subject: Subject) -> tuple[str, str] | None:
    """What is wrong with the actions and how to mend it, if telling steps are reproduced much better so."""
    telling = subject.played_telling
    if telling is None or telling.loss < 0.05:
        return None
    what, mend, loss = min(_causes(subject, telling.rows), key=lambda cause: cause[2])
    return (what, mend) if loss < 0.3 * telling.loss else None


def _causes(subject: Subject, rows: Rows) -> Iterator[tuple[str, str, float]]:
    """What could be wrong with the actions, how to mend it, and the loss that is left if it is that."""
    yield *LATE, subject.play(rows, 1).loss
    yield *EARLY, subject.play(rows, -1).loss
    if not subject.box:
        return
    low, high = subject.bounds

    def scaled(factor: float) -> float:
        return subject.play(rows[::2], change=lambda action: action * factor).loss

    def rescaled(least: int) -> float:
        return subject.play(rows, change=lambda action: low + (action - least) / (1 - least) * (high - low)).loss

    for least in (-1, 0):
        what = f"The actions are normalised to [{least}, 1]"
        yield what, f"Rescale them from [{least}, 1] to the task's bounds.", rescaled(least)
    coarse = min((sign * factor for factor in np.geomspace(0.1, 10, 13) for sign in (1, -1)), key=scaled)
    factor = min(coarse * np.geomspace(0.75, 1 / 0.75, 9), key=scaled)
    yield "The actions are scaled", f"Multiply them by about {factor:.2g}.", scaled(factor)


def check_alignment(subject: Subject) -> Iterator[Finding]:
    """Where states cannot be restored: which action explains a step best, in a linear model of the environment."""
    if not subject.whole or subject.played is not None:
        return
    if len(subject.telling) < 30:
        yield Finding("ok", "The action changes in too few steps to tell whether actions are shifted.")
        return
    early, now, late = subject.shift_losses()
    for loss, (what, mend) in ((early, EARLY), (late, LATE)):
        gain = now - loss
        steps = gain.sum() ** 2 / (gain**2).sum()  # over how many the gain is spread
        if loss.sum() < 0.5 * now.sum() and steps > 10:
            share = 1 - loss.sum() / now.sum()
            yield Finding("error", f"{what}; so shifted, they explain the changes {share:.0%} better.", mend)
            return
    yield Finding("ok", "No shift of the actions explains the observations clearly better.")


def check_resets(subject: Subject) -> Iterator[Finding]:
    """The first actions of a few trajectories, played from the recorded reset seeds."""
    seeds = subject.demonstrations.metadata.get("reset_seeds")
    if not isinstance(seeds, list) or len(seeds) != len(subject.lengths) or not subject.whole:
        return
    if not all(isinstance(seed, int) and seed >= 0 for seed in seeds) or (
        subject.played is not None and not subject.verified
    ):
        return
    tried = range(min(5, len(subject.lengths)))
    ends = [min(FIRST_STEPS, int(subject.lengths[i])) + 1 for i in tried]
    diverged = [subject.diverges(i) for i in tried]
    step = min(diverged)
    if all(at == end for at, end in zip(diverged, ends, strict=True)):
        yield Finding("ok", f"Played from the reset seeds, the first {max(ends) - 1} actions lead where recorded.")
    elif step == 0:
        yield Finding("ok", "The reset seeds do not lead to the recorded first observations: not played from there.")
    elif subject.verified:
        yield Finding("ok", f"From the reset seeds, observations diverge after {step} steps, as rounding makes them.")
    elif max((subject.diverges(i, 1) for i in tried if subject.lengths[i] > 1), default=0) > max(diverged) + 5:
        yield Finding("error", f"{LATE[0]}; played so from the reset seeds, they lead further.", LATE[1])
    else:
        yield Finding(
            "error" if step <= 3 else "warning",
            f"Played from the reset seeds, the actions lead elsewhere from observation {step} on.",
            "From the first steps: look for shifted or rescaled actions. Later: another version of the simulator.",
        )


def check_continuity(subject: Subject) -> Iterator[Finding]:
    """Jumps of the observation, where episodes were joined or rows left out."""
    if not subject.whole:
        return
    rows = [(i, t) for i, length in enumerate(subject.lengths) for t in range(length)]
    change = subject.change / subject.scale
    jump = np.abs(change).max(1)
    bend = np.abs(np.diff(np.pad(change, ((1, 1), (0, 0))), 2, axis=0)).max(1)  # a jump that its neighbours do not make
    starts = Range(subject.starts)
    restart = starts.holds(subject.obs + subject.change) & ~starts.holds(subject.obs)
    torn = {rows[k] for k in np.flatnonzero(restart & (jump > 8))}
    if subject.played is not None and subject.verified:
        suspects = {k for size in (jump, bend, jump * restart) for k in np.argsort(size)[-100:].tolist()}
        played = subject.play([*torn, *(rows[k] for k in suspects)])
        limit = 5 * SAME if subject.played.share == 1 else 0.3  # another simulator may be far off in some steps
        wrong = {row for row, error in zip(played.rows, played.error, strict=True) if error > limit}
        torn = torn - {*played.rows} | wrong
    if torn:
        where = ", ".join(f"{t} of trajectory {i}" for i, t in sorted(torn)[:5]) + (", ..." if len(torn) > 5 else "")
        yield Finding(
            "error",
            f"The observation jumps to where the action does not lead, at step {where}.",
            "Split the trajectories there: episodes were joined, or rows left out.",
        )
