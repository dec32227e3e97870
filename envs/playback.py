"""Plays recorded actions again in the task's environment, from a seeded reset or from the recorded observations.

A recording that belongs to the task is reproduced. The environment is a separate one, and nothing learns from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dyna_ail.envs.tasks import make_env
from dyna_ail.guard import Guard

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Steps:
    """Single steps of an environment, one in each row. They need not be of one episode.

    A row is NaN where the environment could not be put into that state, or failed there.
    """

    obs: Array
    """[N, obs_dim], before the action."""
    action: Array
    """[N, ...]."""
    next_obs: Array
    """[N, obs_dim], after the action."""
    reward: Array
    """[N]."""
    terminated: Array
    """[N] bool."""
    speed: Array
    """[N], the forward speed that MuJoCo's locomotion tasks report; NaN in others."""

    def only(self, rows: Array) -> Steps:
        """The steps with the given indices."""
        return Steps(*(getattr(self, field.name)[rows] for field in fields(self)))


Restore = Callable[[Any, Array], None]
"""Puts an unwrapped environment into the state that an observation [obs_dim] shows. May raise anything."""


class Playback:
    """An environment of the task, in which recorded steps are played again."""

    def __init__(self, task: str) -> None:
        """Make the environment.

        Args:
            task: Gymnasium id, or module:id.

        Raises:
            InputError: unknown task, or an environment that cannot be made.
        """
        self.env = Guard(make_env(task, disable_env_checker=True))
        self._way: Restore | None = None
        self._tried = False

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def resets(self, count: int) -> Array:
        """First observations [count, obs_dim] of the episodes with seeds 0, 1, ..."""
        return np.stack([self.env.reset(seed=seed)[0] for seed in range(count)])

    def random_steps(self, count: int) -> Steps:
        """``count`` steps with uniformly random actions, in as many episodes as that takes; the same at every call."""
        space = self.env.action_space
        space.seed(0)
        rows: list[_Row] = []
        episode = 0
        while len(rows) < count:
            rows += self._play(episode, (space.sample() for _ in range(count - len(rows))))
            episode += 1
        return _stack(rows)

    def episode(self, seed: int, actions: Array) -> Steps:
        """Reset with ``seed`` and play ``actions [T, ...]``, until the actions or the episode end."""
        return _stack(self._play(seed, actions))

    def restores(self) -> bool:
        """Whether the environment can be put into the state that an observation shows.

        Each of ``WAYS`` is tried on some random steps. The first one that reproduces their next observations is kept.
        """
        if not self._tried:
            self._tried = True
            self._way = next(filter(self._reproduces, WAYS), None)
        return self._way is not None

    def steps_from(self, obs: Array, action: Array) -> Steps:
        """One step with each of ``action [N, ...]`` from the state in each of ``obs [N, obs_dim]``.

        Call it only if :meth:`restores` is true.
        """
        assert self._way is not None
        return _stack([self._step_from(self._way, before, row) for before, row in zip(obs, action, strict=True)])

    def _reproduces(self, way: Restore) -> bool:
        tried = self.random_steps(100)
        obs = tried.obs.astype(np.float32)  # as recordings hold them
        played = _stack([self._step_from(way, before, row) for before, row in zip(obs, tried.action, strict=True)])
        error = np.abs(played.next_obs - tried.next_obs).mean(1)
        return np.isfinite(error).sum() >= 10 and np.nanmedian(error) < 1e-3 * np.abs(tried.next_obs - tried.obs).mean()

    def _play(self, seed: int, actions: Iterable[Any]) -> list[_Row]:
        obs, rows = self.env.reset(seed=seed)[0], []
        for action in actions:
            row, ended = self._step(obs, action)
            rows.append(row)
            if ended:
                break
            obs = row[2]
        return rows

    def _step_from(self, way: Restore, obs: Array, action: Any) -> _Row:
        self.env.reset(seed=0)
        try:
            with _raising_if_unstable():
                way(self.env.unwrapped, obs.astype(np.float64))
                return self._step(obs, action)[0]
        except Exception:  # an impossible state may fail anywhere in an environment
            return obs, action, np.full(obs.shape, np.nan), np.nan, False, np.nan

    def _step(self, obs: Any, action: Any) -> tuple[_Row, bool]:
        """One step, its actions clipped to their bounds; and whether the episode ended."""
        space = self.env.action_space
        if isinstance(space, spaces.Box):
            played = np.clip(action, space.low, space.high).astype(space.dtype)
        else:
            played = int(action)
        next_obs, reward, terminated, truncated, info = self.env.step(played)
        return (obs, action, next_obs, reward, terminated, info.get("x_velocity", np.nan)), terminated or truncated


_Row = tuple[Any, Any, Any, Any, bool, float]


def _stack(rows: list[_Row]) -> Steps:
    return Steps(*(np.asarray(column) for column in zip(*rows, strict=True)))


@contextmanager
def _raising_if_unstable() -> Iterator[None]:
    """Raise an error where MuJoCo would write a warning to stderr and to a file."""
    messages: list[str] = []
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(messages.append)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
    if messages:
        raise FloatingPointError(messages[0])


def _state_is_obs(env: Any, obs: Array) -> None:
    """CartPole, MountainCar and other environments whose ``state`` is the observation."""
    assert len(env.state) == len(obs)
    env.state = obs


def _angles_first(env: Any, obs: Array) -> None:
    """Acrobot, Pendulum: the observation has cos and sin of each angle, then the velocities."""
    count = len(obs) // 3
    assert len(env.state) == 2 * count
    env.state = np.concatenate([np.arctan2(obs[1 : 2 * count : 2], obs[: 2 * count : 2]), obs[2 * count :]])


def _mujoco(hidden: int) -> Restore:
    """MuJoCo: the observation begins with positions, all but the first ``hidden`` (x, perhaps y), and velocities."""

    def restore(env: Any, obs: Array) -> None:
        shown, count = env.model.nq - hidden, env.model.nv
        velocity = obs[shown : shown + count]
        assert (np.abs(velocity) != 10).all()  # Hopper and Walker2d clip them there
        env.set_state(np.concatenate([np.zeros(hidden), obs[:shown]]), velocity)

    return restore


WAYS: tuple[Restore, ...] = (_state_is_obs, _angles_first, _mujoco(0), _mujoco(1), _mujoco(2))
"""The known ways from an observation to the state. Which one fits an environment is found by trial."""
