"""MGAIL's update on real trajectories (its Algorithm 1, lines 9-15): the model only provides the gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.utils import update_learning_rate
from torch import Tensor

from dyna_ail.config.learner import Config
from dyna_ail.learning.interfaces import Discriminator, ForwardModel
from dyna_ail.learning.networks import adam_step, linear_schedule
from dyna_ail.learning.policy import ImitationPolicy
from dyna_ail.learning.replay import Transitions
from dyna_ail.learning.rollout import Segment
from dyna_ail.learning.state import load_optimizer
from dyna_ail.learning.unroll import Unroll, cost_to_go, unroll


@dataclass(frozen=True)
class Windows:
    """B stretches of a segment, T steps each.

    ``obs, next_obs [T, B, obs_dim]``, ``action [T, B, action_dim]`` as the environment received it, the ``noise`` that
    drew it ``[T, B, action_dim]``, and ``goes_on [T, B]``: 1 where the next step of the stretch follows in the same
    episode, 0 where the episode or the segment ends. Rows after a 0 have no meaning.
    """

    obs: Tensor
    action: Tensor
    noise: Tensor
    next_obs: Tensor
    goes_on: Tensor


def windows(real: Transitions, noise: Tensor, start: Tensor, length: int) -> Windows:
    """The stretches of ``length`` of consecutive transitions ``real [N]`` that begin at the indices ``start [B]``.

    ``noise [N, action_dim]`` is that of the actions.
    """
    index = start + torch.arange(length)[:, None]
    inside = index.clamp_max(len(real) - 1)
    goes_on = (index < len(real) - 1) & ~(real.terminated | real.truncated)[inside]
    return Windows(real.obs[inside], real.action[inside], noise[inside], real.next_obs[inside], goes_on.float())


class MGAILStep:
    """The end-to-end gradient along trajectories that really happened (MGAIL Eqs. 12-13).

    The noise ``xi`` of every action is inferred under the policy that drew it, and the forward model's error
    ``nu = s' - f(s, a)`` is held constant. So the unroll starts out equal to the real trajectory and changes with the
    policy. No environment is stepped.
    """

    uses_model = True

    def __init__(self, agent: TRPO, discriminator: Discriminator, forward_model: ForwardModel, config: Config) -> None:
        policy: ImitationPolicy = agent.policy  # type: ignore[assignment]
        self.policy, self.discriminator, self.forward_model = policy, discriminator, forward_model
        self.config, self.discount = config.model_free, config.discount
        self.saturation_penalty, self.max_grad_norm = config.mgail.saturation_penalty, config.mgail.max_grad_norm
        self.optimizer = torch.optim.Adam(policy.actor_parameters(), lr=self.config.learning_rate, fused=True)

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """``config.updates`` steps on stretches of the segment; returns the metrics of the last one.

        Raises:
            NonFiniteError: as :meth:`step`.
        """
        c, real = self.config, segment.transitions
        update_learning_rate(self.optimizer, linear_schedule(c.learning_rate, c.final_learning_rate, progress))
        noise = self.policy.infer_noise(real.obs, segment.drawn, generator)
        metrics: dict[str, float] = {}
        for _ in range(c.updates):
            start = torch.randint(len(real), (c.batch_size,), generator=generator)
            metrics = self.step(windows(real, noise, start, c.horizon))
        return metrics

    def step(self, found: Windows) -> dict[str, float]:
        """One gradient step of the policy on the cost of the stretches.

        Raises:
            NonFiniteError: the cost or its gradient is not finite.
        """
        followed = self.follow(found)
        cost = cost_to_go(followed, self.discount)[0].mean()
        loss = cost + self.saturation_penalty * self.policy.head(found.obs[0]).square().mean()
        norm = adam_step("recorded MGAIL", self.optimizer, loss, self.policy.actor_parameters(), self.max_grad_norm)
        return {"cost": cost.item(), "grad_norm": norm}

    def follow(self, found: Windows) -> Unroll:
        """The unroll along real stretches: equal to them as long as the policy is the one that drew the actions."""
        hidden = self.forward_model.initial_hidden(found.obs.shape[1])
        again = unroll(
            found.obs[0],
            hidden,
            found.noise,
            self.policy.sample,
            self.discriminator.cost,
            self.forward_model,
            self._residual(found, hidden),
        )
        return replace(again, continues=found.goes_on)

    @torch.no_grad()
    def _residual(self, found: Windows, hidden: Tensor) -> Tensor:
        """The model's error ``nu`` at the recorded next states, ``[T, B, obs_dim]``."""
        missed = []
        for obs, action, next_obs in zip(found.obs, found.action, found.next_obs, strict=True):
            expected, _, hidden = self.forward_model(obs, action, hidden)
            missed.append(next_obs - expected)
        return torch.stack(missed)

    def state_dict(self) -> dict[str, Any]:
        """The policy's optimiser."""
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``.

        Raises:
            InputError: the state is not one of such an optimiser.
        """
        load_optimizer(self.optimizer, state["optimizer"])
