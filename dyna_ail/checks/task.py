"""Checks of demonstrations against the task as a whole: shapes and kinds, its name, and what a run would draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dyna_ail.checks.evidence import Subject
from dyna_ail.checks.findings import Finding, counted, every_kth
from dyna_ail.config import make_config

FEWEST_PAIRS = 20
"""Expert pairs below which a run has little to imitate."""


def misfit(subject: Subject) -> list[Finding]:
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
    thinned = "" if subject.whole else f" ({every_kth(subject.demonstrations.thinned)})"
    size = f"{counted(len(subject.trajectories), 'trajectory')}, {len(subject.action):,} pairs{thinned}"
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
            "ok", "Thinned: what needs successive observations is not checked (shifted actions, playback, lengths)."
        )


def check_pairs(subject: Subject) -> Iterator[Finding]:
    """The pairs that a run with the task's defaults would keep."""
    config = make_config("dyna-ail", subject.task.defaults)
    held, thinned, every = len(subject.trajectories), subject.demonstrations.thinned, config.every
    if config.trajectories > held:
        yield Finding(
            "warning",
            f"A run draws {counted(config.trajectories, 'trajectory')} by default; here is {held}.",
            f"Give --trajectories {held}, or record more.",
        )
    if every % thinned:
        yield Finding(
            "warning",
            f"A run keeps {every_kth(every)} by default; these hold {every_kth(thinned)}.",
            f"Give --every {thinned}, or a multiple of it.",
        )
        every = thinned
    drawn = min(config.trajectories, held)
    pairs = round(drawn * float(np.ceil(subject.lengths * thinned / every).mean()))
    what = f"{counted(drawn, 'trajectory')}, {every_kth(every)}: about {counted(pairs, 'pair')} to imitate by default"
    if pairs >= FEWEST_PAIRS:
        yield Finding("ok", f"{what}.")
    elif every > thinned:
        yield Finding("warning", f"{what}, which is little.", f"Keep more of them: --every {thinned}.")
    else:
        yield Finding("warning", f"{what}, which is little.", "Give more --trajectories, or record longer ones.")
