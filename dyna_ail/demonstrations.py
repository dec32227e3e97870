"""Expert data: trajectories on disk (npz, no pickle), their validation, and the pairs that a run imitates.

A file holds the trajectories end to end: obs [sum(T_i + 1), obs_dim], action [sum(T_i), ...], reward [sum(T_i)],
lengths [n] (the T_i), terminated [n], thinned (k if every k-th pair is held, and then obs is [sum(T_i), obs_dim]), and
metadata, a JSON text with the provenance.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dyna_ail.errors import InputError, brief, one_line
from dyna_ail.files import check_archive, replacing
from dyna_ail.spaces import action_dim, check_spaces, encode_actions

if TYPE_CHECKING:
    from gymnasium import Space

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ARRAYS = ("obs", "action", "reward", "lengths", "terminated", "metadata")
"""The arrays of a file; it may also hold ``thinned``."""


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
        _convert(self, "obs", "float32", ndim=2)
        _convert(self, "action", dtype, ndim)
        _convert(self, "reward", "float32", ndim=1)
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
class ExpertPairs:
    """The state-action pairs that D tells from the policy's.

    Raises:
        InputError: wrong shapes or types, NaN or infinite values, or no pair at all.
    """

    obs: FloatArray
    """[N, obs_dim]."""
    action: FloatArray
    """[N, action_dim], encoded: Box actions as they are, Discrete ones one-hot."""

    def __post_init__(self) -> None:
        _convert(self, "obs", "float32", ndim=2)
        _convert(self, "action", "float32", ndim=2)
        if len(self.obs) != len(self.action) or len(self.obs) < 1:
            raise InputError(
                f"expert pairs need as many observations as actions, at least one; "
                f"got {len(self.obs)} and {len(self.action)}."
            )

    def check(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Refuse pairs that cannot come from a task with these spaces.

        Raises:
            InputError: unsupported spaces, other widths, Discrete actions that are not one-hot, or Box actions outside
                the bounds.
        """
        check_spaces(observation_space, action_space)
        from gymnasium import spaces

        widths, wanted = (self.obs.shape[1], self.action.shape[1]), (observation_space.shape, action_dim(action_space))
        if ((widths[0],), widths[1]) != wanted:
            raise InputError(
                f"the expert pairs have observations and actions of widths {widths}, the task has {wanted}."
            )
        if isinstance(action_space, spaces.Discrete):
            if not (np.isin(self.action, (0, 1)).all() and (self.action.sum(1) == 1).all()):
                raise InputError("the expert pairs of a task with Discrete actions must have one-hot actions.")
        elif (self.action != encode_actions(action_space, self.action)).any():
            raise InputError("the expert pairs have actions outside the task's bounds: clip or rescale them.")


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
        name = str(path)
        try:
            arrays = _read(Path(path))
        except FileNotFoundError as error:
            raise InputError(f"no demonstrations at {name!r}: record some with `dyna-ail demos record`.") from error
        except Exception as error:  # zipfile, zlib, lzma and NumPy fail on damage in many ways
            raise InputError(
                f"cannot read demonstrations {name!r}: expected a whole .npz file without pickled objects; "
                + one_line(error)
            ) from error
        try:
            thinned = _parse_thinned(arrays["thinned"])
            return cls(_split(arrays, thinned), _parse_metadata(arrays["metadata"]), thinned)
        except InputError as error:
            raise InputError(f"demonstrations {name!r} cannot be used: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a compressed npz file, whole or not at all; an existing one is replaced.

        Raises:
            InputError: the place cannot be written.
        """
        arrays: dict[str, Any] = {
            "obs": np.concatenate([t.obs for t in self.trajectories]),
            "action": np.concatenate([t.action for t in self.trajectories]),
            "reward": np.concatenate([t.reward for t in self.trajectories]),
            "lengths": np.asarray([t.length for t in self.trajectories], dtype=np.int64),
            "terminated": np.asarray([t.terminated for t in self.trajectories], dtype=np.bool_),
            "thinned": np.asarray(self.thinned),
            "metadata": np.asarray(json.dumps(self.metadata)),
        }
        with _writing(Path(path)) as target, replacing(target) as file:
            np.savez_compressed(file, **arrays)

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
            kept = _every(trajectory, every // self.thinned, rng)
            obs.append(kept.obs)
            action.append(encode_actions(action_space, kept.action))
        return ExpertPairs(np.concatenate(obs), np.concatenate(action))

    def thin(self, every: int, rng: np.random.Generator) -> Demonstrations:
        """Every k-th pair of each trajectory, from an offset drawn with ``rng``; 1 keeps the trajectories whole.

        The episodes' returns stay known, as ``metadata["returns"]``.

        Raises:
            InputError: ``every`` is below 1, or these are thinned already.
        """
        if every < 1 or self.thinned > 1:
            raise InputError(f"cannot thin demonstrations by {every} that are thinned by {self.thinned}.")
        if every == 1:
            return self
        trajectories = tuple(_every(trajectory, every, rng) for trajectory in self.trajectories)
        return Demonstrations(trajectories, {**self.metadata, "returns": self.returns.tolist()}, every)

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


def _every(trajectory: Trajectory, every: int, rng: np.random.Generator) -> Trajectory:
    """Every k-th pair, from an offset drawn with ``rng``; an offset stays inside a trajectory shorter than k."""
    kept = slice(int(rng.integers(min(every, trajectory.length))), trajectory.length, every)
    return Trajectory(trajectory.obs[kept], trajectory.action[kept], trajectory.reward[kept], trajectory.terminated)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the file, each with its expected name."""
    with path.open("rb") as file:
        check_archive(path)
        npz = np.load(file, allow_pickle=False)
        if not isinstance(npz, np.lib.npyio.NpzFile):
            raise ValueError("this is a single array.")
        missing = [name for name in ARRAYS if name not in npz]
        if missing:
            raise ValueError(f"missing from it: {', '.join(missing)}.")
        whole = {"thinned": np.asarray(1)}  # files written before trajectories could be thinned
        return whole | {name: npz[name] for name in (*ARRAYS, *(set(whole) & set(npz)))}


def _parse_thinned(array: npt.NDArray[Any]) -> int:
    if array.ndim != 0 or array.dtype.kind != "i":
        raise InputError(f"thinned must be one integer; got {array.dtype} of shape {array.shape}.")
    return int(array)


def _split(arrays: dict[str, npt.NDArray[Any]], thinned: int) -> tuple[Trajectory, ...]:
    """Cut the concatenated arrays at the trajectories' ends."""
    obs, action, reward = arrays["obs"], arrays["action"], arrays["reward"]
    lengths = _converted("lengths", arrays["lengths"], "int64", ndim=1)
    terminated = _converted("terminated", arrays["terminated"], "bool", ndim=1)
    for name, array in (("obs", obs), ("action", action), ("reward", reward)):
        if array.ndim < 1:
            raise InputError(f"{name} must hold one row per step; got a single value.")
    steps, count, extra = int(lengths.sum()), len(lengths), int(thinned == 1)
    if count < 1 or lengths.min() < 1 or len(terminated) != count:
        raise InputError(
            f"lengths and terminated must hold one entry per trajectory, each length at least 1; "
            f"got lengths {lengths.tolist()[:10]} and {len(terminated)} entries of terminated."
        )
    if (len(obs), len(action), len(reward)) != (steps + count * extra, steps, steps):
        raise InputError(
            f"{count} trajectories of {steps} steps together need {steps + count * extra} observations, "
            f"{steps} actions and {steps} rewards; got {len(obs)}, {len(action)} and {len(reward)}."
        )
    trajectories, start = [], 0
    for index, length in enumerate(lengths.tolist()):
        end = start + length
        try:
            trajectory = Trajectory(
                obs=obs[start + index * extra : end + (index + 1) * extra],
                action=action[start:end],
                reward=reward[start:end],
                terminated=bool(terminated[index]),
            )
        except InputError as error:
            raise InputError(f"trajectory {index}: {error}") from error
        trajectories.append(trajectory)
        start = end
    return tuple(trajectories)


def _parse_metadata(array: npt.NDArray[Any]) -> dict[str, Any]:
    try:
        metadata = json.loads(str(array))
    except (ValueError, RecursionError) as error:
        raise InputError(f"metadata must be a JSON text; {error}.") from error
    if array.ndim != 0 or array.dtype.kind != "U" or not isinstance(metadata, dict):
        raise InputError("metadata must be one JSON text that holds an object.")
    return metadata


def in_precision(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """The same numbers as ``dtype``; one too large for it becomes an infinity, which a :class:`Trajectory` refuses."""
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


_CONVERTED_FROM = {"float32": "iuf", "int64": "iu", "bool": "b"}
"""The kinds of NumPy types that a type is made of."""


def _convert(part: Trajectory | ExpertPairs, name: str, dtype: str, ndim: int) -> None:
    object.__setattr__(part, name, _converted(name, getattr(part, name), dtype, ndim))


def _converted(name: str, array: npt.NDArray[Any], dtype: str, ndim: int) -> npt.NDArray[Any]:
    """The array in the precision ``dtype``; refuse another kind or number of axes, or a value that is not finite."""
    if array.dtype.kind not in _CONVERTED_FROM[dtype] or array.ndim != ndim:
        raise InputError(f"{name} must be {dtype} with {ndim} axes; got {array.dtype.name} of shape {array.shape}.")
    array = in_precision(array, dtype)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise InputError(f"{name} must be finite; got NaN or infinity at row {row}.")
    return array


def _is_finite(value: object) -> bool:
    """Whether it is a finite number, and one that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**1023


def _describe(obs_shape: tuple[int, ...], action_shape: tuple[int, ...], dtype: npt.DTypeLike) -> str:
    return f"{obs_shape}, {action_shape} and {np.dtype(dtype).name}"


def _bounds(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> str:
    return f"[{low.min()}, {high.max()}]"


def check_place(path: Path) -> None:
    """Refuse a place that cannot be written, before the work that is to be kept there.

    Raises:
        InputError: as :meth:`Demonstrations.save`.
    """
    with _writing(path) as target:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=target.parent):
            pass


@contextmanager
def _writing(target: Path) -> Iterator[Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
    except OSError as error:
        raise InputError(f"cannot write demonstrations to {str(target)!r}: {error.strerror}.") from error
