"""The end-to-end planner (Algorithm 1 lines 8-9, Dyna-AIL Eq. 8): descend J through D, f and the policy at once."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import TRPO
from stable_baselines3.common.utils import update_learning_rate
from torch import Tensor

from dyna_ail.config.learner import Config
from dyna_ail.learning.cloning import cloning_loss
from dyna_ail.learning.interfaces import Discriminator, ForwardModel, Pairs
from dyna_ail.learning.networks import Scaling, adam_step, linear_schedule, require_finite
from dyna_ail.learning.policy import ImitationPolicy
from dyna_ail.learning.replay import ReplayBuffer, Transitions
from dyna_ail.learning.state import load_optimizer, require_like
from dyna_ail.learning.unroll import cost_to_go, unroll
from dyna_ail.planners.critic import TwinCritic


class MGAILPlanner:
    """Improves the policy by the gradient of the imagined cost (MGAIL Eqs. 12-13) from states of the buffer."""

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
        self.policy, self.discriminator, self.forward_model = policy, discriminator, forward_model
        self.config, self.mgail, self.discount = config.planner, config.mgail, config.discount
        self.critic = TwinCritic(scaling, config.planner.critic) if config.planner.tail else None
        self.optimizer = torch.optim.Adam(policy.actor_parameters(), lr=config.planner.learning_rate, fused=True)
        self.imagined = 0

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """``config.updates`` steps of :meth:`step`, each with its own of :meth:`criticise`; returns the last metrics.

        The learning rate goes linearly to ``config.final_learning_rate`` with ``progress``, the fraction of the
        interaction budget spent.

        Raises:
            NonFiniteError: as :meth:`step`.
        """
        c = self.config
        update_learning_rate(self.optimizer, linear_schedule(c.learning_rate, c.final_learning_rate, progress))
        metrics: dict[str, float] = {}
        for _ in range(c.updates):
            metrics = self.step(replay.sample(c.batch_size, generator).obs, expert, generator)
            for _ in range(c.critic.real_updates if self.critic else 0):
                metrics |= self.criticise(replay.sample(c.batch_size, generator), generator)
        return metrics

    def step(self, start: Tensor, expert: Pairs, generator: torch.Generator) -> dict[str, float]:
        """One gradient step of the policy on the cost imagined from ``start [B, obs_dim]``, and one of the critics.

        Departures from the papers: the terminal value, which adds a critic's
        ``gamma^T_p Q(s_T, a_T)`` to J; the cloning loss on
        the pairs ``expert``, times the mean size of J (as in TD3+BC, Fujimoto 2021); and the penalty on the policy's
        output before its squashing, on the start states.

        Raises:
            NonFiniteError: a cost, an estimate of the critics, a loss or a gradient is not finite.
        """
        c, policy = self.config, self.policy
        noise = policy.noise((c.horizon + 1, len(start)), generator)
        hidden = self.forward_model.initial_hidden(len(start))
        imagined = unroll(start, hidden, noise[:-1], policy.sample, self.discriminator.cost, self.forward_model)
        self.imagined += c.horizon * len(start)

        terminal_value = None
        if self.critic:
            end = imagined.obs[-1]
            last = policy.sample(end, noise[-1])
            terminal_value = self.critic(end, last)
            require_finite("the critic's estimate", terminal_value)
        to_go = cost_to_go(imagined, self.discount, terminal_value)[0]
        cost = to_go.mean()
        require_finite("the imagined cost", cost)
        loss = cost + self.mgail.saturation_penalty * policy.head(start).square().mean()
        if c.cloning:
            drawn = torch.randint(len(expert[0]), (len(start),), generator=generator)
            size = to_go.detach().abs().mean()
            loss = loss + c.cloning * size * cloning_loss(policy, *(pairs[drawn] for pairs in expert))
        metrics = {
            "cost": cost.item(),
            "cost_per_step": imagined.cost.mean().item(),
            "alive": imagined.continues.prod(0).mean().item(),
            "grad_norm": adam_step(
                "planner", self.optimizer, loss, policy.actor_parameters(), self.mgail.max_grad_norm
            ),
        }
        if self.critic:
            with torch.no_grad():
                target = cost_to_go(imagined, self.discount, self.critic.slow(end, last))
            # One step of each rollout: its neighbours would tell the critics little more, at T_p times the cost.
            pick = torch.randint(c.horizon, (len(start),), generator=generator), torch.arange(len(start))
            metrics |= self.critic.update(imagined.obs[pick].detach(), imagined.action[pick].detach(), target[pick])
        return metrics

    def criticise(self, real: Transitions, generator: torch.Generator) -> dict[str, float]:
        """One step of the critics on real transitions: ``Q(s, a) = c(s, a) + gamma Q(s', a')``, no more where it ended.

        Not in the papers, as the terminal value itself: what ``f`` does not foresee, the critics learn here. ``real``
        holds B transitions, with ``obs`` and ``next_obs [B, obs_dim]`` and ``action [B, action_dim]``.

        Raises:
            NonFiniteError: the critics' loss or its gradient is not finite.
        """
        assert self.critic
        with torch.no_grad():
            follows = self.policy.sample(real.next_obs, self.policy.noise((len(real),), generator))
            next_value = self.critic.slow(real.next_obs, follows) * ~real.terminated
            target = self.discriminator.cost(real.obs, real.action) + self.discount * next_value
        return self.critic.update(real.obs, real.action, target)

    def state_dict(self) -> dict[str, Any]:
        """The number of imagined steps, the policy's optimiser and the critics."""
        critic = self.critic.state_dict() if self.critic else None
        return {"imagined": self.imagined, "optimizer": self.optimizer.state_dict(), "critic": critic}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``.

        Raises:
            InputError: the state is not one of such a planner.
        """
        require_like("planner", state, self.state_dict(), shallow=True)
        require_like("planner.imagined", state["imagined"], 0)
        self.imagined = state["imagined"]
        load_optimizer(self.optimizer, state["optimizer"])
        if self.critic:
            self.critic.load_state_dict(state["critic"])
