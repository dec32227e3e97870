"""The twin critics behind the terminal value: targets, pessimism, regression, and what the planner asks of them."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from dyna_ail.config import make_config
from dyna_ail.config.learner import CriticConfig
from dyna_ail.learning.cloning import cloning_loss
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import make_agent
from dyna_ail.learning.randomness import same
from dyna_ail.learning.replay import ReplayBuffer, Transitions
from dyna_ail.planners.critic import TwinCritic
from dyna_ail.planners.mgail import MGAILPlanner

SCALING = Scaling(np.zeros(3), np.ones(3), np.zeros(2), np.ones(2))


def _critic(seed: int = 0, **config: float) -> TwinCritic:
    torch.manual_seed(seed)
    return TwinCritic(SCALING, CriticConfig(hidden=(32, 32), **config))  # type: ignore[arg-type]


def _pairs(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=g), torch.randn(n, 2, generator=g)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_target_follows_at_the_rate(rate):
    critic = _critic(target_rate=rate, learning_rate=1e-2)
    with torch.no_grad():
        for slow in critic.target.parameters():
            slow.add_(0.5)
    before = [p.clone() for p in critic.target.parameters()]
    critic.update(*_pairs(20), torch.randn(20))
    for old, slow, fast in zip(before, critic.target.parameters(), critic.online.parameters(), strict=True):
        torch.testing.assert_close(slow, (1 - rate) * old + rate * fast)
        assert not slow.requires_grad and not torch.equal(old, slow)


def test_starts_with_two_opinions_and_equal_targets():
    critic, pairs = _critic(), _pairs(50)
    assert torch.equal(critic(*pairs), critic.slow(*pairs))
    first, second = critic._estimates(critic.online, *pairs)
    assert (first - second).abs().min() > 0


def test_takes_the_larger_cost():
    critic = _critic()
    with torch.no_grad():
        for twins, values in ((critic.online, (1.0, -2.0)), (critic.target, (-5.0, -3.0))):
            for q, value in zip(twins, values, strict=True):
                q[-1].weight.zero_()
                q[-1].bias.fill_(value)
    assert critic(*_pairs(4)).tolist() == [1.0] * 4
    assert critic.slow(*_pairs(4)).tolist() == [-3.0] * 4


def test_regression_by_hand():
    critic, pairs = _critic(learning_rate=0.0), _pairs(6)
    to_go = torch.arange(6.0)
    estimates = critic._estimates(critic.online, *pairs)
    expected = sum(((q - to_go) ** 2).mean().item() for q in estimates)
    metrics = critic.update(*pairs, to_go)
    assert metrics["critic_loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["critic_mean"] == pytest.approx(estimates.mean().item(), rel=1e-5)
    # Rows of an unroll [T, B, ...] are just more pairs.
    obs, action = pairs
    stacked = critic.update(obs.reshape(3, 2, 3), action.reshape(3, 2, 2), to_go.reshape(3, 2))
    assert stacked["critic_loss"] == pytest.approx(expected, rel=1e-5)


def test_regression_converges():
    critic = _critic(learning_rate=3e-3, target_rate=0.05)
    obs, action = _pairs(256)
    for _ in range(400):
        critic.update(obs, action, torch.full((256,), 3.0))
    assert (critic(obs, action) - 3).abs().max() < 0.1
    assert (critic.slow(obs, action) - 3).abs().max() < 0.15
    to_go = obs[:, 0] - action[:, 1]
    for _ in range(600):
        metrics = critic.update(obs, action, to_go)
    assert metrics["critic_loss"] / 2 < 0.05 * to_go.var()


# --- the planner around it ---


EXPERT = torch.zeros(4, 3), torch.full((4, 2), 0.5)


def _planner(**values: object) -> tuple[MGAILPlanner, torch.Tensor]:
    config = make_config(
        **{
            "forward_model.hidden": (16,),
            "planner.critic.hidden": (16,),
            "planner.horizon": 3,
            "planner.cloning": 0.0,
            "discount": 0.9,
            **values,
        }
    )
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    agent = make_agent(spaces.Box(-np.inf, np.inf, (3,), np.float32), action_space, config, SCALING, config.seed)
    torch.manual_seed(0)
    D, f = Discriminator(SCALING, config.discriminator, "gail"), ForwardModel(SCALING, config.forward_model)
    with torch.no_grad():
        D.net[-1].weight.normal_()
    planner = MGAILPlanner(agent, D, f, SCALING, config)  # type: ignore[arg-type]
    return planner, torch.randn(8, 3)


def test_step_regresses_the_critics_on_the_imagined_cost_to_go():
    planner, start = _planner(**{"planner.critic.learning_rate": 1e-9})
    policy, model, critic = planner.policy, planner.forward_model, planner.critic
    assert critic is not None
    with torch.no_grad():
        for slow in critic.target.parameters():  # so that the two cannot be mistaken for each other
            slow.mul_(1.5)
        old = copy.deepcopy(policy)
        generator = torch.Generator().manual_seed(1)
        noise, when = policy.noise((4, 8), generator), torch.randint(3, (8,), generator=generator)
        obs, pairs = start, []
        for xi in noise[:-1]:
            action = old.sample(obs, xi)
            next_obs, p, _ = model(obs, action, model.initial_hidden(8))
            pairs.append((obs, action, planner.discriminator.cost(obs, action), p))
            obs = next_obs
        last = old.sample(obs, noise[-1])
        slow_to_go, fast_to_go, loss = critic.slow(obs, last), critic(obs, last), 0.0
        for t, (s, a, c, p) in reversed(list(enumerate(pairs))):
            slow_to_go, fast_to_go = c + 0.9 * p * slow_to_go, c + 0.9 * p * fast_to_go
            squared = (critic._estimates(critic.online, s, a) - slow_to_go).square().sum(0)
            loss += squared[when == t].sum().item() / 8  # one step of each rollout
    metrics = planner.step(start, EXPERT, torch.Generator().manual_seed(1))
    assert metrics["cost"] == pytest.approx(fast_to_go.mean().item(), rel=1e-5), "the policy descends the online critic"
    assert metrics["critic_loss"] == pytest.approx(loss, rel=1e-4), "the critics regress on the slow ones"


def test_critics_learn_from_real_transitions_that_nothing_follows_an_end():
    planner, _ = _planner(**{"planner.critic.learning_rate": 1e-9})
    policy, critic = planner.policy, planner.critic
    assert critic is not None
    with torch.no_grad():
        for slow in critic.target.parameters():
            slow.mul_(1.5)
    obs, action = _pairs(6)
    next_obs, _ = _pairs(6, seed=2)
    ended, cut = torch.tensor([1, 0, 0, 0, 1, 0]).bool(), torch.tensor([0, 1, 0, 0, 0, 0]).bool()
    noise = policy.noise((6,), torch.Generator().manual_seed(1))
    with torch.no_grad():
        cost, follows = planner.discriminator.cost(obs, action), critic.slow(next_obs, policy.sample(next_obs, noise))
        loss = 0.0
        for i in range(6):
            target = cost[i] if ended[i] else cost[i] + 0.9 * follows[i]  # one that is cut would have gone on
            loss += (critic._estimates(critic.online, obs[i], action[i]) - target).square().sum().item() / 6
    real = Transitions(obs, action, next_obs, ended, cut)
    metrics = planner.criticise(real, torch.Generator().manual_seed(1))
    assert metrics["critic_loss"] == pytest.approx(loss, rel=1e-4)


def test_critics_take_the_configured_steps(monkeypatch: pytest.MonkeyPatch):
    replay = ReplayBuffer(20, 3, 2)
    never = torch.zeros(20, dtype=torch.bool)
    replay.add(Transitions(*_pairs(20), _pairs(20, seed=2)[0], never, never))
    for real, tail, steps in ((0, True, 2), (4, True, 10), (4, False, 0)):
        planner, _ = _planner(
            **{"planner.updates": 2, "planner.critic.real_updates": real, "planner.tail": tail, "planner.batch_size": 5}
        )
        taken: list[int] = []
        update = TwinCritic.update
        monkeypatch.setattr(TwinCritic, "update", lambda *a, u=update, n=taken: n.append(len(a[1])) or u(*a))
        planner.improve(replay, EXPERT, 0.0, torch.Generator().manual_seed(0))
        monkeypatch.undo()
        assert taken == [5] * steps


def test_planning_changes_the_actor_and_the_critics_alone():
    planner, start = _planner()
    parts = {"D": planner.discriminator, "f": planner.forward_model}
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    policy = copy.deepcopy(planner.policy.state_dict())
    planner.step(start, EXPERT, torch.Generator().manual_seed(1))
    for name, part in parts.items():
        for key, value in part.state_dict().items():
            assert same(value, before[name][key]), f"{name} {key}"
        assert all(p.grad is None for p in part.parameters()), "no gradient is left behind for their own optimisers"
    for key, value in planner.policy.state_dict().items():
        fixed = "value" in key or "features_extractor" in key
        assert torch.equal(value, policy[key]) == fixed, key


def test_without_a_tail_there_is_no_critic():
    planner, start = _planner(**{"planner.tail": False})
    assert planner.critic is None
    assert not [name for name in planner.step(start, EXPERT, torch.Generator()) if "critic" in name]


def test_saturation_penalty_pulls_the_head_in():
    def size(penalty: float) -> float:
        planner, start = _planner(**{"mgail.saturation_penalty": penalty, "planner.learning_rate": 1e-2})
        with torch.no_grad():
            planner.policy.action_net.bias.fill_(3.0)  # type: ignore[attr-defined]
        g = torch.Generator().manual_seed(0)
        for _ in range(30):
            planner.step(start, EXPERT, g)
        return planner.policy.head(start).abs().mean().item()

    assert size(1.0) < size(0.0) - 0.3


def test_cloning_draws_the_policy_to_the_expert_s_pairs():
    def distance(weight: float) -> float:
        planner, start = _planner(**{"planner.cloning": weight, "planner.learning_rate": 1e-2})
        g = torch.Generator().manual_seed(0)
        for _ in range(30):
            planner.step(start, EXPERT, g)
        return cloning_loss(planner.policy, *EXPERT).item()

    assert distance(1.0) < 0.2 * distance(0.0)


def test_cloning_is_weighed_by_the_size_of_the_cost():
    """The gradient is J's and, times the weight and the size of J, the cloning loss's."""
    gradients = {}
    for weight in (0.0, 2.0):
        planner, start = _planner(**{"planner.cloning": weight, "mgail.max_grad_norm": 1e9})
        one = EXPERT[0][:1], EXPERT[1][:1]
        (before,) = torch.autograd.grad(cloning_loss(planner.policy, *one), [planner.policy.action_net.bias])  # type: ignore[list-item]
        cost = planner.step(start, one, torch.Generator().manual_seed(0))["cost"]
        gradients[weight] = planner.policy.action_net.bias.grad.clone()  # type: ignore[union-attr, operator]
    torch.testing.assert_close(gradients[2.0] - gradients[0.0], 2 * abs(cost) * before, rtol=1e-4, atol=1e-6)


class Standstill:
    """A world that stands still, and never ends."""

    def initial_hidden(self, batch: int) -> Tensor:
        return torch.zeros(batch, 0)

    def __call__(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return obs, torch.ones(len(obs)), hidden


class FirstComponent:
    """A logit of D, and so the cost airl, that is the first component of the state."""

    def cost(self, obs: Tensor, action: Tensor) -> Tensor:
        return obs[..., 0] + 0 * action.sum(-1)


def test_costs_of_opposite_signs_do_not_cancel_in_the_weight_of_cloning():
    """The weight is 2 times the mean of |J|. J = (1 + 0.9 + 0.81) s: 2.71 and -2.71, whose mean is 0."""
    policy = _planner()[0].policy
    values = {"planner.cloning": 2.0, "planner.tail": False, "planner.horizon": 3, "mgail.saturation_penalty": 0.0}
    config = make_config(cost="airl", discount=0.9, **values)
    planner = MGAILPlanner(SimpleNamespace(policy=policy), FirstComponent(), Standstill(), SCALING, config)  # type: ignore[arg-type]
    start = torch.tensor([[1.0, 0, 0], [-1, 0, 0]] * 4)
    one = EXPERT[0][:1], EXPERT[1][:1]
    (slope,) = torch.autograd.grad(cloning_loss(policy, *one), [policy.action_net.bias])  # type: ignore[list-item]
    metrics = planner.step(start, one, torch.Generator().manual_seed(0))
    assert metrics["cost"] == pytest.approx(0, abs=1e-6)
    assert slope.norm() > 0.1
    torch.testing.assert_close(policy.action_net.bias.grad, 2 * 2.71 * slope)


def test_long_gradients_are_clipped():
    planner, start = _planner(**{"mgail.max_grad_norm": 1e-3})
    metrics = planner.step(start, EXPERT, torch.Generator().manual_seed(0))
    norm = torch.cat([p.grad.flatten() for p in planner.policy.actor_parameters()]).norm().item()
    assert metrics["grad_norm"] > 1e-3 and norm == pytest.approx(1e-3, rel=1e-3)


def test_planner_fades_with_the_budget():
    planner, start = _planner(
        **{"planner.learning_rate": 1e-3, "planner.final_learning_rate": 2e-4, "planner.updates": 1}
    )
    replay = ReplayBuffer(8, 3, 2)
    flags = torch.zeros(8, dtype=torch.bool)
    replay.add(Transitions(start, torch.zeros(8, 2), start, flags, flags))
    for progress, rate in ((0.0, 1e-3), (0.25, 8e-4), (1.0, 2e-4)):
        planner.improve(replay, EXPERT, progress, torch.Generator().manual_seed(0))
        assert planner.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
