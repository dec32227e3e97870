"""Behavioural cloning: the supervised baseline, and a start for the other presets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dyna_ail.config.learner import CloningConfig
from dyna_ail.learning.networks import adam_step
from dyna_ail.learning.policy import ImitationPolicy


def cloning_loss(policy: ImitationPolicy, obs: Tensor, action: Tensor) -> Tensor:
    """Cross-entropy (Discrete) or squared error of the mean in units of half the action range (Box).

    The Gaussian's likelihood would drive its standard deviation to zero on a deterministic expert, so the mean alone
    is fitted. Shapes: ``obs [B, obs_dim]``, encoded ``action [B, action_dim]``.
    """
    head = policy.head(obs)
    if policy.discrete:
        return F.cross_entropy(head, action)
    return F.mse_loss(torch.tanh(head), (action - policy.action_centre) / policy.action_half)


def clone(
    policy: ImitationPolicy, obs: Tensor, action: Tensor, config: CloningConfig, generator: torch.Generator
) -> dict[str, float]:
    """``config.updates`` Adam steps on expert pairs ``obs [N, obs_dim]``, ``action [N, action_dim]``.

    Raises:
        NonFiniteError: the loss or its gradient is not finite.
    """
    optimizer = torch.optim.Adam(policy.actor_parameters(), lr=config.learning_rate, fused=True)
    # A Gaussian's standard deviation has no gradient here.
    trained = [p for p in policy.actor_parameters() if p is not getattr(policy, "log_std", None)]
    metrics: dict[str, float] = {}
    for _ in range(config.updates):
        drawn = torch.randint(len(obs), (config.batch_size,), generator=generator)
        loss = cloning_loss(policy, obs[drawn], action[drawn])
        metrics = {"loss": loss.item(), "grad_norm": adam_step("cloning", optimizer, loss, trained)}
    return metrics
