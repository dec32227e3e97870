"""The model-free phase (Algorithm 1 line 6): improves the policy on the real trajectories it has just made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.buffers import RolloutBuffer

from dyna_ail.config import Config
from dyna_ail.discriminator import Discriminator
from dyna_ail.forward_model import ForwardModel
from dyna_ail.networks import Stateful
from dyna_ail.recorded import RecordedMGAIL
from dyna_ail.rollout import Segment
from dyna_ail.trust_region import Trajectories, rollout_buffer, trust_region_step


class ModelFree(Protocol):
    """What the loop asks of a model-free phase. Built as ``ModelFree(agent, discriminator, forward_model, config)``."""

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """Improve the policy from the real trajectories it has just made; returns named metrics.

        ``progress`` is the fraction of the interaction budget spent, in [0, 1].
        """
        ...

    def parts(self) -> dict[str, Stateful]:
        """What it has learned and goes on from, besides the agent's networks: networks and optimisers, by name."""
        ...


class NoModelFree:
    """Leaves the policy as it is."""

    def __init__(self, *parts: object) -> None: ...

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """Do nothing."""
        return {}

    def parts(self) -> dict[str, Stateful]:
        """Nothing."""
        return {}


class TrustRegionStep:
    """Dyna-AIL Eq. 7 with the TRPO rule, as in GAIL: the reward of a pair is minus its cost under the fresh D."""

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
            segment.first,
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

    def parts(self) -> dict[str, Stateful]:
        """The optimiser of the value function."""
        return {"optimizer": self.agent.policy.optimizer}


MODEL_FREE: dict[str, Callable[..., ModelFree]] = {
    "trpo": TrustRegionStep,
    "mgail": RecordedMGAIL,
    "none": NoModelFree,
}
