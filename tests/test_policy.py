"""The reparameterised policy: both kinds of sampling against their definitions, and the saved policy.zip."""

from __future__ import annotations

import io
import math
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO

from dyna_ail.config import make_config
from dyna_ail.errors import InputError
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.policy import ImitationPolicy, load_policy, make_agent, straight_through

OBS_SPACE = spaces.Box(-np.inf, np.inf, (4,), np.float64)
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([1, 4], np.float32))
DISCRETE = spaces.Discrete(3)
CONFIG = make_config(**{"policy.initial_std": 0.5, "policy.temperature": 0.7})


def _agent(action_space: spaces.Space, seed: int = 0) -> TRPO:
    rng = np.random.default_rng(seed)
    expert_obs = rng.normal([3, -1, 0, 50], [1, 2, 0.001, 10], size=(100, 4)).astype(np.float32)
    torch.manual_seed(seed)
    agent = make_agent(OBS_SPACE, action_space, CONFIG, Scaling.of(expert_obs, action_space, 0.05), CONFIG.seed)
    with torch.no_grad():  # SB3 starts with a tiny last layer; a policy that ignores its input would hide errors
        agent.policy.action_net.weight.mul_(150)
    return agent


def _obs(n: int, seed: int = 7) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal([3, -1, 0, 50], [1, 2, 0.1, 10], size=(n, 4)), dtype=torch.float32)


def _policy(action_space: spaces.Space) -> ImitationPolicy:
    policy = _agent(action_space).policy
    assert isinstance(policy, ImitationPolicy)
    return policy


# --- Gumbel-softmax, MGAIL Section 3.2.2 ---


def test_straight_through_forward_is_the_gumbel_max():
    g = torch.Generator().manual_seed(0)
    logits, gumbel = torch.randn(500, 5, generator=g), -torch.empty(500, 5).exponential_(generator=g).log()
    got = straight_through(logits, gumbel, 0.3)
    choice = (gumbel + torch.log_softmax(logits, -1)).argmax(-1)
    assert torch.equal(got, torch.eye(5)[choice]), "exactly one-hot, at argmax of g + log pi"
    assert len(choice.unique()) == 5


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_straight_through_backward_is_the_softmax(temperature):
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 4, generator=g, dtype=torch.float64).requires_grad_()
    gumbel = -torch.empty(6, 4, dtype=torch.float64).exponential_(generator=g).log()
    upstream = torch.randn(6, 4, generator=g, dtype=torch.float64)
    (got,) = torch.autograd.grad(straight_through(logits, gumbel, temperature), logits, upstream)
    for row in range(6):
        pi = torch.exp(logits[row]) / torch.exp(logits[row]).sum()
        y = torch.exp((gumbel[row] + pi.log()) / temperature)
        y = (y / y.sum()).detach()
        d_soft = (torch.diag(y) - torch.outer(y, y)) / temperature  # by g + log pi
        d_log_pi = torch.eye(4, dtype=torch.float64) - pi.detach()  # of log pi by the logits
        torch.testing.assert_close(got[row], upstream[row] @ d_soft @ d_log_pi, rtol=1e-10, atol=1e-12)


def test_samples_follow_the_categorical():
    policy, n = _policy(DISCRETE), 40_000
    obs = _obs(1).expand(n, 4)
    with torch.no_grad():
        drawn = policy.sample(obs, policy.noise((n,), torch.Generator().manual_seed(2)))
        p = torch.softmax(policy.head(obs[:1]), -1)[0]
    assert p.min() > 0.01 and p.max() - p.min() > 0.05, "the probabilities must differ for the test to mean something"
    chi_square = ((drawn.sum(0) - n * p).square() / (n * p)).sum().item()
    assert chi_square < 18.4, "chi-square with 2 degrees of freedom exceeds this once in 10,000"


def test_likelihood_of_a_choice_is_that_of_sb3():
    policy, obs = _policy(DISCRETE), _obs(30)
    action = torch.arange(30) % 3
    _, log_prob, _ = policy.evaluate_actions(obs, action)
    expected = torch.log_softmax(policy.head(obs), -1)[torch.arange(30), action]
    torch.testing.assert_close(log_prob, expected, rtol=1e-5, atol=1e-6)


# --- Gaussian, MGAIL Section 3.2.1 ---


def test_gaussian_is_mean_plus_std_times_noise():
    policy, obs = _policy(BOX), _obs(50)
    noise = policy.noise((50,), torch.Generator().manual_seed(3))
    drawn = policy.reparameterise(obs, noise)
    distribution = policy.get_distribution(obs).distribution
    torch.testing.assert_close(drawn, distribution.mean + distribution.stddev * noise)
    _, log_prob, _ = policy.evaluate_actions(obs, drawn)
    by_hand = -0.5 * noise.square() - policy.log_std - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(log_prob, by_hand.sum(-1), rtol=1e-4, atol=1e-4)


def test_noise_is_standard():
    g = torch.Generator().manual_seed(4)
    normal, gumbel = _policy(BOX).noise((20_000,), g), _policy(DISCRETE).noise((20_000,), g)
    assert normal.shape == (20_000, 2) and gumbel.shape == (20_000, 3)
    assert normal.mean().abs() < 4 / math.sqrt(40_000) and abs(normal.var() - 1) < 4 * math.sqrt(2 / 40_000)
    sigma = math.pi / math.sqrt(6)  # of the Gumbel, whose mean is Euler's constant
    assert abs(gumbel.mean() - 0.57722) < 4 * sigma / math.sqrt(60_000)


def test_mean_keeps_to_the_bounds_and_starts_as_configured():
    policy, obs = _policy(BOX), _obs(200)
    low, high = torch.as_tensor(BOX.low), torch.as_tensor(BOX.high)
    # Half the range is 1.5 and 2.
    torch.testing.assert_close(policy.log_std.exp(), torch.tensor([0.5 * 1.5, 0.5 * 2]))
    torch.testing.assert_close(
        policy.get_distribution(obs).distribution.mean,
        torch.tensor([-0.5, 2]) + torch.tensor([1.5, 2]) * torch.tanh(policy.head(obs)),
    )
    with torch.no_grad():
        policy.action_net.weight.mul_(1e4)
    mean = policy.get_distribution(obs).distribution.mean
    assert (mean >= low - 1e-6).all() and (mean <= high + 1e-6).all()
    torch.testing.assert_close(mean.amax(0), high)  # reached: the bounds are the space's own, asymmetric as they are
    torch.testing.assert_close(mean.amin(0), low)


def test_sample_is_the_clipped_draw():
    policy, obs = _policy(BOX), _obs(300)
    noise = 3 * policy.noise((300,), torch.Generator().manual_seed(5))
    drawn, received = policy.reparameterise(obs, noise), policy.sample(obs, noise)
    expected = np.clip(drawn.detach().numpy(), BOX.low, BOX.high)
    np.testing.assert_allclose(received.detach().numpy(), expected, rtol=1e-6)
    assert (drawn != received).float().mean() > 0.1 and (drawn == received).float().mean() > 0.1
    inside = drawn == received
    (slope,) = torch.autograd.grad(received.sum(), policy.log_std)
    torch.testing.assert_close(slope, (policy.log_std.exp() * noise * inside).sum(0), rtol=1e-4, atol=1e-4)


def test_deterministic_prediction():
    box, discrete, obs = _policy(BOX), _policy(DISCRETE), _obs(20)
    action, _ = box.predict(obs.numpy(), deterministic=True)
    np.testing.assert_allclose(action, box.get_distribution(obs).distribution.mean.detach().numpy(), rtol=1e-5)
    choice, _ = discrete.predict(obs.numpy(), deterministic=True)
    np.testing.assert_array_equal(choice, discrete.head(obs).argmax(-1).numpy())


def test_observations_are_scaled_inside():
    policy = _policy(BOX)
    features = policy.extract_features(_obs(20_000))
    np.testing.assert_allclose(features[:, [0, 1, 3]].mean(0).tolist(), 0, atol=0.5)
    np.testing.assert_allclose(features[:, [0, 1, 3]].std(0).tolist(), 1, atol=0.2)
    # Component 2 hardly varied in the demonstrations: divided by the floor 0.05, not by its own 0.001.
    assert features[:, 2].std().item() == pytest.approx(0.1 / 0.05, rel=0.05)
    assert policy.extract_features(torch.full((1, 4), 1e6)).tolist() == [[10.0] * 4]


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
def test_actor_parameters_are_all_that_the_action_depends_on(space):
    policy = _policy(space)
    out = policy.reparameterise(_obs(5), torch.ones(5, policy.encoded_dim)) @ torch.arange(1.0, 1 + policy.encoded_dim)
    slopes = torch.autograd.grad(out.sum(), policy.actor_parameters())  # raises if one is not used
    assert all(slope.abs().sum() > 0 for slope in slopes)
    others = {id(p) for p in policy.parameters()} - {id(p) for p in policy.actor_parameters()}
    value = policy.predict_values(_obs(5)).sum()
    needed = [p for p in policy.parameters() if id(p) in others]
    assert needed and all(slope is not None for slope in torch.autograd.grad(value, needed))


# --- policy.zip ---


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
def test_saved_policy_acts_the_same(space, tmp_path):
    agent, obs = _agent(space), _obs(100).numpy().astype(np.float64)
    agent.save(tmp_path / "policy.zip")
    expected, _ = agent.policy.predict(obs, deterministic=True)
    assert len(np.unique(expected, axis=0)) > 1, "the actions must differ for the test to mean something"
    by_sb3, _ = TRPO.load(tmp_path / "policy.zip").predict(obs, deterministic=True)
    np.testing.assert_array_equal(by_sb3, expected)
    torch.manual_seed(99)  # other initial weights, all to be overwritten
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    loaded = load_policy(tmp_path / "policy.zip", OBS_SPACE, space, CONFIG)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]  # noqa: NPY002
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    for name, weight in agent.policy.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name


def test_the_policy_alone_can_be_saved_too(tmp_path):
    policy, obs = _policy(DISCRETE), _obs(40)
    policy.save(tmp_path / "alone.pt")
    loaded = ImitationPolicy.load(tmp_path / "alone.pt")
    assert torch.equal(loaded.head(obs), policy.head(obs))
    assert (loaded.temperature, loaded.initial_std) == (0.7, 0.5), "not the defaults"


def test_a_file_that_holds_no_policy_of_the_run(tmp_path):
    path = tmp_path / "policy.zip"
    with pytest.raises(InputError, match="policy.zip"):
        load_policy(path, OBS_SPACE, BOX, CONFIG)
    path.write_bytes(b"not an archive")
    with pytest.raises(InputError, match="policy.zip"):
        load_policy(path, OBS_SPACE, BOX, CONFIG)
    _agent(BOX).save(path)
    with pytest.raises(InputError, match="policy.zip"):
        load_policy(path, OBS_SPACE, DISCRETE, CONFIG)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="policy.zip"):
        load_policy(path, OBS_SPACE, BOX, CONFIG)


# --- inferring the noise, MGAIL Algorithm 1 lines 9-15 ---


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["box", "discrete"])
def test_the_inferred_noise_draws_the_recorded_action(space):
    policy, obs, g = _policy(space), _obs(400), torch.Generator().manual_seed(0)
    with torch.no_grad():
        noise = policy.noise((400,), g)
        drawn = policy.reparameterise(obs, noise)
        found = policy.infer_noise(obs, drawn, g)
        torch.testing.assert_close(policy.reparameterise(obs, found), drawn, rtol=1e-5, atol=1e-5)
    if space is BOX:
        torch.testing.assert_close(found, noise, rtol=1e-4, atol=1e-4)
    else:
        assert len(drawn.argmax(-1).unique()) == 3


def test_the_inferred_gumbel_noise_is_gumbel_noise():
    """Over actions drawn by the policy the posterior of the noise averages to its prior: independent Gumbels."""
    policy, g = _policy(DISCRETE), torch.Generator().manual_seed(1)
    obs = _obs(1).expand(200_000, -1)
    with torch.no_grad():
        drawn = policy.reparameterise(obs, policy.noise((len(obs),), g))
        found = policy.infer_noise(obs, drawn, g)
    shares = drawn.mean(0)
    assert shares.min() > 0.02 and shares.max() < 0.9, "every action must be drawn"
    torch.testing.assert_close(found.mean(0), torch.full((3,), 0.5772), rtol=0, atol=0.015)
    torch.testing.assert_close(found.var(0), torch.full((3,), math.pi**2 / 6), rtol=0, atol=0.03)
    torch.testing.assert_close(torch.corrcoef(found.T), torch.eye(3), rtol=0, atol=0.01)


class Touch:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_hostile_file_runs_nothing_and_fills_nothing(tmp_path):
    """Payloads in the weights, a path that leads out, and bombs, also within the weights' own archive."""
    inside, path, trace = tmp_path / "inside", tmp_path / "inside" / "policy.zip", tmp_path / "trace"
    inside.mkdir()
    zeros, payload, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(1 << 20)}, zeros)
    torch.save({"weight": Touch(trace)}, payload)
    with zipfile.ZipFile(zeros) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    for content, message in [
        (payload.getvalue(), "Weights only load failed"),
        (pickle.dumps(Touch(trace)), "Weights only load failed"),
        (packed.getvalue(), "its tensors unpack to more than their size"),
        (bytes(100 << 20), "unpacks to more than 64 MiB"),
    ]:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("policy.pth", content)
            archive.writestr("../trace", b"")
        with pytest.raises(InputError, match=message):
            load_policy(path, OBS_SPACE, BOX, CONFIG)
    assert not trace.exists() and list(inside.iterdir()) == [path]
