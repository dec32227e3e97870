"""How far the phases move the policy, against steps and divergences in closed form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dyna_ail.config import make_config
from dyna_ail.learning import phases as module
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.phases import Phases
from dyna_ail.learning.policy import ImitationPolicy, make_agent

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)


def _policy(space: spaces.Space) -> ImitationPolicy:
    width = 2 if isinstance(space, spaces.Box) else 3
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(width), np.ones(width))
    agent = make_agent(OBS, space, make_config(), scaling, seed=0)
    policy = agent.policy
    assert isinstance(policy, ImitationPolicy)
    return policy


def test_cosine_and_ratio_of_known_steps(monkeypatch):
    clock = iter([10.0, 11.0, 11.5, 13.5, 14.0, 18.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    policy = _policy(spaces.Box(-1, 1, (2,), np.float32))
    bias = policy.action_net.bias
    phases = Phases(policy, torch.randn(5, 3))
    with torch.no_grad():
        with phases.measure("model_free"):
            bias.add_(torch.tensor([0.3, 0.0]))
        with phases.measure("model"):
            pass
        with phases.measure("planner"):
            bias.add_(torch.tensor([0.3, 0.4]) * 3)
    found = phases.metrics()
    assert found["steps_cosine"] == pytest.approx(0.6, abs=1e-3)
    assert found["steps_ratio"] == pytest.approx(5, rel=1e-3)
    assert phases.seconds == {"model_free": 1.0, "model": 2.0, "planner": 4.0}


def test_divergence_of_a_gaussian_whose_deviation_doubles():
    policy = _policy(spaces.Box(-1, 1, (2,), np.float32))
    phases = Phases(policy, torch.randn(5, 3))
    with phases.measure("model_free"):
        pass
    with phases.measure("planner"), torch.no_grad():
        policy.log_std.add_(np.log(2))
    found = phases.metrics()
    assert found["planner_kl"] == pytest.approx(2 * (np.log(2) + 1 / 8 - 1 / 2), rel=1e-4)  # both components
    assert found["model_free_kl"] == 0
    assert np.isnan(found["steps_cosine"]) and np.isnan(found["steps_ratio"])  # one phase did not move


def test_divergence_of_a_categorical():
    policy = _policy(spaces.Discrete(3))
    with torch.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias.zero_()
    phases = Phases(policy, torch.randn(4, 3))
    with phases.measure("model_free"):
        pass
    with phases.measure("planner"), torch.no_grad():
        policy.action_net.bias.copy_(torch.tensor([0.5, 0.25, 0.25]).log())
    expected = np.log(1 / 3) - (np.log(0.5) + 2 * np.log(0.25)) / 3
    assert phases.metrics()["planner_kl"] == pytest.approx(expected, rel=1e-4)
