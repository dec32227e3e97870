"""What a task's environment says about recorded steps: measurements, which :mod:`dyna_ail.checks` judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dyna_ail.demos import Demonstrations
from dyna_ail.envs.playback import Playback, Steps
from dyna_ail.envs.recording import random_return
from dyna_ail.envs.tasks import get_task
from dyna_ail.guard import time_limit
from dyna_ail.spaces import check_spaces, encode_actions

Array = npt.NDArray[Any]
Rows = Sequence[tuple[int, int]]
"""Recorded steps: the trajectory and the step t in it."""

STARTS = 64
"""Resets of the environment that recorded first observations are compared with."""
RANDOM_STEPS = 2000
"""Random steps from which the environment's own scales are measured."""
ROWS = 40
"""Recorded steps that are played again one by one."""
RANDOM_EPISODES = 20
"""Episodes of random actions whose mean return is compared with the demonstrations', where the task has none."""
SPEEDS = 50
"""Trajectories whose speed is measured."""
FIRST_STEPS = 100
"""Actions played again from a recorded reset seed."""
SAME = 0.01
"""Largest error of a step played again, in typical changes of the observation, at which it counts as reproduced. Steps
of the same simulator come below 0.001, most of those with another action above 0.1."""


@dataclass(frozen=True)
class Played:
    """Recorded steps and what the environment made of them; only those whose state could be restored."""

    rows: Rows
    steps: Steps
    reward: Array
    """[n], as recorded."""
    error: Array
    """[n], between played and recorded next observations, in typical changes of the observation."""

    def only(self, kept: Array) -> Played:
        """Those of the given indices."""
        return Played([self.rows[k] for k in kept], self.steps.only(kept), self.reward[kept], self.error[kept])

    @property
    def share(self) -> float:
        """Share of the steps that are reproduced."""
        return float((self.error < SAME).mean())

    @property
    def loss(self) -> float:
        """Mean error, none counted as more than 1."""
        return float(np.minimum(self.error, 1).mean()) if len(self.error) else 1.0


class Subject:
    """Demonstrations and a task of the same shapes, and what is measured on both: each once, when first asked for."""

    def __init__(self, demonstrations: Demonstrations, task: str) -> None:
        """Make the task's environment.

        Raises:
            InputError: unknown task, an environment that cannot be made, or one with unsupported spaces.
        """
        self.demonstrations, self.task = demonstrations, get_task(task)
        self.trajectories = demonstrations.trajectories
        self.playback = Playback(task)
        self.observation_space, self.action_space = self.playback.env.observation_space, self.playback.env.action_space
        check_spaces(self.observation_space, self.action_space)
        self.box = isinstance(self.action_space, spaces.Box)
        self.whole = demonstrations.thinned == 1
        self.lengths = np.array([trajectory.length for trajectory in self.trajectories])
        self.limit = time_limit(self.playback.env)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """The least and the largest action: [act_dim], or single numbers for Discrete ones."""
        if isinstance(self.action_space, spaces.Discrete):
            return np.array(0), np.array(self.action_space.n - 1)
        assert isinstance(self.action_space, spaces.Box)
        return self.action_space.low, self.action_space.high

    @cached_property
    def obs(self) -> Array:
        """Observations [N, obs_dim] in which an action was taken."""
        return np.concatenate([t.obs[: t.length] for t in self.trajectories]).astype(np.float64)

    @cached_property
    def action(self) -> Array:
        """Actions [N, ...]."""
        return np.concatenate([trajectory.action for trajectory in self.trajectories])

    @cached_property
    def change(self) -> Array:
        """Changes of the observation over a step [N, obs_dim]; of whole trajectories."""
        return np.concatenate([np.diff(t.obs, axis=0) for t in self.trajectories]).astype(np.float64)

    @cached_property
    def starts(self) -> Array:
        """First observations [STARTS, obs_dim] of the environment."""
        return self.playback.resets(STARTS).astype(np.float64)

    @cached_property
    def random(self) -> Steps:
        """Random steps of the environment."""
        return self.playback.random_steps(RANDOM_STEPS)

    @cached_property
    def scale(self) -> Array:
        """[obs_dim], a typical change of each component over a step; of whole trajectories."""
        own = (self.random.next_obs - self.random.obs).std(0)
        return np.maximum(self.change.std(0), np.maximum(0.1 * own, 1e-4 * np.abs(self.obs).max(0) + 1e-6))

    @property
    def complete(self) -> Array:
        """[n] bool: whether the trajectory goes to the end of its episode; of whole ones."""
        at_limit = np.full(len(self.lengths), False) if self.limit is None else self.lengths >= self.limit
        return at_limit | [trajectory.terminated for trajectory in self.trajectories]

    @property
    def pieces(self) -> bool:
        """Whether most trajectories end before their episodes do, and so may begin and hold what they like."""
        return self.whole and self.limit is not None and self.complete.mean() < 0.5

    @cached_property
    def returns(self) -> Array:
        """[n], of the complete episodes; NaN where they are not known."""
        returns = self.demonstrations.returns.copy()
        if not self.rewarded:
            returns[:] = np.nan
        if self.whole:
            returns[~self.complete] = np.nan
        return returns

    @cached_property
    def scores(self) -> Array:
        """[n], of the complete episodes: 0 is the random policy, 1 the expert; NaN where it is not known.

        Where no expert is known, or one that is not above random actions, it is the median demonstration.
        """
        known = np.isfinite(self.returns)
        if not known.any():
            return self.returns
        expert = self._reference("expert_return", self.task.expert)
        if not expert > self.random_return:
            expert = float(np.median(self.returns[known]))
        if not expert > self.random_return:
            return self.returns * np.nan
        return (self.returns - self.random_return) / (expert - self.random_return)

    @cached_property
    def random_return(self) -> float:
        """Mean return of random actions: that of the metadata or of the task, else measured here."""
        known = self._reference("random_return", self.task.random)
        return known if np.isfinite(known) else random_return(self.task.id, RANDOM_EPISODES)[0]

    def _reference(self, name: str, known: float | None) -> float:
        value = self.demonstrations.metadata.get(name, known)
        return float(value) if isinstance(value, int | float) else np.nan

    @property
    def rewarded(self) -> bool:
        """Whether any reward was recorded that is not 0."""
        return self.demonstrations.rewards == "recorded"

    @cached_property
    def telling(self) -> Rows:
        """The steps, most telling first, in which a shift of the actions would show: the action is not the one before,
        or not the one after."""
        rows: list[tuple[int, int]] = []
        sizes: list[Array] = []
        for index, trajectory in enumerate(self.trajectories):
            action = encode_actions(self.action_space, trajectory.action)
            size = np.abs(np.diff(action, axis=0)).max(1)
            size = np.maximum(size[1:], size[:-1])
            changes = np.flatnonzero(size)
            rows += [(index, int(t) + 1) for t in changes]
            sizes.append(size[changes])
        return [rows[k] for k in np.argsort(-np.concatenate(sizes), kind="stable").tolist()]

    @cached_property
    def played(self) -> Played | None:
        """Some steps of all; None where the environment's state cannot be restored, or the trajectories are thinned."""
        if not self.whole or not self.playback.restores():
            return None
        return self._playable([(i, t) for i, length in enumerate(self.lengths) for t in range(length)])

    @cached_property
    def played_telling(self) -> Played | None:
        """Some of the most telling steps; None where there are none, or where ``played`` is None."""
        return self.played and self._playable(self.telling[: max(4 * ROWS, len(self.telling) // 10)])

    def _playable(self, rows: Rows) -> Played | None:
        """Up to ROWS of them, of those whose state can be restored; None for less than three."""
        if not rows:
            return None
        tried = self.play(_some(rows, 4 * ROWS))
        kept = np.linspace(0, len(tried.rows) - 1, min(ROWS, len(tried.rows))).astype(int)
        return tried.only(kept) if len(kept) >= 3 else None

    @cached_property
    def verified(self) -> bool:
        """Whether the environment reproduces the recorded steps, and so vouches for observations and actions.

        Of the telling ones, few if rows are missing, but half if actions are shifted.
        """
        if self.played is None or self.played.share < 0.9:
            return False
        return self.played_telling is None or self.played_telling.share >= 0.75

    def play(self, rows: Rows, shift: int = 0, change: Callable[[Array], Array] = np.asarray) -> Played:
        """One step from each of ``rows``, to be asked for where ``playback.restores()``.

        Args:
            rows: the steps.
            shift: play the action of step t + shift.
            change: makes the actions to play [n, ...] of those recorded.
        """
        obs, next_obs = (np.array([self.trajectories[i].obs[t + k] for i, t in rows]) for k in (0, 1))
        action = np.array([self.trajectories[i].action[t + shift] for i, t in rows])
        reward = np.array([self.trajectories[i].reward[t] for i, t in rows])
        steps = self.playback.steps_from(obs, change(action))
        error = np.sqrt((((steps.next_obs - next_obs) / self.scale) ** 2).mean(1))
        kept = np.flatnonzero(np.isfinite(error))
        return Played(rows, steps, reward, error).only(kept)

    def speeds(self) -> Array:
        """[n], mean forward speed over steps of each of the first trajectories; NaN where the task reports none, or
        playback does not vouch for the states."""
        if not (self.verified or (not self.whole and self.playback.restores())):
            return np.full(len(self.lengths), np.nan)
        speeds = []
        for trajectory in self.trajectories[:SPEEDS]:
            kept = np.linspace(0, trajectory.length - 1, 20).astype(int)
            speed = self.playback.steps_from(trajectory.obs[kept], trajectory.action[kept]).speed
            speeds.append(np.nanmean(speed) if np.isfinite(speed).any() else np.nan)
        return np.array(speeds)

    def diverges(self, index: int, shift: int = 0) -> int:
        """Where the actions of a trajectory, played from its recorded reset seed, first lead elsewhere.

        Args:
            index: the trajectory; the metadata has a seed for each.
            shift: play the action of step t + shift; not negative.

        Returns:
            The first observation that differs by more than a tenth of a typical change: 0 is the one of the reset.
            FIRST_STEPS + 1, or the trajectory's length + 1 if that is less, if none does.
        """
        trajectory = self.trajectories[index]
        action = trajectory.action[shift : shift + FIRST_STEPS]
        steps = self.playback.episode(self.demonstrations.metadata["reset_seeds"][index], action)
        played = np.concatenate([steps.obs[:1], steps.next_obs])
        error = np.sqrt((((played - trajectory.obs[: len(played)]) / self.scale) ** 2).mean(1))
        return int(np.argmax(error > 0.1)) if (error > 0.1).any() else min(len(error), trajectory.length + 1)

    def shift_losses(self) -> Array:
        """[3, n], how badly the actions of step t - 1, t and t + 1 explain the changes over steps t.

        The changes are predicted by a linear model of the environment, fitted to its random steps and not to the
        recording: there the action after a step, being the demonstrator's answer to what the step led to, would explain
        it best. Robust losses; components that actions do not move within one step do not count.
        """
        rows = self.telling[:RANDOM_STEPS]
        obs, next_obs = (np.array([self.trajectories[i].obs[t + k] for i, t in rows], dtype=float) for k in (0, 1))
        model = _LinearModel(self.random, self.action_space)
        losses = []
        for shift in (-1, 0, 1):
            action = np.array([self.trajectories[i].action[t + shift] for i, t in rows])
            losses.append(model.errors(obs, action, next_obs) ** 2)
        typical = np.median(losses, axis=1).min(0) + 1e-3
        return np.stack([np.minimum(loss / (20 * typical), 1) @ model.weights for loss in losses])


class _LinearModel:
    """Changes of the observation as linear in observation and action."""

    def __init__(self, steps: Steps, action_space: spaces.Space[Any]) -> None:
        self.action_space = action_space
        encoded = encode_actions(action_space, steps.action)
        self.action_mean, self.action_std = encoded.mean(0), encoded.std(0)
        self.mean, self.std = steps.obs.mean(0), steps.obs.std(0) + 1e-6
        self.unit = (steps.next_obs - steps.obs).std(0) + 1e-9
        change = (steps.next_obs - steps.obs) / self.unit
        features = self._features(steps.obs, steps.action)
        without = features[:, : 1 + len(self.mean)]
        self.matrix = _ridge(features, change)
        left = ((change - features @ self.matrix) ** 2).mean(0)
        left_without = ((change - without @ _ridge(without, change)) ** 2).mean(0)
        self.weights = np.maximum(1 - left / (left_without + 1e-12), 0) / (left + 0.01)

    def errors(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """[N, obs_dim], in the environment's own typical changes, without each component's constant part."""
        error = (next_obs - obs) / self.unit - self._features(obs, action) @ self.matrix
        return error - np.median(error, axis=0)

    def _features(self, obs: Array, action: Array) -> Array:
        scaled = np.clip((obs - self.mean) / self.std, -4, 4)
        encoded = (encode_actions(self.action_space, action) - self.action_mean) / self.action_std
        return np.column_stack([np.ones(len(obs)), scaled, encoded])


def _ridge(features: Array, target: Array) -> Array:
    penalty = 1e-3 * len(features) * np.eye(features.shape[1])
    return np.linalg.solve(features.T @ features + penalty, features.T @ target)


def _some(rows: Rows, count: int) -> Rows:
    """``count`` of them, spread evenly over all."""
    return [rows[k] for k in np.linspace(0, len(rows) - 1, count).astype(int).tolist()] if len(rows) > count else rows
