"""The discriminator: its loss and costs by hand, its optimum on known densities, its regularisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dyna_ail.config.learner import DiscriminatorConfig
from dyna_ail.config.registry import COSTS
from dyna_ail.learning.discriminator import Discriminator, discriminator_loss, log_d
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.replay import ReplayBuffer, Transitions


def _scaling(obs_dim: int = 1, action_dim: int = 1) -> Scaling:
    return Scaling(np.zeros(obs_dim), np.ones(obs_dim), np.zeros(action_dim), np.ones(action_dim))


def _replay(obs: Tensor, action: Tensor) -> ReplayBuffer:
    replay = ReplayBuffer(len(obs), obs.shape[1], action.shape[1])
    never = torch.zeros(len(obs), dtype=torch.bool)
    replay.add(Transitions(obs, action, obs, never, never))
    return replay


def _make(config: DiscriminatorConfig, seed: int = 0, **kwargs: int) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(_scaling(**kwargs), config, "gail")


def _linear(weight: list[float], **config: float) -> Discriminator:
    """D with logit = weight · (s, a)."""
    D = _make(DiscriminatorConfig(hidden=(), **config), obs_dim=1, action_dim=len(weight) - 1)
    with torch.no_grad():
        D.net[0].weight.copy_(torch.tensor([weight]))
    return D


def test_loss_by_hand():
    policy, expert = torch.tensor([2.0, -1.0]), torch.tensor([0.5])
    D = [1 / (1 + math.exp(-x)) for x in (2.0, -1.0, 0.5)]
    expected = -((math.log(D[0]) + math.log(D[1])) / 2 + math.log(1 - D[2]))
    assert discriminator_loss(policy, expert).item() == pytest.approx(expected, rel=1e-6)
    assert discriminator_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))
    assert torch.isfinite(discriminator_loss(torch.tensor([-1e4]), torch.tensor([1e4])))


def test_loss_is_least_where_the_policy_is_recognised():
    right = discriminator_loss(torch.tensor([3.0]), torch.tensor([-3.0]))
    wrong = discriminator_loss(torch.tensor([-3.0]), torch.tensor([3.0]))
    assert right < discriminator_loss(torch.zeros(1), torch.zeros(1)) < wrong


def test_costs_by_hand():
    logit = torch.tensor([-1.5, 0.0, 2.0])
    D = [1 / (1 + math.exp(-x)) for x in logit.tolist()]
    assert COSTS["gail"](logit).tolist() == pytest.approx([math.log(p) for p in D])
    assert COSTS["d"](logit).tolist() == pytest.approx(D)
    assert COSTS["airl"](logit).tolist() == pytest.approx([math.log(p) - math.log(1 - p) for p in D])
    for kind in ("gail", "d", "airl"):  # the more surely a pair is the policy's, the more it costs
        assert COSTS[kind](logit).diff().min() > 0


@pytest.mark.parametrize("regularisation", ["gradient-penalty", "none"])
def test_starts_at_one_half(regularisation):
    D = _make(DiscriminatorConfig(regularisation=regularisation), obs_dim=3, action_dim=2)
    assert (D(torch.randn(100, 3), torch.randn(100, 2)) == 0.5).all()


def test_optimum_on_two_gaussians():
    # Pairs (s, a) with a = 0. The policy's s is N(0.7, 1), the expert's N(-0.7, 0.8): D* = p / (p + q).
    g = torch.Generator().manual_seed(0)
    mean, std, n = (0.7, -0.7), (1.0, 0.8), 100_000
    policy, expert = (m + s * torch.randn(n, 1, generator=g) for m, s in zip(mean, std, strict=True))
    zeros = torch.zeros(n, 1)
    config = DiscriminatorConfig(
        hidden=(32, 32),
        updates=200,
        batch_size=1024,
        learning_rate=3e-3,
        final_learning_rate=1e-4,
        regularisation="none",
    )
    D, replay = _make(config), _replay(policy, zeros)
    for progress in (0.0, 0.3, 0.6, 0.9, 1.0):
        D.update((expert, zeros), replay, progress, g)
    x = torch.linspace(-2.2, 2.2, 45)[:, None]  # where there are samples of both
    p, q = (torch.exp(-0.5 * ((x - m) / s).square()) / s for m, s in zip(mean, std, strict=True))
    with torch.no_grad():
        got = D(x, torch.zeros_like(x))
    error = (got - (p / (p + q)).squeeze(-1)).abs().max().item()
    assert error < 0.04


def test_gradient_penalty_by_hand():
    g = torch.Generator().manual_seed(0)
    policy, expert = torch.randn(32, 3, generator=g), torch.randn(32, 3, generator=g)

    def penalty(weight: list[float], factor: float) -> float:
        D = _linear(weight, penalty=factor)
        loss, metrics = D.loss(policy, expert, g)
        plain = discriminator_loss(policy @ torch.tensor(weight), expert @ torch.tensor(weight)).item()
        assert metrics["loss"] == pytest.approx(plain, rel=1e-5), "what is reported is Eq. 6's loss alone"
        return loss.item() - plain

    assert penalty([0.6, 0.0, -0.8], 5.0) == pytest.approx(0, abs=1e-5)
    assert penalty([0.0, 3.0, 0.0], 1.0) == pytest.approx(4.0, rel=1e-4)
    assert penalty([0.0, 3.0, 0.0], 0.5) == pytest.approx(2.0, rel=1e-4)
    assert penalty([0.0, 0.0, 0.0], 1.0) == pytest.approx(1.0, rel=1e-4)


def test_gradient_penalty_holds_the_slope():
    def steepest(regularisation: str) -> float:
        g = torch.Generator().manual_seed(1)
        config = DiscriminatorConfig(hidden=(32, 32), updates=300, learning_rate=3e-3, regularisation=regularisation)
        D = _make(config)
        zeros = torch.zeros(500, 1)
        near = torch.randn(500, 1, generator=g) * 0.1
        D.update((near - 0.5, zeros), _replay(near + 0.5, zeros), 0.0, g)
        x = torch.linspace(-0.7, 0.7, 100)[:, None].requires_grad_()
        (slope,) = torch.autograd.grad(D.logit(x, torch.zeros(100, 1)).sum(), x)
        return slope.abs().max().item()

    assert steepest("none") > 6
    assert steepest("gradient-penalty") < 3


def test_spectral_norm_bounds_the_slope_of_the_logit():
    g = torch.Generator().manual_seed(2)
    config = DiscriminatorConfig(hidden=(32, 32), updates=300, learning_rate=1e-2, regularisation="spectral-norm")
    D = _make(config, obs_dim=2, action_dim=1)
    obs, action = torch.randn(500, 2, generator=g), torch.randn(500, 1, generator=g)
    D.update((obs - 1, action), _replay(obs + 1, action), 0.0, g)
    a, b = 3 * torch.randn(2000, 3, generator=g), 3 * torch.randn(2000, 3, generator=g)
    b[1000:] = a[1000:] + 1e-2 * b[1000:]  # far pairs and near ones
    with torch.no_grad():
        rise = (D.logit(a[:, :2], a[:, 2:]) - D.logit(b[:, :2], b[:, 2:])).abs()
    ratio = rise / (a - b).norm(dim=-1)
    assert ratio.max() < 1.03, "power iteration knows the largest singular value to a few per cent"
    assert ratio.max() > 0.5, "and D does use its freedom"


def test_learning_rate_decays_linearly():
    D = _make(DiscriminatorConfig(hidden=(4,), updates=1, learning_rate=1e-3, final_learning_rate=2e-4))
    replay = _replay(torch.randn(10, 1), torch.zeros(10, 1))
    for progress, expected in ((0.0, 1e-3), (0.25, 8e-4), (1.0, 2e-4)):
        D.update((torch.zeros(5, 1), torch.zeros(5, 1)), replay, progress, torch.Generator().manual_seed(0))
        assert D.optimizer.param_groups[0]["lr"] == pytest.approx(expected)
    constant = _make(DiscriminatorConfig(hidden=(4,), updates=1, learning_rate=1e-3))
    constant.update((torch.zeros(5, 1), torch.zeros(5, 1)), replay, 0.5, torch.Generator().manual_seed(0))
    assert constant.optimizer.param_groups[0]["lr"] == 1e-3


def test_expert_noise_is_added_to_the_expert_alone():
    D = _linear([1.0, 0.0], expert_noise=2.0, regularisation="none")
    seen: list[Tensor] = []
    D.net.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    D.loss(torch.full((20_000, 2), 3.0), torch.full((20_000, 2), 5.0), torch.Generator().manual_seed(0))
    policy, expert = seen
    assert (policy == 3).all()
    assert expert.mean().item() == pytest.approx(5.0, abs=4 * 2 / 200)
    assert expert.std().item() == pytest.approx(2.0, abs=4 * 2 / math.sqrt(2 * 40_000))


def test_half_and_half_and_accuracies():
    D = _linear([1.0, 0.0])
    sizes: list[int] = []
    D.net.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    D.config = DiscriminatorConfig(updates=1, batch_size=12, regularisation="none")
    g = torch.Generator().manual_seed(0)
    D.update((torch.zeros(3, 1), torch.zeros(3, 1)), _replay(torch.randn(50, 1), torch.zeros(50, 1)), 0.0, g)
    assert sizes == [12, 12]
    _, metrics = D.loss(torch.tensor([[1.0, 0], [2, 0], [3, 0], [-1, 0]]), torch.tensor([[-1.0, 0], [4, 0]]), g)
    assert metrics["accuracy_policy"] == 0.75 and metrics["accuracy_expert"] == 0.5


def test_judges_scaled_pairs():
    scaling = Scaling(np.array([1.0]), np.array([4.0]), np.array([0.5]), np.array([1.5]))
    D = Discriminator(scaling, DiscriminatorConfig(hidden=()), "gail")
    with torch.no_grad():
        D.net[0].weight.copy_(torch.tensor([[1.0, 10.0]]))
    obs, action = torch.tensor([[9.0], [1e6], [-1e6]]), torch.tensor([[2.0], [0.5], [0.5]])
    # (9 - 1) / 4 + 10 (2 - 0.5) / 1.5; stray observations are clipped at 10.
    assert D.logit(obs, action).tolist() == [12.0, 10.0, -10.0]
    assert D(obs, action).tolist() == torch.sigmoid(D.logit(obs, action)).tolist()
    assert D.cost(obs, action).tolist() == log_d(D.logit(obs, action)).tolist()
