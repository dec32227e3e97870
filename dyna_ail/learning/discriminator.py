"""The discriminator D(s, a), the probability that a pair came from the policy, and the cost it defines (Eqs. 4, 6)."""

from __future__ import annotations

import torch
from stable_baselines3.common.utils import update_learning_rate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from dyna_ail.config.learner import DiscriminatorConfig
from dyna_ail.config.registry import COSTS
from dyna_ail.learning.interfaces import Pairs
from dyna_ail.learning.networks import PairInput, Scaling, adam_step, linear_schedule, mlp
from dyna_ail.learning.replay import ReplayBuffer
from dyna_ail.learning.state import TrainedModule


def discriminator_loss(policy_logit: Tensor, expert_logit: Tensor) -> Tensor:
    """``-(E_pi[log D] + E_E[log(1 - D)])``, the negative of Dyna-AIL Eq. 4 with ``D = sigmoid(logit)``.

    Shapes: ``[B]`` each. At the optimum ``D = p_pi / (p_pi + p_E)`` (MGAIL Eq. 6).
    """
    return -(F.logsigmoid(policy_logit).mean() + F.logsigmoid(-expert_logit).mean())


def log_d(logit: Tensor) -> Tensor:
    """The cost ``gail``: log D (Dyna-AIL Eqs. 7, 8), same shape as ``logit``.

    It is never positive, so as a reward, ``-log D``, it favours long episodes: for tasks that end early when the agent
    fails.
    """
    return F.logsigmoid(logit)


def plain_d(logit: Tensor) -> Tensor:
    """The cost ``d``: D itself, the integrand of MGAIL's J, same shape as ``logit``.

    It is never negative, so every step costs something: for tasks that end early when the agent succeeds.
    """
    return torch.sigmoid(logit)


def logit(logit: Tensor) -> Tensor:
    """The cost ``airl``: the logit itself (AIRL, Fu 2018), of either sign."""
    return logit


class Discriminator(TrainedModule):
    """D, trained by Adam on half policy and half expert pairs.

    It starts at exactly 1/2 everywhere, except under spectral normalisation, which has no use for zero weights.
    """

    def __init__(self, scaling: Scaling, config: DiscriminatorConfig, cost: str) -> None:
        super().__init__()
        self.config, self.cost_of_logit = config, COSTS[cost]
        self.inputs = PairInput(scaling)
        self.net = mlp([self.inputs.dim, *config.hidden, 1], "relu")
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        if config.regularisation == "spectral-norm":
            nn.init.orthogonal_(last.weight)  # a zero matrix has no singular vectors to normalise by
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    spectral_norm(layer)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=config.learning_rate, fused=True)
        self.eval()  # outside of update spectral normalisation must not move its buffers

    def logit(self, obs: Tensor, action: Tensor) -> Tensor:
        """``log D - log(1 - D)``, shape ``[...]`` for ``obs [..., obs_dim]`` and ``action [..., action_dim]``."""
        out: Tensor = self.net(self.inputs(obs, action)).squeeze(-1)
        return out

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """D(s, a) in (0, 1)."""
        return torch.sigmoid(self.logit(obs, action))

    def cost(self, obs: Tensor, action: Tensor) -> Tensor:
        """What the policy minimises, shape ``[...]``."""
        cost: Tensor = self.cost_of_logit(self.logit(obs, action))
        return cost

    def loss(self, policy: Tensor, expert: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Eq. 6's loss plus the Lipschitz regularisation, on scaled pairs ``[B, seen + action_dim]`` each.

        The gradient penalty, not in the papers, is ``(|grad logit| - 1)^2`` between the two batches (WGAN-GP).
        """
        if self.config.expert_noise:
            expert = expert + self.config.expert_noise * torch.empty_like(expert).normal_(generator=generator)
        policy_logit, expert_logit = self.net(policy).squeeze(-1), self.net(expert).squeeze(-1)
        loss = discriminator_loss(policy_logit, expert_logit)
        metrics = {
            "loss": loss.item(),
            "accuracy_policy": (policy_logit > 0).float().mean().item(),
            "accuracy_expert": (expert_logit < 0).float().mean().item(),
        }
        if self.config.regularisation == "gradient-penalty":
            mix = torch.rand(len(policy), 1, generator=generator)
            between = (mix * policy + (1 - mix) * expert).requires_grad_()
            (slope,) = torch.autograd.grad(self.net(between).sum(), between, create_graph=True)
            norm = (slope.square().sum(-1) + 1e-12).sqrt()  # the square root has no gradient at 0
            loss = loss + self.config.penalty * (norm - 1).square().mean()
        return loss, metrics

    def update(
        self, expert: Pairs, replay: ReplayBuffer, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Algorithm 1 line 5: ``config.updates`` steps on policy pairs from ``replay`` and as many expert pairs.

        Args:
            expert: ``obs [N, obs_dim]`` and encoded ``action [N, action_dim]``.
            replay: the buffer B.
            progress: share of the interaction budget spent, in [0, 1]; sets the learning rate.
            generator: source of all randomness.

        Raises:
            NonFiniteError: the loss or its gradient is not finite.
        """
        c = self.config
        update_learning_rate(self.optimizer, linear_schedule(c.learning_rate, c.final_learning_rate, progress))
        metrics: dict[str, float] = {}
        self.train()
        for _ in range(c.updates):
            batch = replay.sample(c.batch_size, generator, c.recent)
            drawn = torch.randint(len(expert[0]), (c.batch_size,), generator=generator)
            ours, theirs = self.inputs(batch.obs, batch.action), self.inputs(*(column[drawn] for column in expert))
            loss, metrics = self.loss(ours, theirs, generator)
            metrics["grad_norm"] = adam_step("discriminator", self.optimizer, loss, self.parameters())
        self.eval()
        return metrics
