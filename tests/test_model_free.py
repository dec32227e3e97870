"""The model-free phase: relabelled rewards, advantages by hand, and the trust region measured from outside."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from dyna_ail.config import make_config
from dyna_ail.errors import NonFiniteError
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import ImitationPolicy, make_agent
from dyna_ail.learning.randomness import same
from dyna_ail.learning.replay import Transitions
from dyna_ail.learning.rollout import Segment
from dyna_ail.model_free.interface import NoModelFree
from dyna_ail.model_free.trpo import TRPOStep

BOX = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 3], np.float32))
DISCRETE = spaces.Discrete(3)
GAMMA, LAMBDA, TARGET_KL = 0.9, 0.8, 0.01
G = torch.Generator()  # the trust-region step draws nothing from it
both_kinds = pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])


def _step(space: spaces.Space, cost: str = "gail", seed: int = 0) -> TRPOStep:
    config = make_config(
        cost=cost,
        discount=GAMMA,
        **{"trpo.gae_lambda": LAMBDA, "trpo.target_kl": TARGET_KL, "discriminator.hidden": (16,)},
        **{"policy.initial_std": 0.5},  # wide enough for some actions to be clipped
    )
    width = 2 if space is BOX else 3
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(width), np.ones(width))
    torch.manual_seed(seed)
    agent = make_agent(spaces.Box(-np.inf, np.inf, (3,), np.float32), space, config, scaling, config.seed)
    D = Discriminator(scaling, config.discriminator, cost)  # type: ignore[arg-type]
    with torch.no_grad():
        D.net[-1].weight.normal_(std=2)  # a D that tells pairs apart
        agent.policy.value_net.weight.mul_(50)
    return TRPOStep(agent, D, ForwardModel(scaling, config.forward_model), config)


def _segment(step: TRPOStep, n: int, terminated: tuple[int, ...] = (), truncated: tuple[int, ...] = ()) -> Segment:
    """Random states, the policy's own actions; ``episode_start`` follows from the endings; 0 is inside an episode."""
    g = torch.Generator().manual_seed(1)
    policy = step.agent.policy
    assert isinstance(policy, ImitationPolicy)
    obs = torch.randn(n + 1, 3, generator=g)
    with torch.no_grad():
        noise = policy.noise((n,), g)
        drawn, received = policy.reparameterise(obs[:-1], noise), policy.sample(obs[:-1], noise)
    over, cut = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    over[list(terminated)], cut[list(truncated)] = True, True
    next_obs = obs[1:].clone()
    next_obs[over | cut] = torch.randn(int((over | cut).sum()), 3, generator=g)  # obs[i+1] is then the reset's
    episode_start = torch.cat([torch.tensor([False]), (over | cut)[:-1]])
    return Segment(Transitions(obs[:-1], received, next_obs, over, cut), drawn, episode_start)


@both_kinds
@pytest.mark.parametrize("last", ["open", "terminated", "truncated"])
def test_advantages_of_four_steps_by_hand(space, last):
    step = _step(space)
    ends = {"terminated": (2, 3), "truncated": (2,), "open": (2,)}[last]
    segment = _segment(step, 4, terminated=ends, truncated=(1, 3) if last == "truncated" else (1,))
    buffer, real = step.fill(segment), segment.transitions
    with torch.no_grad():
        reward = [-float(step.discriminator.cost(real.obs[i], real.action[i])) for i in range(4)]
        V = [float(step.agent.policy.predict_values(real.obs[i : i + 1])) for i in range(4)]
        V_next = [float(step.agent.policy.predict_values(real.next_obs[i : i + 1])) for i in range(4)]
    assert np.std(V) > 0.05 and np.std(reward) > 0.05, "equal values would hide a wrong index"

    delta = [
        reward[0] + GAMMA * V[1] - V[0],
        reward[1] + GAMMA * V_next[1] - V[1],  # cut by the time limit: what would have followed counts
        reward[2] - V[2],  # over: nothing follows
        reward[3] + GAMMA * (0 if last == "terminated" else V_next[3]) - V[3],
    ]
    advantage = [delta[0] + GAMMA * LAMBDA * delta[1], *delta[1:]]  # only step 0 has a successor in its episode
    np.testing.assert_allclose(buffer.advantages.flatten(), advantage, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffer.returns.flatten(), np.add(advantage, V), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(buffer.values.flatten(), V, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(buffer.rewards.flatten()[[0, 2]], [reward[0], reward[2]], rtol=1e-5)


@pytest.mark.parametrize("cost", ["gail", "d", "airl"])
def test_reward_is_minus_the_cost_of_what_the_environment_received(cost):
    step = _step(BOX, cost)
    segment = _segment(step, 200)
    real = segment.transitions
    assert (segment.drawn != real.action).any(), "some actions must have been clipped"
    with torch.no_grad():
        logit = step.discriminator.logit(real.obs, real.action).numpy()
    D = 1 / (1 + np.exp(-logit))
    expected = {"gail": -np.log(D), "d": -D, "airl": np.log(1 - D) - np.log(D)}[cost]
    np.testing.assert_allclose(step.fill(segment).rewards.flatten(), expected, rtol=1e-3, atol=1e-5)


@both_kinds
def test_likelihood_is_of_the_action_as_drawn(space):
    step = _step(space)
    segment = _segment(step, 100)
    buffer, distribution = step.fill(segment), step.agent.policy.get_distribution(segment.transitions.obs)
    if space is BOX:
        expected = distribution.distribution.log_prob(segment.drawn).sum(-1)
        np.testing.assert_allclose(buffer.actions[:, 0], segment.drawn)
    else:
        expected = distribution.distribution.logits[segment.drawn == 1]
        np.testing.assert_array_equal(buffer.actions.flatten(), segment.drawn.argmax(-1))
    np.testing.assert_allclose(buffer.log_probs.flatten(), expected.detach(), rtol=1e-4, atol=1e-5)


def _kl(old: ImitationPolicy, new: ImitationPolicy, obs: Tensor) -> float:
    """Mean KL(new || old) in closed form; of a Gaussian, per component of the action, as sb3-contrib bounds it."""
    with torch.no_grad():
        if old.discrete:
            log_p, log_q = torch.log_softmax(new.head(obs), -1), torch.log_softmax(old.head(obs), -1)
            return (log_p.exp() * (log_p - log_q)).sum(-1).mean().item()
        (m1, s1), (m2, s2) = ((p._bounded(p.head(obs)), p.log_std.exp()) for p in (new, old))
        return (torch.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5).mean().item()


@both_kinds
def test_a_step_stays_in_the_trust_region(space):
    step = _step(space)
    policy = step.agent.policy
    assert isinstance(policy, ImitationPolicy)
    moved = []
    for _ in range(4):
        segment, old = _segment(step, 400, terminated=(99, 250), truncated=(199,)), copy.deepcopy(policy)
        metrics = step.update(segment, 0.5, G)
        kl = _kl(old, policy, segment.transitions.obs)
        assert kl <= TARGET_KL * 1.001
        assert metrics["kl"] == pytest.approx(kl, rel=1e-2, abs=1e-6)
        moved.append(kl)
    assert max(moved) > 0.3 * TARGET_KL, "a policy that never moves is within any region"


@both_kinds
def test_steps_lower_the_cost(space):
    step = _step(space)
    with torch.no_grad():  # the states do not react to the actions, so only the actions' own cost can fall
        step.discriminator.net[0].weight[:, :3] = 0
    before = step.discriminator.cost(*_pairs(step)).mean().item()
    for _ in range(12):
        step.update(_segment(step, 400, terminated=tuple(range(400))), 0.5, G)
    assert step.discriminator.cost(*_pairs(step)).mean().item() < before - 0.1


def _pairs(step: TRPOStep) -> tuple[Tensor, Tensor]:
    real = _segment(step, 2000).transitions
    return real.obs, real.action


def test_value_function_learns():
    step = _step(BOX)
    first = step.update(_segment(step, 300), 0.5, G)["value_loss"]
    for _ in range(10):
        last = step.update(_segment(step, 300), 0.5, G)["value_loss"]
    assert last < 0.5 * first


def test_discriminator_is_left_alone():
    step = _step(BOX)
    before = copy.deepcopy(step.discriminator.state_dict())
    step.update(_segment(step, 50), 0.5, G)
    assert same(step.discriminator.state_dict(), before)
    assert all(p.grad is None for p in step.discriminator.parameters())


@both_kinds
def test_a_segment_of_one_step(space):
    step = _step(space)
    step.update(_segment(step, 1), 0.5, G)  # its advantage has no spread to be normalised by
    assert all(torch.isfinite(p).all() for p in step.agent.policy.parameters())


@both_kinds
def test_a_value_that_is_not_finite_names_trpo(space):
    step = _step(space)
    segment = _segment(step, 20)
    with torch.no_grad():
        step.agent.policy.value_net.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="TRPO"):
        step.update(segment, 0.5, G)


def test_a_distribution_that_is_not_finite_names_trpo(monkeypatch):
    """Within its step torch finds it first, and raises an error of its own."""
    step = _step(DISCRETE)
    segment = _segment(step, 20)

    def train():
        torch.distributions.Categorical(logits=torch.tensor([[torch.nan, 0.0]]))

    monkeypatch.setattr(step.agent, "train", train)
    with pytest.raises(NonFiniteError, match="became NaN or infinite in the TRPO step: Expected parameter"):
        step.update(segment, 0.5, G)


def test_none_does_nothing():
    step = _step(BOX)
    before = copy.deepcopy(step.agent.policy.state_dict())
    assert NoModelFree(step.agent, step.discriminator).update(_segment(step, 50), 0.5, G) == {}
    assert all(torch.equal(value, before[name]) for name, value in step.agent.policy.state_dict().items())
