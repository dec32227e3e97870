"""The trust-region planner: what it imagines, the advantages of several rollouts by hand, and that it improves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dyna_ail.config import make_config
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import make_agent
from dyna_ail.learning.randomness import same
from dyna_ail.learning.replay import ReplayBuffer, Transitions
from dyna_ail.learning.trust_region import rollout_buffer
from dyna_ail.planners.trpo import TRPOPlanner

BOX = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 3], np.float32))
DISCRETE = spaces.Discrete(3)
GAMMA, LAMBDA = 0.9, 0.8
EXPERT = torch.zeros(1, 3), torch.zeros(1, 2)  # not asked for
both_kinds = pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])


def _planner(space: spaces.Space, ends: float = -2.0, **values: object) -> tuple[TRPOPlanner, ReplayBuffer]:
    """A planner whose forward model ends episodes with the odds ``exp(ends)``, and a buffer of random states."""
    config = make_config(
        "dyna-trpo",
        discount=GAMMA,
        **{"trpo.gae_lambda": LAMBDA, "discriminator.hidden": (16,), "forward_model.hidden": (16,)},
        **{"planner.batch_size": 6, "planner.horizon": 5, "policy.initial_std": 0.5, **values},
    )
    width = 2 if space is BOX else 3
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(width), np.ones(width))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (sb3-contrib's minibatches)
    agent = make_agent(spaces.Box(-np.inf, np.inf, (3,), np.float32), space, config, scaling, config.seed)
    D, f = Discriminator(scaling, config.discriminator, "gail"), ForwardModel(scaling, config.forward_model)
    with torch.no_grad():
        D.net[-1].weight.normal_(std=2)
        agent.policy.value_net.weight.mul_(50)
        list(f.members[0].modules())[-1].bias[-1] = -ends
    replay, g = ReplayBuffer(50, 3, width), torch.Generator().manual_seed(1)
    flags = torch.zeros(50, dtype=torch.bool)
    states = torch.randn(2, 50, 3, generator=g)
    replay.add(Transitions(states[0], torch.zeros(50, width), states[1], flags, flags))
    return TRPOPlanner(agent, D, f, scaling, config), replay


@both_kinds
def test_rollouts_follow_the_model_and_begin_again_where_they_end(space):
    planner, replay = _planner(space, ends=0.0)
    found = planner.imagine(replay, torch.Generator().manual_seed(2))
    assert found.obs.shape == (5, 6, 3) and found.reward.shape == (5, 6)
    assert planner.imagined == 30
    known = {tuple(row) for row in replay.data.obs.tolist()}
    for t in range(5):
        action = planner.policy.received(found.drawn[t])
        with torch.no_grad():
            expected, _, _ = planner.forward_model(found.obs[t], action, torch.zeros(6, 0))
            cost = planner.discriminator.cost(found.obs[t], action)
        torch.testing.assert_close(found.next_obs[t], expected)
        torch.testing.assert_close(found.reward[t], -cost)
        for e in range(6):
            begins = t == 0 or bool(found.terminated[t - 1, e])
            assert bool(found.episode_start[t, e]) == begins
            if begins:
                assert tuple(found.obs[t, e].tolist()) in known
            else:
                assert torch.equal(found.obs[t, e], found.next_obs[t - 1, e])
    assert found.terminated[:-1].any() and not found.terminated[:-1].all()
    assert not found.truncated[:-1].any() and torch.equal(found.truncated[-1], ~found.terminated[-1])


def test_a_rollout_that_begins_again_has_no_memory():
    planner, replay = _planner(BOX, ends=0.0, **{"forward_model.architecture": "gru"})
    f = planner.forward_model
    found = planner.imagine(replay, torch.Generator().manual_seed(2))
    action, again = planner.policy.received(found.drawn), 0
    for e in range(6):
        hidden = f.initial_hidden(1)
        for t in range(5):
            if t and found.terminated[t - 1, e]:
                hidden, again = f.initial_hidden(1), again + 1
            with torch.no_grad():
                expected, _, hidden = f(found.obs[t, e][None], action[t, e][None], hidden)
            torch.testing.assert_close(found.next_obs[t, e], expected[0])
    assert again > 3


@pytest.mark.parametrize(("ends", "alive"), [(50.0, 0.0), (-50.0, 1.0)])
def test_the_share_of_rollouts_that_last(ends, alive):
    planner, replay = _planner(BOX, ends=ends)
    assert planner.improve(replay, EXPERT, 0.5, torch.Generator().manual_seed(2))["alive"] == alive


@both_kinds
def test_advantages_of_several_rollouts_by_hand(space):
    planner, replay = _planner(space, ends=-0.5)
    found = planner.imagine(replay, torch.Generator().manual_seed(3))
    buffer, policy = rollout_buffer(planner.agent, found), planner.agent.policy
    with torch.no_grad():
        V, V_next = (policy.predict_values(x.flatten(0, 1)).reshape(5, 6).double() for x in (found.obs, found.next_obs))
    assert V.std() > 0.05 and found.terminated.any() and not found.terminated.all()
    for e in range(6):
        following = 0.0
        for t in reversed(range(5)):
            over = bool(found.terminated[t, e])
            delta = found.reward[t, e].item() + (0.0 if over else GAMMA * V_next[t, e].item()) - V[t, e].item()
            following = delta + (0.0 if over else GAMMA * LAMBDA * following)
            assert buffer.advantages[t, e] == pytest.approx(following, rel=1e-3, abs=1e-4)
            assert buffer.returns[t, e] == pytest.approx(following + V[t, e].item(), rel=1e-3, abs=1e-4)


def test_imagined_states_are_kept_as_they_are_where_real_ones_are_integers():
    planner, replay = _planner(BOX)
    found = planner.imagine(replay, torch.Generator().manual_seed(2))
    planner.agent.observation_space = spaces.Box(0, 255, (3,), np.uint8)
    assert (found.obs < 0).any()
    buffer = rollout_buffer(planner.agent, found)
    np.testing.assert_array_equal(buffer.observations, found.obs)


@both_kinds
def test_planning_lowers_the_cost_and_leaves_the_rest_alone(space):
    values = {"planner.batch_size": 64, "planner.updates": 15}
    planner, replay = _planner(space, **values)
    with torch.no_grad():
        planner.discriminator.net[0].weight[:, :3] = 0  # only the actions' own cost can fall
    others = [planner.discriminator, planner.forward_model]
    before = [copy.deepcopy(module.state_dict()) for module in others]
    cost = -planner.imagine(replay, torch.Generator().manual_seed(4)).reward.mean().item()
    metrics = planner.improve(replay, EXPERT, 0.5, torch.Generator().manual_seed(5))
    assert metrics["cost_per_step"] < cost - 0.1
    assert 0 < metrics["kl"] <= 0.01 * 1.001
    assert 0 <= metrics["alive"] <= 1
    for module, kept in zip(others, before, strict=True):
        assert same(module.state_dict(), kept)
