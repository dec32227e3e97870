"""The forward model: Eq. 5 by hand, known systems learned, errors by depth, ensembles and memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyna_ail.config.learner import ForwardModelConfig
from dyna_ail.learning.forward_model import ForwardModel, GRUDynamics, MLPDynamics
from dyna_ail.learning.networks import Scaling
from dyna_ail.learning.replay import ReplayBuffer, Transitions

A = torch.tensor([[0.95, 0.1, 0.0], [-0.1, 0.9, 0.05], [0.0, 0.0, 0.8]])
B = torch.tensor([[0.0, 0.1], [0.2, 0.0], [0.3, -0.3]])


def _scaling(obs_std: list[float], action_dim: int) -> Scaling:
    return Scaling(np.zeros(len(obs_std)), np.array(obs_std), np.zeros(action_dim), np.ones(action_dim))


def _model(seed: int = 0, obs_dim: int = 3, action_dim: int = 2, **config: object) -> ForwardModel:
    torch.manual_seed(seed)
    return ForwardModel(_scaling([1.0] * obs_dim, action_dim), ForwardModelConfig(**config))  # type: ignore[arg-type]


def _linear_system(episodes: int, length: int, seed: int, ends_above: float = math.inf) -> Transitions:
    """Episodes of ``s' = A s + B a``, cut after ``length`` steps or over once ``s'_0 > ends_above``."""
    g = torch.Generator().manual_seed(seed)
    rows: list[tuple[Tensor, Tensor, Tensor, bool, bool]] = []
    for _ in range(episodes):
        obs = torch.randn(3, generator=g)
        for t in range(length):
            action = torch.rand(2, generator=g) * 2 - 1
            next_obs = A @ obs + B @ action
            over = bool(next_obs[0] > ends_above)
            rows.append((obs, action, next_obs, over, t == length - 1 and not over))
            obs = next_obs
            if over:
                break
    obs, action, next_obs, terminated, truncated = zip(*rows, strict=True)
    stacked = (torch.stack(x) for x in (obs, action, next_obs))
    return Transitions(*stacked, torch.tensor(terminated), torch.tensor(truncated))


def _buffer(data: Transitions) -> ReplayBuffer:
    replay = ReplayBuffer(len(data), data.obs.shape[-1], data.action.shape[-1])
    replay.add(data)
    return replay


class Stub(nn.Module):
    """A member that answers ``change(obs, action)`` with continuation logit ``logit``; it has no memory."""

    def __init__(self, change, logit: float = 0.0) -> None:
        super().__init__()
        self.change, self.logit, self.hidden_dim = change, logit, 0

    def forward(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        change = self.change(obs, action)
        return torch.cat([change, torch.full_like(change[..., :1], self.logit)], -1), hidden


def _exact(obs: Tensor, action: Tensor) -> Tensor:
    return obs @ A.T + action @ B.T - obs


# --- Eq. 5 ---


def test_loss_by_hand():
    model = _model()
    model.members = nn.ModuleList([Stub(lambda s, a: torch.tensor([1.0, 0.0, -2.0]).expand_as(s), logit=0.7)])
    model.change_mean.copy_(torch.tensor([0.5, 0.0, 0.0]))
    model.change_std.copy_(torch.tensor([2.0, 1.0, 0.5]))
    obs = torch.zeros(2, 2, 3)
    next_obs = torch.tensor([[[2.5, 0, -1], [0.5, 3, -1]], [[4.5, 0, 0], [9, 9, 9]]])  # [L=2, B=2]
    terminated = torch.tensor([[False, True], [False, False]])
    run = Transitions(obs, torch.zeros(2, 2, 2), next_obs, terminated, torch.zeros_like(terminated))
    mask = torch.tensor([[1.0, 1], [1, 0]])
    # Normalised changes: (1, 0, -2), (0, 3, -2), (2, 0, 0); squared errors 0, 1 + 9, 1 + 4.
    squared = 0.5 * (0 + 10 + 5) / 3
    on = 1 / (1 + math.exp(-0.7))
    ending = -(math.log(on) + math.log(1 - on) + math.log(on)) / 3
    loss, metrics = model.loss(run, mask)
    assert metrics["loss"] == pytest.approx(squared, rel=1e-6)
    assert metrics["continuation_loss"] == pytest.approx(ending, rel=1e-6)
    assert loss.item() == pytest.approx(squared + ending, rel=1e-6)


def test_step_adds_the_predicted_change():
    model = _model()
    model.members = nn.ModuleList([Stub(lambda s, a: torch.ones_like(s), logit=0.7)])
    model.change_mean.copy_(torch.tensor([0.5, 0.0, 0.0]))
    model.change_std.copy_(torch.tensor([2.0, 1.0, 0.5]))
    model.high.copy_(torch.tensor([100.0, 100.0, 10.2]))
    next_obs, goes_on, _ = model(torch.tensor([[1.0, 2.0, 10.0]]), torch.zeros(1, 2), model.initial_hidden(1))
    torch.testing.assert_close(next_obs, torch.tensor([[3.5, 3.0, 10.2]]))  # the last one is held at the data's range
    assert goes_on.item() == pytest.approx(1 / (1 + math.exp(-0.7)))


def test_measures_the_buffer():
    model = _model(hidden=(4,), min_updates=1, max_updates=1)
    obs = torch.tensor([[0.0, 0, 5], [1.0, 0, 5], [2.0, 0, 5], [10.0, 0, 5]])
    next_obs = obs + torch.tensor([[1.0, 0, 0], [1, 0, 0], [2, 0, 0], [-4, 0, 0]])
    never = torch.zeros(4, dtype=torch.bool)
    model.fit(_buffer(Transitions(obs, torch.zeros(4, 2), next_obs, never, never)), torch.Generator())
    assert model.change_mean.tolist() == [0, 0, 0]
    assert model.change_std[0].item() == pytest.approx(math.sqrt((1 + 1 + 4 + 16) / 4))
    assert model.change_std[1] > 0, "a component that never changes must not be divided by zero"
    # next states 1, 2, 4, 6: their range widened by 20% on each side, and states themselves, 0 to 10.
    assert model.low.tolist() == [-1, 0, 5] and model.high.tolist() == [11, 0, 5]


def test_number_of_updates_follows_the_buffer():
    data = _linear_system(10, 10, 0)
    for epochs, expected in ((2.0, 20), (0.1, 3), (50.0, 30)):
        model = _model(hidden=(4,), batch_size=10, epochs=epochs, min_updates=3, max_updates=30)
        assert model.fit(_buffer(data), torch.Generator())["updates"] == expected
    sequences = _model(
        hidden=(4,), batch_size=10, epochs=10.0, min_updates=3, max_updates=99, architecture="gru", sequence=5
    )
    assert sequences.fit(_buffer(data), torch.Generator())["updates"] == 20, "of five transitions each"


# --- known systems ---


def test_learns_a_linear_system():
    config = {"hidden": (64, 64), "min_updates": 400, "max_updates": 400, "batch_size": 256}
    model, held_out = _model(**config), _linear_system(20, 12, seed=2)
    before = model.errors_by_depth(held_out, 5)
    replay, g = _buffer(_linear_system(200, 12, seed=1)), torch.Generator().manual_seed(0)
    for rate in (3e-3, 1e-3, 1e-4):
        model.optimizer.param_groups[0]["lr"] = rate
        metrics = model.fit(replay, g)
    after = model.errors_by_depth(held_out, 5)
    assert metrics["loss"] < 1e-3, "of an initial 1.5: half the number of components"
    assert max(after) < 0.02 and max(after) < 0.05 * min(before)
    assert after[0] < after[4], "errors add up"


def test_learns_where_episodes_end():
    model = _model(hidden=(64, 64), min_updates=500, max_updates=500)
    model.fit(_buffer(_linear_system(400, 10, seed=1, ends_above=0.6)), torch.Generator().manual_seed(0))
    data = _linear_system(150, 10, seed=2, ends_above=0.6)
    clear = (data.next_obs[:, 0] - 0.6).abs() > 0.1
    with torch.no_grad():
        _, goes_on, _ = model(data.obs, data.action, model.initial_hidden(len(data)))
    right = (goes_on > 0.5) == ~data.terminated
    assert data.terminated[clear].sum() > 30
    assert right[clear & data.terminated].float().mean() > 0.95
    assert right[clear & ~data.terminated].float().mean() > 0.95


# --- held-out error by depth ---


def test_an_exact_model_has_no_error():
    model = _model()
    model.members = nn.ModuleList([Stub(_exact)])
    assert model.errors_by_depth(_linear_system(4, 8, 0), 8) == pytest.approx([0] * 8, abs=1e-5)


def _episodes(*lengths: int, terminated: tuple[int, ...] = ()) -> Transitions:
    """Episodes far apart in state, so that imagining across a reset could not go unnoticed; actions 1, 2, 3, ..."""
    obs = torch.cat([torch.arange(n) + 1000.0 * i for i, n in enumerate(lengths)])[:, None].expand(-1, 2)
    last = torch.cat([torch.arange(n) == n - 1 for n in lengths])
    over = torch.cat([torch.full((n,), i in terminated) for i, n in enumerate(lengths)])
    action = torch.arange(1.0, 1 + len(obs))[:, None]
    return Transitions(obs, action, obs + 1, last & over, last & ~over)


def _errors_by_loop(data: Transitions, depth: int, drift_at: list[float], std: list[float]) -> list[float]:
    """The definition: from every start, add up the drift of each step; both components drift alike."""
    ended = data.terminated | data.truncated
    errors: list[list[float]] = [[] for _ in range(depth)]
    for start in range(len(data)):
        drift = 0.0
        for d in range(depth):
            if start + d >= len(data) or ended[start : start + d].any():
                break
            drift += drift_at[start + d]
            errors[d].append(math.sqrt(sum((drift / s) ** 2 for s in std) / len(std)))
    return [sum(e) / len(e) if e else math.nan for e in errors]


def test_errors_by_depth_by_hand():
    # The model's error in one step is a hundredth of the action. Scaled by 1 and 4.
    model = ForwardModel(_scaling([1.0, 4.0], 1), ForwardModelConfig())
    model.members = nn.ModuleList([Stub(lambda s, a: 1 + 0.01 * a.expand(-1, 2))])
    data = _episodes(4, 1, 3, terminated=(0, 1))
    got = model.errors_by_depth(data, 5)
    assert got == pytest.approx(
        _errors_by_loop(data, 5, (0.01 * data.action[:, 0]).tolist(), [1.0, 4.0]), rel=1e-3, nan_ok=True
    )
    # Depth 3, say: starts 0, 1 (actions 1 2 3 and 2 3 4) and 5 (6 7 8).
    expected = 0.01 * (6 + 9 + 21) / 3 * math.sqrt((1 + 1 / 16) / 2)
    assert got[2] == pytest.approx(expected, rel=1e-3)
    assert math.isnan(got[4])


def test_the_record_may_end_within_an_episode():
    model = ForwardModel(_scaling([1.0, 1.0], 1), ForwardModelConfig())
    model.members = nn.ModuleList([Stub(lambda s, a: 1 + 0.01 * a.expand(-1, 2))])
    whole = _episodes(3, 4, terminated=(0,))
    data = whole[torch.arange(6)]  # the second episode goes on
    assert model.errors_by_depth(data, 4) == pytest.approx(
        _errors_by_loop(data, 4, (0.01 * data.action[:, 0]).tolist(), [1.0, 1.0]), rel=1e-3, nan_ok=True
    )


@pytest.mark.parametrize("architecture", ["mlp", "gru"])
def test_depths_that_no_episode_reaches(architecture):
    model = _model(architecture=architecture, hidden=(8, 8))
    errors = model.errors_by_depth(_linear_system(3, 2, 0), 4)
    assert [math.isnan(e) for e in errors] == [False, False, True, True]


# --- ensembles ---


def _constant_members(*changes: float) -> nn.ModuleList:
    return nn.ModuleList(Stub(lambda s, a, c=c: torch.full_like(s, c), logit=c) for c in changes)


def test_row_blocks_go_to_the_members_in_turn():
    model = _model(ensemble=3)
    model.members = _constant_members(1.0, 2.0, 3.0)
    next_obs, goes_on, _ = model(torch.zeros(6, 3), torch.zeros(6, 2), model.initial_hidden(6))
    assert next_obs[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(goes_on, torch.sigmoid(next_obs[:, 0]))


@pytest.mark.parametrize("architecture", ["mlp", "gru"])
def test_members_are_apart(architecture):
    model = _model(ensemble=3, architecture=architecture, hidden=(8, 8))
    g = torch.Generator().manual_seed(0)
    obs, action = torch.randn(9, 3, generator=g), torch.randn(9, 2, generator=g)
    hidden = torch.randn(9, model.initial_hidden(1).shape[1], generator=g)
    out, memory = model.predict(obs, action, hidden)
    for k, member in enumerate(model.members):
        rows = slice(3 * k, 3 * k + 3)
        alone, alone_memory = member(obs[rows], action[rows], hidden[rows])
        torch.testing.assert_close(out[rows], alone)
        torch.testing.assert_close(memory[rows], alone_memory)
    slopes = torch.autograd.grad(out[3:6].sum(), list(model.parameters()), allow_unused=True)
    touched = {id(p) for p, slope in zip(model.parameters(), slopes, strict=True) if slope is not None and slope.any()}
    assert touched <= {id(p) for p in model.members[1].parameters()} and touched


def test_every_member_of_an_ensemble_learns():
    model = _model(ensemble=3, hidden=(32,), min_updates=300, max_updates=300, batch_size=64, learning_rate=3e-3)
    model.fit(_buffer(_linear_system(100, 10, seed=1)), torch.Generator().manual_seed(0))
    held_out = _linear_system(20, 10, seed=2)
    target = (held_out.next_obs - held_out.obs - model.change_mean) / model.change_std
    outs = [m(held_out.obs, held_out.action, model.initial_hidden(1))[0][:, :-1] for m in model.members]
    assert all((out - target).square().mean() < 0.05 for out in outs)
    assert not torch.allclose(outs[0], outs[1]), "members start and train apart"


def test_a_rollout_keeps_its_member():
    # Member 0 is exact, member 1 is off by 1 a step. Starts 0-3 belong to member 0, starts 4-7 to member 1.
    model = ForwardModel(_scaling([1.0, 1.0], 1), ForwardModelConfig(ensemble=2))
    model.members = _constant_members(1.0, 2.0)
    errors = model.errors_by_depth(_episodes(1, 1, 1, 5), 3)
    # Depth 2: start 3 is exact and 4, 5, 6 are off by 2. Depth 3: 3 exact and 4, 5 off by 3.
    assert errors == pytest.approx([4 / 8, 6 / 4, 6 / 3])


# --- architectures ---


@pytest.mark.parametrize(("architecture", "kind"), [("mlp", MLPDynamics), ("gru", GRUDynamics)])
def test_architectures(architecture, kind):
    model = _model(architecture=architecture, hidden=(16, 8), sequence=4, min_updates=60, max_updates=60)
    assert isinstance(model.members[0], kind)
    replay, g = _buffer(_linear_system(50, 10, seed=1)), torch.Generator().manual_seed(0)
    first = model.fit(replay, g)["loss"]
    assert model.fit(replay, g)["loss"] < first


def test_gru_multiplies_its_encoders():
    """MGAIL Section 3.5: recurrent state encoder, action encoder, their Hadamard product, decoder."""
    member = _model(architecture="gru", hidden=(6, 5)).members[0]
    g = torch.Generator().manual_seed(0)
    obs, action, hidden = (torch.randn(4, n, generator=g) for n in (3, 2, 6))
    out, memory = member(obs, action, hidden)
    cell = member.state_encoder
    gates_x = obs @ cell.weight_ih.T + cell.bias_ih
    gates_h = hidden @ cell.weight_hh.T + cell.bias_hh
    (r_x, z_x, n_x), (r_h, z_h, n_h) = gates_x.chunk(3, -1), gates_h.chunk(3, -1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    by_hand = (1 - z) * torch.tanh(n_x + r * n_h) + z * hidden
    torch.testing.assert_close(memory, by_hand, rtol=1e-5, atol=1e-6)
    a1, _, a2 = member.action_encoder
    d1, _, d2 = member.decoder
    encoded = by_hand * a2(F.silu(a1(action)))
    torch.testing.assert_close(out, d2(F.silu(d1(encoded))), rtol=1e-5, atol=1e-6)


def test_memory_sees_a_hidden_velocity():
    """The state shows a position, its velocity differs from episode to episode: two positions tell it, one cannot."""

    def data(seed: int) -> Transitions:
        g = torch.Generator().manual_seed(seed)
        speed = torch.randn(300, 1, generator=g)
        start = torch.randn(300, 1, generator=g)
        position = (start + speed * torch.arange(6.0) * 0.5).reshape(-1, 1)  # 300 episodes of 6
        step = (0.5 * speed).expand(300, 6).reshape(-1, 1)
        last = torch.arange(1800) % 6 == 5
        return Transitions(position, torch.ones(1800, 1), position + step, torch.zeros_like(last), last)

    def error_of_the_third_step(architecture: str) -> float:
        model = _model(
            obs_dim=1, action_dim=1, architecture=architecture, hidden=(32, 32), sequence=4, learning_rate=3e-3
        )
        model.config = ForwardModelConfig(
            architecture=architecture, sequence=4, batch_size=128, min_updates=500, max_updates=500
        )
        model.fit(_buffer(data(0)), torch.Generator().manual_seed(0))
        episodes = data(1)
        run = Transitions(
            *(
                getattr(episodes, f).reshape(300, 6, *getattr(episodes, f).shape[1:]).transpose(0, 1)[:3]
                for f in ("obs", "action", "next_obs", "terminated", "truncated")
            )
        )
        mask = torch.zeros(3, 300)
        mask[2] = 1
        return model.loss(run, mask)[1]["loss"]

    mlp, gru = error_of_the_third_step("mlp"), error_of_the_third_step("gru")
    assert mlp > 0.1 and gru < 0.25 * mlp
