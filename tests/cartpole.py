"""A hand-written CartPole expert, and the settings of a training of a second; several test modules share them."""

from __future__ import annotations

import gymnasium
import numpy as np

from dyna_ail.demos import Demonstrations, Trajectory

TINY = {
    "task": "CartPole-v1",
    "trajectories": 1,
    "interactions": 600,
    "steps_per_iteration": 300,
    "policy.hidden": (8,),
    "discriminator.hidden": (8,),
    "discriminator.updates": 2,
    "forward_model.hidden": (8,),
    "forward_model.min_updates": 2,
    "forward_model.max_updates": 2,
    "planner.updates": 2,
    "planner.batch_size": 8,
    "planner.horizon": 3,
    "planner.critic.hidden": (8,),
    "cloning.updates": 2,
    "evaluation.every": 300,
    "evaluation.episodes": 2,
}
"""Dotted configuration values."""


def tiny_options(**values: object) -> list[str]:
    """``TINY``, with some ``values`` replaced, as options of the command line."""
    options: list[str] = []
    for key, value in {**TINY, **values}.items():
        options += [f"--{key}", *map(str, value if isinstance(value, tuple) else (value,))]
    return options


def record(episodes: int = 2, steps: int = 60) -> Demonstrations:
    """Episodes of a controller that balances the pole, cut after ``steps``."""
    env = gymnasium.make("CartPole-v1")
    trajectories = []
    for seed in range(episodes):
        obs, actions = [env.reset(seed=seed)[0]], []
        for _ in range(steps):
            actions.append(int(obs[-1][2] + 0.3 * obs[-1][3] > 0))
            obs.append(env.step(actions[-1])[0])
        reward = np.ones(steps, np.float32)
        trajectories.append(Trajectory(np.array(obs, np.float32), np.array(actions, np.int64), reward, False))
    return Demonstrations(tuple(trajectories), {"task": "CartPole-v1", "random_return": 20.0, "expert_return": 500.0})


class Leaning:
    """A policy that pushes the cart to where the pole leans."""

    def predict(self, obs: np.ndarray, state: object = None, episode_start: object = None, deterministic: bool = False):
        assert deterministic
        return (obs[:, 2] > 0).astype(np.int64), state
