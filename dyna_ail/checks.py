"""Whether demonstrations and task fit, told before any training: ``dyna-ail demos check``.

Each check is a function that looks at a :class:`~dyna_ail.evidence.Subject` and yields findings; ``CHECKS`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from gymnasium import spaces

from dyna_ail.config import make_config
from dyna_ail.demonstrations import Demonstrations
from dyna_ail.errors import ordinal
from dyna_ail.evidence import FIRST_STEPS, SAME, Array, Rows, Subject

FEWEST_PAIRS = 20
"""Expert pairs below which a run has little to imitate."""
FEWEST_STEPS = 50
"""Recorded steps below which the range of values says little."""
LATE = (
    "The actions come one row too late: each row holds the action that led to its observation",
    "Pair each observation with the next row's action: drop the first action and the last observation.",
)
EARLY = (
    "The actions come one row too early: each row holds the action that follows the next observation",
    "Pair each observation with the row before's action: drop the last action and the first observation.",
)
STANDSTILL = 0.1
"""Forward speed (m/s) below which a demonstrator of a locomotion task stands still."""


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    level: Literal["error", "warning", "ok"]
    """error: cannot be trained on, or teaches something else. warning: to be looked at. ok: fits, or cannot be told."""
    what: str
    """What was found, with numbers."""
    mend: str = ""
    """What to do about it; empty if ok."""


def check_demonstrations(demonstrations: Demonstrations, task: str) -> list[Finding]:
    """Everything that can be told about demonstrations and a task without training.

    NaN, infinite values and ragged episodes are refused before, when a :class:`Demonstrations` is made.

    Args:
        demonstrations: whole or thinned; of thinned ones nothing is checked that needs successive observations.
        task: Gymnasium id, or module:id.

    Raises:
        InputError: unknown task, or an environment that cannot be made or has unsupported spaces.
    """
    subject = Subject(demonstrations, task)
    try:
        misfit = _misfit(subject)
        return misfit or [finding for check in CHECKS for finding in check(subject)]
    finally:
        subject.replayer.close()


def report(findings: Sequence[Finding]) -> str:
    """Plain text: one line per finding, the mend indented below it, and a last line with the counts."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.what}")
        if finding.mend:
            lines.append(f"{'':<8}   -> {finding.mend}")
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    lines.append(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    return "\n".join(lines)


def _misfit(subject: Subject) -> list[Finding]:
    """Shapes and kinds of action; where they differ nothing else can be compared."""
    obs, action = subject.trajectories[0].obs, subject.trajectories[0].action
    ours = _shapes(obs.shape[1:], action.dtype != np.int64, action.shape[1:])
    theirs = _shapes(subject.observation_space.shape, subject.box, subject.action_space.shape)
    if ours == theirs:
        return []
    what = f"The trajectories have {ours}; {subject.task.id} has {theirs}."
    return [Finding("error", what, "Choose demonstrations of the same task, or the task they were recorded on.")]


def _shapes(obs: tuple[int, ...] | None, box: bool, action: tuple[int, ...] | None) -> str:
    return f"observations {obs} and {'continuous' if box else 'discrete'} actions {action}"


def check_task(subject: Subject) -> Iterator[Finding]:
    """The task that the metadata name."""
    named = subject.demonstrations.metadata.get("task")
    thinned = "" if subject.whole else f" ({_every(subject.demonstrations.thinned)})"
    size = f"{_count(len(subject.trajectories), 'trajectory')}, {len(subject.action):,} pairs{thinned}"
    if named in (None, subject.task.id):
        yield Finding("ok", f"{size}: shapes and kinds fit {subject.task.id}.")
    else:
        yield Finding(
            "warning",
            f"{size}: recorded on {named}, checked against {subject.task.id}.",
            f"Give --task {named} if that is the task to learn.",
        )
    if subject.limit is None:
        yield Finding(
            "warning",
            "The task has no time limit: an episode that the policy plays may never end.",
            "Register it with max_episode_steps.",
        )
    if not subject.whole:
        yield Finding(
            "ok", "Thinned: what needs successive observations is not checked (shifted actions, replay, lengths)."
        )


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
    if beyond.any() and not _normalised(subject):
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
    """Actions that use hardly any of their range or only its ends. No matter where replay vouches for them."""
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


def check_constant(subject: Subject) -> Iterator[Finding]:
    """Trajectories, or components, that never move."""
    still = [i for i, t in enumerate(subject.trajectories) if t.length > 1 and (t.obs == t.obs[0]).all()]
    if still:
        yield Finding(
            "error", f"The observation never changes in {_listed(still)}.", "Drop them, or record them again."
        )
    idle = [i for i, t in enumerate(subject.trajectories) if _idle(t.action, subject)]
    if idle:
        yield Finding(
            "error" if len(idle) == len(subject.trajectories) else "warning",
            f"The action never changes in {_listed(idle)}.",
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
    if _normalised(subject):
        return
    speeds = subject.speeds()
    slow = np.flatnonzero(speeds < STANDSTILL).tolist()
    if slow:
        yield Finding(
            "warning",
            f"The demonstrator hardly moves forward in {_listed(slow)}: at most {speeds[slow].max():.2f} m/s.",
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
    what = f"The observation hardly changes in the second half of {_listed(slow)}."
    if np.nanmin([*subject.scores[slow], np.inf]) < 0.5:
        yield Finding("warning", what, "The return is low, too: the demonstrator gave up. Take other demonstrations.")
    else:
        yield Finding("ok", what + " So it must be if the task is to hold still.")


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
            f"Copies or overlapping pieces of earlier ones: {_listed(copies)}.",
            "Drop them: they add nothing, and a run that draws them has fewer demonstrations than it says.",
        )
    if same_start:
        yield Finding(
            "warning",
            f"Begun at the same observation as an earlier one: {_listed(same_start)}.",
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
            f"Longer than the task's limit of {limit} steps: {_listed(np.flatnonzero(lengths > limit).tolist())} "
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
            f"Marked terminated exactly at the time limit: {_listed(np.flatnonzero(full).tolist())}.",
            "Mark episodes that only the limit ended as truncated (terminated = False).",
        )


def check_observations(subject: Subject) -> Iterator[Finding]:
    """Observations that were normalised, or come from elsewhere. No matter where replay vouches for them."""
    if subject.verified:
        return
    if _normalised(subject):
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
    elif _Range(np.concatenate([subject.starts, subject.random.obs])).holds(_first(subject)).mean() < 0.5:
        yield Finding(
            "warning",
            "The trajectories begin where neither resets nor random actions lead.",
            "Look for other units, or for another version of the task. No fault if the beginnings were cut off.",
        )
    else:
        yield Finding("ok", "The trajectories begin elsewhere than resets do, but where random actions lead.")


def _spread(obs: Array) -> Array:
    """Standard deviations of the components that move."""
    spread = obs.std(0)
    return spread[spread > 1e-6 * (1e-6 + np.abs(obs).max(0))]


def _extremes(values: Array) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def _normalised(subject: Subject) -> bool:
    """Whether the spreads of the components are all alike and near 1, though those of random episodes are not; and the
    trajectories do not begin where the task does."""
    if subject.verified or (subject.whole and not _starts_elsewhere(subject)):
        return False
    ours, theirs = _spread(subject.obs), _spread(np.concatenate([subject.random.obs, subject.starts]))
    if len(ours) < 2 or len(theirs) < 2:
        return False
    alike, unlike = np.log(ours).std(), np.log(theirs).std()
    return bool(0.2 < np.median(ours) < 2 and alike < 0.6 and alike < 0.7 * unlike)


def _starts_elsewhere(subject: Subject) -> bool:
    """Whether more than half of the trajectories begin outside of what the environment resets to."""
    return bool(_Range(subject.starts).holds(_first(subject)).mean() < 0.5)


def _first(subject: Subject) -> Array:
    return np.stack([trajectory.obs[0] for trajectory in subject.trajectories])


class _Range:
    """The range of some observations, widened by what a few samples of it miss."""

    def __init__(self, obs: Array) -> None:
        low, high = obs.min(0), obs.max(0)
        margin = 0.5 * (high - low) + 1e-3 * (1 + np.abs(obs).max(0))
        self.low, self.high = low - margin, high + margin

    def holds(self, obs: Array) -> Array:
        """[N] bool, of obs [N, obs_dim]."""
        return ((obs >= self.low) & (obs <= self.high)).all(1)


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
            "warning", f"The {what}, but less than 50% for {_listed(bad)}.", "Drop them, unless failures are wanted."
        )
    else:
        yield Finding("ok", f"The {what}.")


def check_replay(subject: Subject) -> Iterator[Finding]:
    """Recorded steps, each from the recorded observation: does the recorded action lead to the next one?"""
    replayed = subject.replayed
    if replayed is None or _normalised(subject):
        return
    tested = f"replayed from their observations, {replayed.share:.0%} of {_count(len(replayed.rows), 'step')}"
    if subject.verified:
        yield Finding("ok", f"Actions lead where the recording says: {tested} are reproduced.")
        return
    cause = _cause(subject)
    if cause is not None:
        yield Finding("error", f"{cause[0]} (as recorded, {tested} are reproduced).", cause[1])
    elif replayed.loss < 0.2:
        yield Finding(
            "warning",
            f"The task is close to the one recorded but not the same: {tested} are reproduced; on average they end "
            f"{replayed.loss:.1%} of a typical change apart.",
            "Look whether --task names the version that was recorded, and whether observations were rounded. Small "
            "differences do no harm to imitation, but the reference returns may not hold.",
        )
    else:
        yield Finding(
            "error",
            f"The recording does not follow the task's dynamics: {tested} are reproduced; on average they end "
            f"{replayed.loss:.0%} of a typical change apart.",
            "Look for normalised or reordered observations, permuted or rescaled actions, steps left out between rows, "
            "or another task.",
        )


def _cause(subject: Subject) -> tuple[str, str] | None:
    """What is wrong with the actions and how to mend it, if telling steps are reproduced much better so."""
    telling = subject.replayed_telling
    if telling is None or telling.loss < 0.05:
        return None
    what, mend, loss = min(_causes(subject, telling.rows), key=lambda cause: cause[2])
    return (what, mend) if loss < 0.3 * telling.loss else None


def _causes(subject: Subject, rows: Rows) -> Iterator[tuple[str, str, float]]:
    """What could be wrong with the actions, how to mend it, and the loss that is left if it is that."""
    yield *LATE, subject.replay(rows, 1).loss
    yield *EARLY, subject.replay(rows, -1).loss
    if not subject.box:
        return
    low, high = subject.bounds

    def scaled(factor: float) -> float:
        return subject.replay(rows[::2], change=lambda action: action * factor).loss

    def rescaled(least: int) -> float:
        return subject.replay(rows, change=lambda action: low + (action - least) / (1 - least) * (high - low)).loss

    for least in (-1, 0):
        what = f"The actions are normalised to [{least}, 1]"
        yield what, f"Rescale them from [{least}, 1] to the task's bounds.", rescaled(least)
    coarse = min((sign * factor for factor in np.geomspace(0.1, 10, 13) for sign in (1, -1)), key=scaled)
    factor = min(coarse * np.geomspace(0.75, 1 / 0.75, 9), key=scaled)
    yield "The actions are scaled", f"Multiply them by about {factor:.2g}.", scaled(factor)


def check_alignment(subject: Subject) -> Iterator[Finding]:
    """Where states cannot be restored: which action explains a step best, in a linear model of the environment."""
    if not subject.whole or subject.replayed is not None:
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
        subject.replayed is not None and not subject.verified
    ):
        return
    tried = range(min(5, len(subject.lengths)))
    ends = [min(FIRST_STEPS, int(subject.lengths[i])) + 1 for i in tried]
    diverged = [subject.diverges(i) for i in tried]
    step = min(diverged)
    if all(at == end for at, end in zip(diverged, ends, strict=True)):
        yield Finding("ok", f"Played from the reset seeds, the first {max(ends) - 1} actions lead where recorded.")
    elif step == 0:
        yield Finding("ok", "The reset seeds do not lead to the recorded first observations: not replayed from there.")
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
    starts = _Range(subject.starts)
    restart = starts.holds(subject.obs + subject.change) & ~starts.holds(subject.obs)
    torn = {rows[k] for k in np.flatnonzero(restart & (jump > 8))}
    if subject.replayed is not None and subject.verified:
        suspects = {k for size in (jump, bend, jump * restart) for k in np.argsort(size)[-100:].tolist()}
        replayed = subject.replay([*torn, *(rows[k] for k in suspects)])
        limit = 5 * SAME if subject.replayed.share == 1 else 0.3  # another simulator may be far off in some steps
        wrong = {row for row, error in zip(replayed.rows, replayed.error, strict=True) if error > limit}
        torn = torn - {*replayed.rows} | wrong
    if torn:
        where = ", ".join(f"{t} of trajectory {i}" for i, t in sorted(torn)[:5]) + (", ..." if len(torn) > 5 else "")
        yield Finding(
            "error",
            f"The observation jumps to where the action does not lead, at step {where}.",
            "Split the trajectories there: episodes were joined, or rows left out.",
        )


def check_rewards(subject: Subject) -> Iterator[Finding]:
    """Recorded rewards against the replayed ones."""
    replayed = subject.replayed
    if replayed is None or not subject.verified or not subject.rewarded:
        return
    recorded, paid = replayed.reward, replayed.steps.reward
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


def check_ends(subject: Subject) -> Iterator[Finding]:
    """``terminated`` against what the environment says of the last step, and of steps before it."""
    replayed = subject.replayed
    if replayed is None or not subject.verified:
        return
    inside = np.array([step < subject.lengths[index] - 1 for index, step in replayed.rows])
    going_on = replayed.steps.terminated & (replayed.error < SAME) & inside
    if going_on.any():
        index, step = replayed.rows[int(np.argmax(going_on))]
        yield Finding(
            "error",
            f"Episodes go on where the task would have ended them, as at step {step} of trajectory {index}.",
            "Cut them at their end: what follows cannot be met in the task.",
        )
    last = subject.replay([(i, int(length) - 1) for i, length in enumerate(subject.lengths)])
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
                f"{text}: {_listed(wrong)}.",
                "Set terminated to True where the task ended the episode, to False where only a limit did.",
            )


def check_pairs(subject: Subject) -> Iterator[Finding]:
    """The pairs that a run with the task's defaults would keep."""
    config = make_config("dyna-ail", subject.task.defaults)
    held, thinned, every = len(subject.trajectories), subject.demonstrations.thinned, config.every
    if config.trajectories > held:
        yield Finding(
            "warning",
            f"A run draws {_count(config.trajectories, 'trajectory')} by default; here is {held}.",
            f"Give --trajectories {held}, or record more.",
        )
    if every % thinned:
        yield Finding(
            "warning",
            f"A run keeps {_every(every)} by default; these hold {_every(thinned)}.",
            f"Give --every {thinned}, or a multiple of it.",
        )
        every = thinned
    drawn = min(config.trajectories, held)
    pairs = round(drawn * float(np.ceil(subject.lengths * thinned / every).mean()))
    what = f"{_count(drawn, 'trajectory')}, {_every(every)}: about {_count(pairs, 'pair')} to imitate by default"
    if pairs >= FEWEST_PAIRS:
        yield Finding("ok", f"{what}.")
    elif every > thinned:
        yield Finding("warning", f"{what}, which is little.", f"Keep more of them: --every {thinned}.")
    else:
        yield Finding("warning", f"{what}, which is little.", "Give more --trajectories, or record longer ones.")


def _every(k: int) -> str:
    return "every pair" if k == 1 else f"every {ordinal(k)} pair"


def _count(number: int, word: str) -> str:
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{number:,} {word if number == 1 else plural}"


def _listed(indices: Sequence[int]) -> str:
    """A few of them by number."""
    if len(indices) == 1:
        return f"trajectory {indices[0]}"
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    return f"trajectories {', '.join(map(str, indices[:5]))}{more}"


CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_task,
    check_bounds,
    check_action_range,
    check_observations,
    check_constant,
    check_duplicates,
    check_lengths,
    check_replay,
    check_alignment,
    check_resets,
    check_continuity,
    check_ends,
    check_rewards,
    check_sums,
    check_returns,
    check_standstill,
    check_pairs,
)
"""In the order of the report. A new check is a function and a line here."""
