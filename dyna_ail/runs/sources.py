"""What a run imitates, its demonstrations, and what it is compared with, the returns of score 0 and 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dyna_ail.config import RunConfig
from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError
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
    """Returns of score 0 and 1: those in the demonstrations' metadata, or else the task's. None where unknown.

    Raises:
        InputError: the return of score 1 is not above that of score 0.
    """
    random, expert = (
        demonstrations.metadata.get(f"{name}_return", known)
        for name, known in (("random", task.random), ("expert", task.expert))
    )
    if random is not None and expert is not None and expert <= random:
        raise InputError(
            f"the expert's return, score 1, must be above that of random actions, score 0; got {expert:g} and "
            f"{random:g}. Mend expert_return and random_return in the demonstrations' metadata, or leave them out."
        )
    return {"random": random, "expert": expert}


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
