"""A small environment of one's own: a craft circles a pillar.

Importing this module registers it, so that Dyna-AIL finds it by the name ``orbit:Orbit-v0``.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

ORBIT, MARGIN, SPEED = 0.7, 0.4, 0.8
THRUST, DRAG, STEP = 3.0, 0.5, 0.1


class Orbit(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point mass on a plane, to be flown counter-clockwise around the origin.

    The episode ends early when the craft comes too near the pillar in the middle or goes too far from it.

    Observation: position and velocity, float32 ``[4]``. Action: thrust, float32 ``[2]``, each within -1 and 1.
    Reward: the speed around the pillar, as a share of the wanted one, between 0 and 1. Dyna-AIL only reports it.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start at rest, at any angle, on either side of the orbit."""
        super().reset(seed=seed)
        angle, radius = self.np_random.uniform(-np.pi, np.pi), self.np_random.uniform(0.5, 0.9)
        self.position = radius * np.array([np.cos(angle), np.sin(angle)])
        self.velocity = np.zeros(2)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Accelerate by the thrust for one step."""
        thrust = THRUST * np.clip(action, -1.0, 1.0)
        self.velocity = self.velocity + STEP * (thrust - DRAG * self.velocity)
        self.position = self.position + STEP * self.velocity
        x, y = self.position
        radius = np.hypot(x, y)
        around = self.velocity @ np.array([-y, x]) / radius
        lost = abs(radius - ORBIT) > MARGIN
        return self._observe(), float(np.clip(around / SPEED, 0.0, 1.0)), bool(lost), False, {}

    def _observe(self) -> np.ndarray:
        return np.concatenate([self.position, self.velocity]).astype(np.float32)


# The time limit is Gymnasium's: it cuts an episode that has not failed.
gymnasium.register("Orbit-v0", Orbit, max_episode_steps=100)
