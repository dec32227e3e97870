"""Twin critics of the cost-to-go, for the terminal value of the unroll: a named departure from the papers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dyna_ail.config.learner import CriticConfig
from dyna_ail.learning.networks import PairInput, Scaling, adam_step, mlp, polyak_update
from dyna_ail.learning.state import TrainedModule


class TwinCritic(TrainedModule):
    """Two estimates of Q(s, a), the expected discounted cost from (s, a) on, with slowly following targets.

    The larger of the two costs is taken, so that the policy is not drawn to where a critic happens to be too hopeful
    (clipped double Q-learning, Fujimoto 2018, with the sign of a cost).
    """

    def __init__(self, scaling: Scaling, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = PairInput(scaling)
        self.online = nn.ModuleList(
            mlp([self.inputs.dim, *config.hidden, 1], "silu", layer_norm=True) for _ in range(2)
        )
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.online.parameters(), lr=config.learning_rate, fused=True)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """The more pessimistic estimate, ``[...]`` for ``obs [..., obs_dim]`` and ``action [..., action_dim]``."""
        return self._estimates(self.online, obs, action).amax(0)

    def slow(self, obs: Tensor, action: Tensor) -> Tensor:
        """:meth:`forward` with the targets."""
        return self._estimates(self.target, obs, action).amax(0)

    def _estimates(self, twins: nn.ModuleList, obs: Tensor, action: Tensor) -> Tensor:
        pair = self.inputs(obs, action)
        return torch.stack([q(pair).squeeze(-1) for q in twins])

    def update(self, obs: Tensor, action: Tensor, cost_to_go: Tensor) -> dict[str, float]:
        """One regression step of both critics on ``cost_to_go``, then the targets follow.

        Shapes: ``obs [B, obs_dim]``, ``action [B, action_dim]``, ``cost_to_go [B]``.

        Raises:
            NonFiniteError: the critics' loss or its gradient is not finite.
        """
        estimates = self._estimates(self.online, obs, action)
        loss = (estimates - cost_to_go).square().mean(tuple(range(1, estimates.dim()))).sum()
        norm = adam_step("critic", self.optimizer, loss, self.online.parameters())
        polyak_update(self.target, self.online, self.config.target_rate)
        return {"critic_loss": loss.item(), "critic_grad_norm": norm, "critic_mean": estimates.mean().item()}
