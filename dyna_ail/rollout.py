"""Real trajectories (Algorithm 1 line 3). The only code that steps a training environment, and it counts every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from dyna_ail.networks import require_finite
from dyna_ail.policy import ImitationPolicy
from dyna_ail.replay import Transitions
from dyna_ail.spaces import decode_action


@dataclass(frozen=True)
class Segment:
    """Consecutive real transitions ``[N]`` of the current policy, episodes end to end.

    ``drawn [N, action_dim]``: the actions as sampled, before clipping: the ones that the likelihood is about.
    ``first [N]`` bool: the transition opens an episode.
    """

    transitions: Transitions
    drawn: Tensor
    first: Tensor


class RealRollout:
    """Runs the policy in the training environment, taking up the episode where the last segment left it.

    The environment's reward is dropped here: it reaches no learner.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], policy: ImitationPolicy, seed: int, generator: torch.Generator):
        self.env, self.policy, self.seed, self.generator = env, policy, seed, generator
        self.interactions = 0
        self._obs: Tensor | None = None
        self._first = True

    def collect(self, steps: int) -> Segment:
        """The next ``steps`` real interactions.

        Raises:
            NonFiniteError: the environment's observation or the policy's action is not finite.
        """
        policy, env = self.policy, self.env
        if self._obs is None:
            self._obs = self._as_tensor(env.reset(seed=self.seed)[0])
        rows: list[tuple[Any, ...]] = []
        for noise in policy.noise((steps, 1), self.generator):
            with torch.no_grad():
                drawn = policy.reparameterise(self._obs[None], noise)[0]
            require_finite("the policy's action", drawn)
            action = decode_action(env.action_space, drawn.numpy())
            received = drawn if policy.discrete else torch.as_tensor(action, dtype=torch.float32)
            raw, _, terminated, truncated, _ = env.step(action)
            self.interactions += 1
            next_obs = self._as_tensor(raw)
            rows.append((self._obs, received, next_obs, drawn, bool(terminated), bool(truncated), self._first))
            self._first = bool(terminated or truncated)
            self._obs = self._as_tensor(env.reset()[0]) if self._first else next_obs
        obs, action, next_obs, drawn = (torch.stack([row[i] for row in rows]) for i in range(4))
        terminated, truncated, first = torch.tensor([row[4:] for row in rows]).T
        return Segment(Transitions(obs, action, next_obs, terminated, truncated & ~terminated), drawn, first)

    def _as_tensor(self, obs: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(obs, dtype=np.float32).copy())
        require_finite(f"the environment's observation at interaction {self.interactions}", tensor)
        return tensor
