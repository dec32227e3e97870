"""Recorded trajectories, their validation and provenance, and the draw of the pairs that a run imitates."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dyna_ail.demos.arrays import FloatArray, IntArray, convert_field
from dyna_ail.demos.npz import (
    join_trajectories,
    parse_metadata,
    parse_thinned,
    read_arrays,
    split_trajectories,
    write_arrays,
)
from dyna_ail.demos.pairs import ExpertPairs
from dyna_ail.errors import InputError, brief
from dyna_ail.spaces import check_spaces, encode_actions

if TYPE_CHECKING:
    from gymnasium import Space


@dataclass(frozen=True)
class Trajectory:
    """One recorded episode of T steps, a piece of one, or T pairs of one that do not follow each other.

    Numbers of another precision are converted.

    Raises:
        InputError: wrong shapes or kinds, or NaN or infinite values.
    """

    obs: FloatArray
    """[T+1, obs_dim], the last row being the observation after the last action; or [T, obs_dim] if thinned."""
    action: FloatArray | IntArray
    """[T, act_dim] float32 for Box actions, [T] int64 for Discrete ones."""
    reward: FloatArray
    """[T]. For reports only: the learner never sees it."""
    terminated: bool
    """Whether the episode ended by itself (True) or was cut by the time limit (False)."""

    def __post_init__(self) -> None:
        dtype, ndim = ("int64", 1) if self.action.dtype.kind in "iu" else ("float32", 2)
        if self.action.dtype.kind not in "iuf" or self.action.ndim != ndim:
            raise InputError(
                "action must be float32 [T, act_dim] for Box or int64 [T] for Discrete; "
                f"got {self.action.dtype.name} of shape {self.action.shape}."
            )
        convert_field(self, "obs", "float32", ndim=2)
        convert_field(self, "action", dtype, ndim)
        convert_field(self, "reward", "float32", ndim=1)
        steps = len(self.action)
        if steps < 1 or len(self.reward) != steps or len(self.obs) not in (steps, steps + 1):
            raise InputError(
                "a trajectory of T >= 1 steps needs T actions, T rewards and T+1 observations (T if it is thinned); "
                f"got {steps} actions, {len(self.reward)} rewards and {len(self.obs)} observations."
            )

    @property
    def length(self) -> int:
        """Number of steps T."""
        return len(self.action)

    @property
    def return_(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(self.reward.sum(dtype=np.float64))


@dataclass(frozen=True)
class Demonstrations:
    """Trajectories of one demonstrator on one task, with their provenance.

    Raises:
        InputError: no trajectory, trajectories of different tasks, or metadata with other returns than numbers.
    """

    trajectories: tuple[Trajectory, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    """Any JSON values. ``dyna-ail demos record`` writes task, versions, expert (algorithm, settings, seed, steps,
    best_at, command), seed, reset_seeds, returns, expert_return, expert_episodes, random_return, random_episodes,
    deterministic and command."""
    thinned: int = 1
    """k if only every k-th pair of each episode is held; 1 if the trajectories are whole."""

    def __post_init__(self) -> None:
        if not self.trajectories:
            raise InputError("demonstrations need at least one trajectory; got none.")
        if self.thinned < 1:
            raise InputError(f"thinned must be at least 1; got {self.thinned}.")
        extra = int(self.thinned == 1)
        for index, trajectory in enumerate(self.trajectories):
            if len(trajectory.obs) != trajectory.length + extra:
                raise InputError(
                    f"trajectory {index} has {trajectory.length} actions and {len(trajectory.obs)} observations; "
                    + ("a whole trajectory has one observation more." if extra else "a thinned one has as many.")
                )
        first = self.trajectories[0]
        for index, other in enumerate(self.trajectories):
            ours = (first.obs.shape[1:], first.action.shape[1:], first.action.dtype)
            theirs = (other.obs.shape[1:], other.action.shape[1:], other.action.dtype)
            if theirs != ours:
                raise InputError(
                    "all trajectories must be of one task: observation shape, action shape and action type are "
                    f"{_describe(*ours)} in trajectory 0 and {_describe(*theirs)} in trajectory {index}."
                )
        for name in ("expert_return", "random_return"):
            value = self.metadata.get(name)
            if value is not None and not _is_finite(value):
                raise InputError(f"{name} must be a finite number; got {brief(value)}.")
        returns = self.metadata.get("returns")
        if isinstance(returns, list) and not all(map(_is_finite, returns)):
            raise InputError(f"returns must be finite numbers; got {brief(returns)}.")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Demonstrations:
        """Read a file written by :meth:`save`. Runs no code from it.

        Raises:
            InputError: the file is missing, is not of this format, is damaged, or holds NaN or infinite values.
        """
        arrays = read_arrays(path)
        try:
            thinned = parse_thinned(arrays["thinned"])
            trajectories = _trajectories(split_trajectories(arrays, thinned))
            return cls(trajectories, parse_metadata(arrays["metadata"]), thinned)
        except InputError as error:
            raise InputError(f"demonstrations {str(path)!r} cannot be used: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a compressed npz file, whole or not at all; an existing one is replaced.

        Raises:
            InputError: the place cannot be written.
        """
        write_arrays(path, join_trajectories([vars(t) for t in self.trajectories], self.thinned, self.metadata))

    def check(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Refuse demonstrations that cannot come from a task with these spaces.

        Raises:
            InputError: unsupported spaces, other shapes, other kind of action, or actions outside the bounds.
        """
        check_spaces(observation_space, action_space)
        from gymnasium import spaces

        obs_shape = self.trajectories[0].obs.shape[1:]
        if obs_shape != observation_space.shape:
            raise InputError(
                f"{self._origin()} have observations of shape {obs_shape}, the task has {observation_space.shape}: "
                "choose demonstrations of the same task."
            )
        action = self.trajectories[0].action
        discrete = isinstance(action_space, spaces.Discrete)
        if discrete != (action.dtype == np.int64) or (not discrete and action.shape[1:] != action_space.shape):
            ours = "discrete actions" if action.dtype == np.int64 else f"actions of shape {action.shape[1:]}"
            theirs = "discrete actions" if discrete else f"actions of shape {action_space.shape}"
            raise InputError(
                f"{self._origin()} have {ours}, the task has {theirs}: choose demonstrations of the same task."
            )
        if isinstance(action_space, spaces.Discrete):
            low, high = np.asarray(0), np.asarray(action_space.n - 1)
        else:
            assert isinstance(action_space, spaces.Box)
            low, high = action_space.low, action_space.high
        slack = 0.0 if discrete else 1e-5 * np.maximum(1.0, high - low)  # for files that rounded their actions
        for index, trajectory in enumerate(self.trajectories):
            outside = (trajectory.action < low - slack) | (trajectory.action > high + slack)
            if outside.any():
                step = int(np.argwhere(outside)[0][0])
                raise InputError(
                    f"{self._origin()} have an action outside the task's bounds {_bounds(low, high)}: "
                    f"{trajectory.action[step]} at step {step} of trajectory {index}. Clip or rescale the actions."
                )

    def select(self, trajectories: int, every: int, action_space: Space[Any], rng: np.random.Generator) -> ExpertPairs:
        """The pairs to imitate: some trajectories, and of each every k-th pair from a random offset.

        Both draws matter for what is learned, so both come from ``rng``: first the trajectories, without replacement,
        then one offset for each, in that order. A trajectory shorter than ``every`` gives one pair.

        Args:
            trajectories: how many to draw.
            every: keep every k-th pair; 1 keeps all.
            action_space: the task's, for the encoding of the actions.
            rng: the run's generator.

        Raises:
            InputError: fewer trajectories than asked, or an argument below 1.
        """
        if trajectories < 1 or every < 1:
            raise InputError(f"--trajectories and --every must be at least 1; got {trajectories} and {every}.")
        if every % self.thinned:
            raise InputError(
                f"--every {every} asked for, but {self._origin()} hold every {self.thinned}th pair: "
                f"ask for a multiple of {self.thinned}."
            )
        if trajectories > len(self.trajectories):
            raise InputError(
                f"--trajectories {trajectories} asked for, but {self._origin()} have {len(self.trajectories)}: "
                "ask for fewer or record more."
            )
        chosen = rng.choice(len(self.trajectories), size=trajectories, replace=False)
        obs, action = [], []
        for trajectory in (self.trajectories[index] for index in chosen):
            kept = _subsampled(trajectory, every // self.thinned, rng)
            obs.append(kept.obs)
            action.append(encode_actions(action_space, kept.action))
        return ExpertPairs(np.concatenate(obs), np.concatenate(action))

    def subsample(self, every: int, rng: np.random.Generator) -> Demonstrations:
        """Every k-th pair of each trajectory, from an offset drawn with ``rng``; 1 keeps the trajectories whole.

        The episodes' returns stay known, as ``metadata["returns"]``.

        Raises:
            InputError: ``every`` is below 1, or these are thinned already.
        """
        if every < 1 or self.thinned > 1:
            raise InputError(f"cannot thin demonstrations by {every} that are thinned by {self.thinned}.")
        if every == 1:
            return self
        trajectories = tuple(_subsampled(trajectory, every, rng) for trajectory in self.trajectories)
        return Demonstrations(trajectories, {**self.metadata, "returns": self.returns.tolist()}, every)

    @property
    def rewards(self) -> Literal["recorded", "zero", "absent"]:
        """Whether rewards were recorded, are all zero, or were not in the source."""
        if str(self.metadata.get("rewards", "")).startswith("none"):
            return "absent"
        recorded = np.nan_to_num(self.returns).any() or any(t.reward.any() for t in self.trajectories)
        return "recorded" if recorded else "zero"

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """The episodes' undiscounted returns [n]; those in the metadata if thinned, NaN if they are not there."""
        known = self.metadata.get("returns")
        if self.thinned == 1:
            return np.array([trajectory.return_ for trajectory in self.trajectories])
        if isinstance(known, list) and len(known) == len(self.trajectories):
            return np.array(known, dtype=np.float64)
        return np.full(len(self.trajectories), np.nan)

    def _origin(self) -> str:
        return f"the demonstrations of {self.metadata['task']}" if "task" in self.metadata else "the demonstrations"


def _subsampled(trajectory: Trajectory, every: int, rng: np.random.Generator) -> Trajectory:
    """Every k-th pair, from an offset drawn with ``rng``; an offset stays inside a trajectory shorter than k."""
    kept = slice(int(rng.integers(min(every, trajectory.length))), trajectory.length, every)
    return Trajectory(trajectory.obs[kept], trajectory.action[kept], trajectory.reward[kept], trajectory.terminated)


def _trajectories(parts: Iterable[Mapping[str, Any]]) -> tuple[Trajectory, ...]:
    """Those of a file; an error names the one at fault."""
    trajectories = []
    for index, part in enumerate(parts):
        try:
            trajectories.append(Trajectory(**part))
        except InputError as error:
            raise InputError(f"trajectory {index}: {error}") from error
    return tuple(trajectories)


def _is_finite(value: object) -> bool:
    """Whether it is a finite number, and one that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**1023


def _describe(obs_shape: tuple[int, ...], action_shape: tuple[int, ...], dtype: npt.DTypeLike) -> str:
    return f"{obs_shape}, {action_shape} and {np.dtype(dtype).name}"


def _bounds(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> str:
    return f"[{low.min()}, {high.max()}]"
