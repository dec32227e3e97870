"""The model-free phase (Algorithm 1 line 6): one trust-region step on real trajectories, by sb3-contrib's TRPO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.buffers import RolloutBuffer

from dyna_ail.discriminator import Discriminator
from dyna_ail.networks import Stateful, require_finite
from dyna_ail.rollout import Segment


class ModelFree(Protocol):
    """What the loop asks of a model-free phase. Built as ``ModelFree(agent, discriminator)``."""

    def update(self, segment: Segment) -> dict[str, float]:
        """Improve the policy from the real trajectories it has just made; returns named metrics."""
        ...

    def parts(self) -> dict[str, Stateful]:
        """What it has learned and goes on from, besides the agent: its own networks and optimisers, by name."""
        ...


class NoModelFree:
    """Leaves the policy as it is."""

    def __init__(self, *parts: object) -> None: ...

    def update(self, segment: Segment) -> dict[str, float]:
        """Do nothing."""
        return {}

    def parts(self) -> dict[str, Stateful]:
        """Nothing."""
        return {}


class TrustRegionStep:
    """Dyna-AIL Eq. 7 with the TRPO rule, as in GAIL: the reward of a pair is minus its cost under the fresh D."""

    def __init__(self, agent: TRPO, discriminator: Discriminator) -> None:
        self.agent, self.discriminator = agent, discriminator

    def parts(self) -> dict[str, Stateful]:
        """The optimiser of the value function; the weights are the agent's."""
        return {"optimizer": self.agent.policy.optimizer}

    @torch.no_grad()
    def fill(self, segment: Segment) -> RolloutBuffer:
        """The segment as TRPO's batch: relabelled rewards, values, log-likelihoods, advantages.

        An episode cut by the time limit is not over: its last reward takes the discounted value of the state that
        would have followed, as in SB3. One that terminated has nothing to follow.
        """
        agent, real = self.agent, segment.transitions
        drawn = segment.drawn.argmax(-1) if agent.policy.discrete else segment.drawn
        values, log_prob, _ = agent.policy.evaluate_actions(real.obs, drawn)
        next_value = agent.policy.predict_values(real.next_obs).flatten()
        reward = -self.discriminator.cost(real.obs, real.action) + agent.gamma * next_value * real.truncated
        buffer = RolloutBuffer(
            len(real),
            agent.observation_space,
            agent.action_space,
            "cpu",
            gae_lambda=agent.gae_lambda,
            gamma=agent.gamma,
        )
        for i in range(len(real)):
            buffer.add(
                real.obs[i].numpy(),
                drawn[i].numpy(),
                reward[i].numpy(),
                segment.first[i].numpy(),
                values[i],
                log_prob[i : i + 1],
            )
        ended = (real.terminated[-1] | real.truncated[-1]).numpy()
        buffer.compute_returns_and_advantage(next_value[-1:], np.atleast_1d(ended))
        return buffer

    def update(self, segment: Segment) -> dict[str, float]:
        """One TRPO step and the value function's regression.

        Raises:
            NonFiniteError: an advantage before the step, or a weight of the policy after it, is not finite.
        """
        if len(segment.transitions) < 2:  # advantages cannot be normalised: the budget's last crumb
            return {}
        self.agent.rollout_buffer = self.fill(segment)
        require_finite("TRPO's advantage", torch.as_tensor(self.agent.rollout_buffer.advantages))
        self.agent.train()
        for name, weights in self.agent.policy.named_parameters():
            require_finite(f"the policy's {name} after the TRPO step", weights)
        logged = self.agent.logger.name_to_value
        return {
            "kl": float(logged["train/kl_divergence_loss"]),
            "value_loss": float(logged["train/value_loss"]),
            "explained_variance": float(logged["train/explained_variance"]),
            "step_accepted": float(logged["train/is_line_search_success"]),
        }


MODEL_FREE: dict[str, Callable[..., ModelFree]] = {"trpo": TrustRegionStep, "none": NoModelFree}
