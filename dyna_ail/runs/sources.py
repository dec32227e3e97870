"""What a run imitates, its demonstrations, and what it is compared with, the returns of score 0 and 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dyna_ail.config import RunConfig
from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError, number
from dyna_ail.records.reading import read_references

if TYPE_CHECKING:
    from dyna_ail.envs.tasks import Task


def demonstration_source(config: RunConfig, task: Task) -> Path:
    """Where the demonstrations are: ``config.demos``, or the file bundled for the task.

    Raises:
        InputError: none are named and none are bundled.
    """
    if config.demos is not None:
        return Path(config.demos)
    if task.demos is None:
        raise InputError(
            f"no demonstrations are bundled for {config.task}; give some with --demos: a file, a folder, a policy of "
            "Stable-Baselines3 or the id of a Minari dataset."
        )
    return task.demos


def references_of(task: Task, demonstrations: Demonstrations) -> dict[str, float | None]:
    """Returns of score 0 and 1: those in the demonstrations' metadata, else the task's, else unknown.

    They serve reports only. :func:`why_no_score` says what is missing.
    """
    known = (("random", task.random), ("expert", task.expert))
    return {name: demonstrations.metadata.get(f"{name}_return", value) for name, value in known}


def why_no_score(references: dict[str, float | None], demonstrations: Demonstrations) -> str:
    """Why the returns of a run cannot be told as scores; empty if they can."""
    random, expert = references["random"], references["expert"]
    if random is not None and expert is not None:
        if expert > random:
            return ""
        return (
            f"the demonstrator's return, {number(expert)}, is not above that of random actions, {number(random)}: "
            "there are no scores. Nothing learns from rewards, but look whether the demonstrator does the task."
        )
    rewards = {"zero": ", since all recorded rewards are 0", "absent": ", since no rewards were recorded"}
    names = {"random actions": random, "the demonstrator": expert}
    missing = " and ".join(name for name, value in names.items() if value is None)
    return f"the return of {missing} is not known{rewards.get(demonstrations.rewards, '')}: there are no scores."


def kept_references(folder: Path, task_id: str) -> dict[str, float | None]:
    """Returns of score 0 and 1 in a run's folder, or the task's if the folder has none.

    Raises:
        InputError: versions.json cannot be understood.
    """
    from dyna_ail.envs.tasks import get_task

    kept = read_references(folder)
    if any(value is not None for value in kept.values()):
        return kept
    task = get_task(task_id)
    return {"random": task.random, "expert": task.expert}
