"""The trust-region planner (Dyna-AIL Fig. 6): TRPO on imagined rollouts, without the forward model's gradient."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import TRPO

from dyna_ail.config.learner import Config
from dyna_ail.learning.interfaces import Discriminator, ForwardModel, Pairs
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import ImitationPolicy
from dyna_ail.learning.replay import ReplayBuffer
from dyna_ail.learning.state import require_like
from dyna_ail.learning.trust_region import Trajectories, rollout_buffer, trust_region_step


class TRPOPlanner:
    """Improves the policy by the TRPO rule on Dyna-AIL Eq. 8, as the model-free phase does on Eq. 7."""

    uses_model = True

    def __init__(
        self,
        agent: TRPO,
        discriminator: Discriminator,
        forward_model: ForwardModel,
        scaling: Scaling,
        config: Config,
    ) -> None:
        policy: ImitationPolicy = agent.policy  # type: ignore[assignment]
        self.agent, self.policy = agent, policy
        self.discriminator, self.forward_model = discriminator, forward_model
        self.config = config.planner
        self.imagined = 0

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """``config.updates`` trust-region steps, each on fresh rollouts; returns the metrics of the last one.

        Raises:
            NonFiniteError: an advantage before a step, or a weight of the policy after it, is not finite.
        """
        metrics: dict[str, float] = {}
        for _ in range(self.config.updates):
            found = self.imagine(replay, generator)
            metrics = trust_region_step(self.agent, rollout_buffer(self.agent, found))
            metrics["cost_per_step"] = -found.reward.mean().item()
            metrics["alive"] = 1 - found.terminated.any(0).float().mean().item()
        return metrics

    @torch.no_grad()
    def imagine(self, replay: ReplayBuffer, generator: torch.Generator) -> Trajectories:
        """``config.batch_size`` rollouts of ``config.horizon`` steps from states of ``replay``.

        Where an episode ends, drawn with the model's probability, another begins from another state of ``replay``.
        """
        c, policy = self.config, self.policy
        obs = replay.sample(c.batch_size, generator).obs
        hidden, episode_start = (
            self.forward_model.initial_hidden(c.batch_size),
            torch.ones(c.batch_size, dtype=torch.bool),
        )
        rows = []
        for t in range(c.horizon):
            drawn = policy.reparameterise(obs, policy.noise((c.batch_size,), generator))
            action = policy.received(drawn)
            next_obs, goes_on, hidden = self.forward_model(obs, action, hidden)
            over = torch.rand(c.batch_size, generator=generator) > goes_on
            cut = ~over if t == c.horizon - 1 else torch.zeros_like(over)
            rows.append((obs, drawn, -self.discriminator.cost(obs, action), next_obs, over, cut, episode_start))
            fresh, empty = replay.sample(c.batch_size, generator).obs, torch.zeros_like(hidden)
            obs, hidden = torch.where(over[:, None], fresh, next_obs), torch.where(over[:, None], empty, hidden)
            episode_start = over
        self.imagined += c.horizon * c.batch_size
        return Trajectories(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """The number of imagined steps; the value function and its optimiser are the agent's."""
        return {"imagined": self.imagined}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``.

        Raises:
            InputError: the state is not one of such a planner.
        """
        require_like("planner", state, {"imagined": 0})
        self.imagined = state["imagined"]
