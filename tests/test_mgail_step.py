"""MGAIL on recorded trajectories: it passes through the states that were, stops where episodes end, lowers the cost."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from dyna_ail.config import Config, make_config
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import ImitationPolicy, make_agent
from dyna_ail.learning.randomness import same
from dyna_ail.learning.replay import Transitions
from dyna_ail.learning.rollout import Segment
from dyna_ail.model_free.mgail import MGAILStep, Windows, windows

BOX = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 3], np.float32))
DISCRETE = spaces.Discrete(3)
both_kinds = pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
ENDS = (30, 31, 77)


def _phase(space: spaces.Space, **values: object) -> MGAILStep:
    config: Config = make_config(
        "mgail", discount=0.9, **{"discriminator.hidden": (16,), "forward_model.hidden": (16,), **values}
    )
    width = 2 if space is BOX else 3
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(width), np.ones(width))
    torch.manual_seed(0)
    agent = make_agent(spaces.Box(-np.inf, np.inf, (3,), np.float32), space, config, scaling, config.seed)
    D = Discriminator(scaling, config.discriminator, "gail")
    with torch.no_grad():
        D.net[-1].weight.normal_(std=2)
        agent.policy.action_net.weight.mul_(50)
    return MGAILStep(agent, D, ForwardModel(scaling, config.forward_model), config)


def _segment(policy: ImitationPolicy, n: int = 100) -> Segment:
    """A world that is not the model: the next state mixes the state and the action, episodes end at ``ENDS``."""
    g = torch.Generator().manual_seed(1)
    over, cut = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    over[[i for i in ENDS if i < n]] = True
    cut[50 % n] = True
    obs, rows = torch.randn(3, generator=g), []
    for t in range(n):
        with torch.no_grad():
            drawn = policy.reparameterise(obs[None], policy.noise((1,), g))[0]
            received = policy.received(drawn)
        next_obs = torch.tanh(obs.roll(1) + 0.3 * received.sum())
        rows.append((obs, received, next_obs, drawn))
        obs = torch.randn(3, generator=g) if over[t] or cut[t] else next_obs
    obs, action, next_obs, drawn = (torch.stack(column) for column in zip(*rows, strict=True))
    episode_start = torch.cat([torch.tensor([True]), (over | cut)[:-1]])
    return Segment(Transitions(obs, action, next_obs, over, cut), drawn, episode_start)


def _windows(phase: MGAILStep, segment: Segment, start: list[int] | range, length: int) -> Windows:
    g = torch.Generator().manual_seed(2)
    noise = phase.policy.infer_noise(segment.transitions.obs, segment.drawn, g)
    return windows(segment.transitions, noise, torch.tensor(start), length)


def test_windows_stop_where_an_episode_or_the_record_ends():
    phase = _phase(BOX)
    segment = _segment(phase.policy)
    found = _windows(phase, segment, [0, 28, 48, 97], 5)
    assert found.obs.shape == (5, 4, 3) and found.noise.shape == found.action.shape == (5, 4, 2)
    assert found.goes_on.T.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [1, 1, 0, 1, 1], [1, 1, 0, 0, 0]]
    assert torch.equal(found.next_obs[1, 2], segment.transitions.next_obs[49])


def _counts(found: Windows) -> Tensor:
    return torch.cat([torch.ones(1, found.obs.shape[1]), found.goes_on[:-1].cumprod(0)]).bool()


@both_kinds
@pytest.mark.parametrize("architecture", ["mlp", "gru"])
def test_it_passes_through_what_was_recorded(space, architecture):
    phase = _phase(space, **{"forward_model.architecture": architecture})
    found = _windows(phase, _segment(phase.policy), range(100), 8)
    again, counts = phase.follow(found), _counts(found)
    assert counts.sum() > 500
    torch.testing.assert_close(again.obs[:-1][counts], found.obs[counts], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again.action[counts], found.action[counts], rtol=1e-5, atol=1e-5)
    expected = phase.discriminator.cost(found.obs, found.action)
    torch.testing.assert_close(again.cost[counts], expected[counts], rtol=1e-3, atol=1e-4)


def test_it_bends_as_the_policy_moves():
    """The actions are those of the policy as it is now, with the noise that drew the recorded ones."""
    phase = _phase(BOX)
    found = _windows(phase, _segment(phase.policy), range(20), 3)
    with torch.no_grad():
        phase.policy.action_net.bias += 0.3
    again = phase.follow(found)
    hidden = phase.forward_model.initial_hidden(20)
    assert torch.equal(again.action[0], phase.policy.sample(found.obs[0], found.noise[0]))
    assert (again.action[0] - found.action[0]).abs().mean() > 0.05
    moved = phase.forward_model(found.obs[0], again.action[0], hidden)[0]
    expected = phase.forward_model(found.obs[0], found.action[0], hidden)[0]
    torch.testing.assert_close(again.obs[1] - found.next_obs[0], moved - expected, rtol=1e-4, atol=1e-6)


def test_the_noise_is_that_of_the_policy_that_drew_the_actions(monkeypatch):
    """Inferred anew after every step, it would leave the actions where they were, and D never see them move."""
    phase, seen = _phase(BOX), []
    segment = _segment(phase.policy)
    expected = phase.policy.infer_noise(segment.transitions.obs, segment.drawn, torch.Generator())
    monkeypatch.setattr(phase, "step", lambda found: seen.append(found.noise) or _move(phase))
    phase.update(segment, 0.0, torch.Generator().manual_seed(2))
    g = torch.Generator().manual_seed(2)
    starts = [torch.randint(100, (128,), generator=g) for _ in seen]
    for start, noise in zip(starts, seen, strict=True):
        assert torch.equal(noise[0], expected[start])


def _move(phase: MGAILStep) -> dict[str, float]:
    with torch.no_grad():
        phase.policy.action_net.bias += 0.1
    return {}


def test_what_follows_the_end_of_an_episode_does_not_count():
    phase = _phase(BOX)
    segment = _segment(phase.policy)
    found = _windows(phase, segment, [30], 6)  # ends at its first step
    (gradient,) = torch.autograd.grad(_cost(phase, found), [phase.policy.action_net.bias], retain_graph=False)
    alone = _windows(phase, segment, [30], 1)
    (expected,) = torch.autograd.grad(_cost(phase, alone), [phase.policy.action_net.bias])
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().max() > 1e-4


def test_the_cost_is_the_discounted_one_of_what_was_recorded():
    phase = _phase(BOX)
    segment = _segment(phase.policy)
    real, starts = segment.transitions, [20, 28, 48, 95]
    with torch.no_grad():
        paid = phase.discriminator.cost(real.obs, real.action).tolist()
    ends = [24, 30, 50, 99]  # the last step that counts: of the stretch, of an episode (twice), of the record
    expected = [sum(0.9**k * c for k, c in enumerate(paid[s : e + 1])) for s, e in zip(starts, ends, strict=True)]
    metrics = phase.step(_windows(phase, segment, starts, 5))
    assert metrics["cost"] == pytest.approx(np.mean(expected), rel=1e-4)


def _cost(phase: MGAILStep, found: Windows) -> Tensor:
    from dyna_ail.learning.unroll import cost_to_go

    return cost_to_go(phase.follow(found), phase.discount)[0].mean()


@both_kinds
def test_updates_lower_the_cost_and_change_the_actor_alone(space):
    phase = _phase(space, **{"model_free.horizon": 3, "model_free.batch_size": 32})
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():  # only the actions' own cost can fall
        phase.discriminator.net[0].weight[:, :3] = 0
    before = copy.deepcopy([phase.discriminator.state_dict(), phase.forward_model.state_dict()])
    value = copy.deepcopy(phase.policy.value_net.state_dict())

    def cost() -> float:
        real = _segment(phase.policy).transitions
        with torch.no_grad():
            return phase.discriminator.cost(real.obs, real.action).mean().item()

    start = cost()
    for _ in range(5):
        metrics = phase.update(_segment(phase.policy), 0.5, g)
    assert cost() < start - 0.1
    assert metrics["grad_norm"] > 0
    for module, kept in zip((phase.discriminator, phase.forward_model), before, strict=True):
        assert same(module.state_dict(), kept)
    assert all(torch.equal(v, value[name]) for name, v in phase.policy.value_net.state_dict().items())


def test_the_rate_fades_with_the_budget():
    phase = _phase(BOX, **{"model_free.final_learning_rate": 0.0, "model_free.updates": 1})
    g = torch.Generator().manual_seed(3)
    phase.update(_segment(phase.policy), 0.75, g)
    assert phase.optimizer.param_groups[0]["lr"] == pytest.approx(0.25 * 3e-4)
