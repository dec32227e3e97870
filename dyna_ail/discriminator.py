"""The discriminator D(s, a), the probability that a pair came from the policy, and the cost it defines (Eqs. 4, 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from dyna_ail.config import Cost, DiscriminatorConfig
from dyna_ail.networks import PairInput, Scaling, adam_step, fade, mlp
from dyna_ail.replay import ReplayBuffer


def discriminator_loss(policy_logit: Tensor, expert_logit: Tensor) -> Tensor:
    """``-(E_pi[log D] + E_E[log(1 - D)])``, the negative of Dyna-AIL Eq. 4 with ``D = sigmoid(logit)``.

    Shapes: ``[B]`` each. At the optimum ``D = p_pi / (p_pi + p_E)`` (MGAIL Eq. 6).
    """
    return -(F.logsigmoid(policy_logit).mean() + F.logsigmoid(-expert_logit).mean())


def cost_of(logit: Tensor, kind: Cost) -> Tensor:
    """What the policy pays for a pair, same shape as ``logit``.

    ``gail``: log D (Dyna-AIL Eqs. 7, 8), never positive, so that its negative as a reward favours long episodes: it
    suits tasks that end early when the agent fails. ``d``: D itself, the integrand of MGAIL's J, never negative, for
    tasks that end early when it succeeds. ``airl``: the logit, of either sign.
    """
    return {"gail": F.logsigmoid, "airl": lambda x: x, "d": torch.sigmoid}[kind](logit)


class Discriminator(nn.Module):
    """D, trained by Adam on half policy and half expert pairs.

    It starts at exactly 1/2 everywhere, except under spectral normalisation, which has no use for zero weights.
    """

    def __init__(self, scaling: Scaling, config: DiscriminatorConfig, cost: Cost) -> None:
        super().__init__()
        self.config, self.cost_kind = config, cost
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
        return cost_of(self.logit(obs, action), self.cost_kind)

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
        self,
        expert_obs: Tensor,
        expert_action: Tensor,
        replay: ReplayBuffer,
        progress: float,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Algorithm 1 line 5: ``config.updates`` steps on policy pairs from ``replay`` and as many expert pairs.

        Args:
            expert_obs: ``[N, obs_dim]``.
            expert_action: ``[N, action_dim]``.
            replay: the buffer B.
            progress: fraction of the interaction budget spent, in [0, 1]; sets the learning rate.
            generator: source of all randomness.

        Raises:
            NonFiniteError: the loss or its gradient is not finite.
        """
        c = self.config
        fade(self.optimizer, c.learning_rate, c.final_learning_rate, progress)
        metrics: dict[str, float] = {}
        self.train()
        for _ in range(c.updates):
            batch = replay.sample(c.batch_size, generator, c.recent)
            drawn = torch.randint(len(expert_obs), (c.batch_size,), generator=generator)
            policy, expert = self.inputs(batch.obs, batch.action), self.inputs(expert_obs[drawn], expert_action[drawn])
            loss, metrics = self.loss(policy, expert, generator)
            metrics["grad_norm"] = adam_step("discriminator", self.optimizer, loss, self.parameters())
        self.eval()
        return metrics
