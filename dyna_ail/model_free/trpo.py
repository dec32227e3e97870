"""The trust-region step on real trajectories (Dyna-AIL Eq. 7), as in GAIL."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.buffers import RolloutBuffer

from dyna_ail.config.learner import Config
from dyna_ail.learning.interfaces import Discriminator, ForwardModel
from dyna_ail.learning.rollout import Segment
from dyna_ail.learning.trust_region import Trajectories, rollout_buffer, trust_region_step


class TRPOStep:
    """Dyna-AIL Eq. 7 with the TRPO rule, as in GAIL: the reward of a pair is minus its cost under the fresh D."""

    uses_model = False

    def __init__(self, agent: TRPO, discriminator: Discriminator, forward_model: ForwardModel, config: Config) -> None:
        self.agent, self.discriminator = agent, discriminator

    @torch.no_grad()
    def fill(self, segment: Segment) -> RolloutBuffer:
        """The segment as TRPO's batch, with relabelled rewards; one environment."""
        real = segment.transitions
        found = Trajectories(
            real.obs,
            segment.drawn,
            -self.discriminator.cost(real.obs, real.action),
            real.next_obs,
            real.terminated,
            real.truncated,
            segment.episode_start,
        )
        return rollout_buffer(self.agent, Trajectories(*(x[:, None] for x in vars(found).values())))

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """One TRPO step and the value function's regression.

        Raises:
            NonFiniteError: an advantage before the step, or a weight of the policy after it, is not finite.
        """
        if len(segment.transitions) < 2:  # advantages cannot be normalised: the budget's last crumb
            return {}
        return trust_region_step(self.agent, self.fill(segment))

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the value function and its optimiser are the agent's."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
