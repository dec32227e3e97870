"""Turns episodes of other packages into trajectories: converts what is unambiguous, and refuses the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space, spaces

from dyna_ail.demos import Demonstrations, FloatArray, IntArray, Trajectory, in_precision
from dyna_ail.envs.tasks import make_env
from dyna_ail.errors import InputError
from dyna_ail.guard import time_limit
from dyna_ail.spaces import action_dim, check_spaces


@dataclass(frozen=True)
class Episode:
    """One episode of T steps as it was read."""

    obs: npt.NDArray[Any]
    """[T+1, obs_dim] numbers."""
    action: npt.NDArray[Any]
    """[T, act_dim], or [T]."""
    reward: npt.NDArray[Any] | None
    """[T], or [T, 1]; None where the source has none."""
    terminated: bool
    """Whether it ended by itself."""


@dataclass(frozen=True)
class Room:
    """The parts of a task that its data must fit."""

    task: str
    observation_space: Space[Any]
    action_space: Space[Any]
    max_episode_steps: int | None

    @classmethod
    def of(cls, task: str) -> Room:
        """The spaces and the time limit of a task.

        Raises:
            InputError: an unknown task, or spaces that the package does not handle.
        """
        env = make_env(task)
        room = cls(task, env.observation_space, env.action_space, time_limit(env))
        env.close()
        check_spaces(room.observation_space, room.action_space)
        return room


def demonstrations_of(episodes: Sequence[Episode], room: Room, metadata: dict[str, Any]) -> Demonstrations:
    """The episodes as demonstrations of a task.

    Numbers are converted to float32, and Discrete actions to int64. Missing rewards are read as 0, and the metadata
    says so; otherwise the metadata has the mean return as ``expert_return`` unless it has one already.

    Raises:
        InputError: no episode, or one whose observations or actions are of another width or kind than the task's, that
            has NaN or infinite values, or rows that do not match.
    """
    trajectories = []
    for index, episode in enumerate(episodes):
        try:
            trajectories.append(_trajectory(episode, room))
        except InputError as error:
            raise InputError(f"episode {index}: {error}") from error
    if any(episode.reward is None for episode in episodes):
        metadata = {**metadata, "rewards": "none in the source; read as 0"}
    elif any(trajectory.reward.any() for trajectory in trajectories):  # zeros tell nothing of the demonstrator
        metadata = {"expert_return": float(np.mean([t.return_ for t in trajectories])), **metadata}
    return Demonstrations(tuple(trajectories), {**metadata, "task": room.task})


def _trajectory(episode: Episode, room: Room) -> Trajectory:
    reward = np.zeros(len(episode.action), np.float32) if episode.reward is None else episode.reward
    return Trajectory(
        _observations(episode.obs, room),
        _actions(episode.action, room),
        in_precision(column("rewards", reward), "float32"),
        episode.terminated,
    )


def _observations(array: npt.NDArray[Any], room: Room) -> FloatArray:
    width = int((room.observation_space.shape or (0,))[0])
    return in_precision(_rows("observations", array, width, room.task), "float32")


def _actions(array: npt.NDArray[Any], room: Room) -> FloatArray | IntArray:
    """Integers of any width, [T] or [T, 1], for Discrete; floats of any width for Box."""
    width = action_dim(room.action_space)
    if isinstance(room.action_space, spaces.Discrete):
        if array.dtype.kind not in "iub":
            raise InputError(
                f"its actions are {array.dtype} of shape {array.shape}, {room.task} has {width} discrete ones: convert "
                "them to integers in the source, with numpy.argmax if they are one-hot."
            )
        return in_precision(column("actions", array), "int64")
    if array.dtype.kind != "f":
        raise InputError(
            f"its actions are {array.dtype}, {room.task} has {width} real numbers each: choose data of the same task."
        )
    return in_precision(_rows("actions", array, width, room.task), "float32")


def _rows(name: str, array: npt.NDArray[Any], width: int, task: str) -> npt.NDArray[Any]:
    """[N, width]; from [N] if the width is 1."""
    array = array[:, None] if array.ndim == 1 and width == 1 else array
    if array.dtype.kind not in "biuf" or array.shape[1:] != (width,):
        raise InputError(
            f"its {name} are {array.dtype} rows of shape {array.shape[1:]}, {task} has rows of {width} numbers: choose "
            "data of the same task and version, or flatten them."
        )
    return array


def column(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[N] from [N] or [N, 1].

    Raises:
        InputError: another shape, or no numbers.
    """
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be one number a step; got {array.dtype} of shape {array.shape}.")
    return array


def split(array: npt.NDArray[Any], lengths: Iterable[int]) -> list[npt.NDArray[Any]]:
    """Arrays of the given lengths that lie end to end in ``array``."""
    return np.split(array, np.cumsum(list(lengths), dtype=np.int64)[:-1])
