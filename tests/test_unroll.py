"""The unroll and its gradient against MGAIL Eqs. 12-13, written out as the recursion that the paper prints."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dyna_ail.learning.unroll import Unroll, cost_to_go, unroll

HORIZON, BATCH, OBS, ACT, GAMMA = 7, 3, 3, 2, 0.9


@dataclass
class Toy:
    """A nonlinear policy, D, f, continuation and critic on ``obs [3]``, ``action [2]``, in float64.

    The policy's parameters are one vector ``theta``, so that its Jacobian is a plain matrix.
    """

    theta: Tensor
    w: Tensor
    stop: bool

    @staticmethod
    def make(stop: bool) -> Toy:
        g = torch.Generator().manual_seed(3)
        n = ACT * OBS + 2 * ACT
        theta = torch.randn(n, generator=g, dtype=torch.float64) * 0.5
        return Toy(theta, torch.randn(12, OBS, generator=g, dtype=torch.float64) * 0.4, stop)

    def policy(self, theta: Tensor, obs: Tensor, xi: Tensor) -> Tensor:
        weight, bias, log_std = theta.split([ACT * OBS, ACT, ACT])
        return torch.tanh(obs @ weight.reshape(ACT, OBS).T + bias) * (1 + 0.2 * obs[..., :1]) + log_std.exp() * xi

    def cost(self, obs: Tensor, action: Tensor) -> Tensor:
        x = (obs * self.w[0]).sum(-1) + (action * self.w[1, :ACT]).sum(-1) + obs[..., 0] * action[..., 1]
        return torch.nn.functional.logsigmoid(x + obs[..., 2].sin())

    def model(self, obs: Tensor, action: Tensor) -> Tensor:
        change = torch.tanh(obs @ self.w[2:5] + action @ self.w[5:7]) + 0.3 * (action[..., :1] * obs).sin()
        return obs + change

    def goes_on(self, obs: Tensor, action: Tensor) -> Tensor:
        if not self.stop:
            return torch.ones_like(obs[..., 0])
        return torch.sigmoid(1.0 + (obs * self.w[7]).sum(-1) - action.square().sum(-1))

    def tail(self, obs: Tensor, action: Tensor) -> Tensor:
        return (obs * self.w[8]).sum(-1).cos() + (action[..., 0] * obs[..., 1]).tanh()


def _jacobians(toy: Toy, obs: Tensor, xi: Tensor) -> dict[str, Tensor]:
    """Value and partial derivatives of every part at one step, each taken alone: the recursion joins them."""
    jacobian = torch.autograd.functional.jacobian
    action = toy.policy(toy.theta, obs, xi)
    out = {"a": action, "D": toy.cost(obs, action), "p": toy.goes_on(obs, action)}
    out["pi_s"] = jacobian(lambda s: toy.policy(toy.theta, s, xi), obs)
    out["pi_theta"] = jacobian(lambda t: toy.policy(t, obs, xi), toy.theta)
    for name, part in {"D": toy.cost, "f": toy.model, "p": toy.goes_on, "Q": toy.tail}.items():
        out[f"{name}_s"], out[f"{name}_a"] = jacobian(part, (obs, action))
    return out


def _by_recursion(toy: Toy, start: Tensor, noise: Tensor, with_tail: bool) -> tuple[float, Tensor, Tensor]:
    """J, J_s and J_theta of one rollout by MGAIL Eqs. 12-13, from t = T down to 0.

    With a probability p(s, a) of going on, J = D + gamma p J', so each equation gains the term of p's own derivative.
    """
    obs, steps = start, []
    for xi in noise[:-1]:
        steps.append(_jacobians(toy, obs, xi))
        obs = toy.model(obs, steps[-1]["a"])
    J, J_s, J_theta = torch.zeros((), dtype=obs.dtype), torch.zeros_like(obs), torch.zeros_like(toy.theta)
    if with_tail:
        end = _jacobians(toy, obs, noise[-1])
        J = toy.tail(obs, end["a"])
        J_s = end["Q_s"] + end["Q_a"] @ end["pi_s"]
        J_theta = end["Q_a"] @ end["pi_theta"]
    for v in reversed(steps):
        p, D_s, D_a, f_s, f_a, pi_s, pi_theta = (v[k] for k in ("p", "D_s", "D_a", "f_s", "f_a", "pi_s", "pi_theta"))
        # Eq. 13, then Eq. 12; the terms in J carry the derivative of p.
        J_theta = D_a @ pi_theta + GAMMA * (p * (J_s @ f_a @ pi_theta + J_theta) + J * v["p_a"] @ pi_theta)
        J_s = D_s + D_a @ pi_s + GAMMA * (p * J_s @ (f_s + f_a @ pi_s) + J * (v["p_s"] + v["p_a"] @ pi_s))
        J = v["D"] + GAMMA * p * J
    return J.item(), J_s, J_theta


@pytest.mark.parametrize("with_tail", [False, True], ids=["no-tail", "tail"])
@pytest.mark.parametrize("stop", [False, True], ids=["never-ends", "may-end"])
def test_gradient_is_the_recursion_of_mgail(stop, with_tail):
    toy = Toy.make(stop)
    g = torch.Generator().manual_seed(5)
    start = torch.randn(BATCH, OBS, generator=g, dtype=torch.float64).requires_grad_()
    noise = torch.randn(HORIZON + 1, BATCH, ACT, generator=g, dtype=torch.float64)
    theta = toy.theta.clone().requires_grad_()

    def sample(obs: Tensor, xi: Tensor) -> Tensor:
        return toy.policy(theta, obs, xi)

    def model(obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return toy.model(obs, action), toy.goes_on(obs, action), hidden

    imagined = unroll(start, torch.zeros(BATCH, 0), noise[:-1], sample, toy.cost, model)
    end = imagined.obs[-1]
    tail = toy.tail(end, sample(end, noise[-1])) if with_tail else None
    J = cost_to_go(imagined, GAMMA, tail)[0]
    for i in range(BATCH):
        J_s, J_theta = torch.autograd.grad(J[i], (start, theta), retain_graph=True)
        expected_J, expected_s, expected_theta = _by_recursion(toy, start[i].detach(), noise[:, i], with_tail)
        assert J[i].item() == pytest.approx(expected_J, rel=1e-12)
        torch.testing.assert_close(J_s[i], expected_s, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(J_theta, expected_theta, rtol=1e-10, atol=1e-13)
        assert J_s[i].abs().min() > 1e-4 and J_theta.abs().min() > 1e-4, "a vanishing gradient would prove nothing"


def test_the_unroll_is_the_loop():
    toy = Toy.make(stop=True)
    g = torch.Generator().manual_seed(1)
    start = torch.randn(BATCH, OBS, generator=g, dtype=torch.float64)
    noise = torch.randn(4, BATCH, ACT, generator=g, dtype=torch.float64)

    def model(obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # The memory counts the steps and shifts the state: a memory that is not handed on shows.
        return toy.model(obs, action) + hidden, toy.goes_on(obs, action), hidden + 1

    got = unroll(start, torch.zeros(BATCH, 1), noise, lambda s, xi: toy.policy(toy.theta, s, xi), toy.cost, model)
    assert got.obs.shape == (5, BATCH, OBS) and got.action.shape == (4, BATCH, ACT)
    obs = start
    for t, xi in enumerate(noise):
        action = toy.policy(toy.theta, obs, xi)
        torch.testing.assert_close(got.obs[t], obs)
        torch.testing.assert_close(got.action[t], action)
        torch.testing.assert_close(got.cost[t], toy.cost(obs, action))
        torch.testing.assert_close(got.continues[t], toy.goes_on(obs, action))
        obs = toy.model(obs, action) + t
    torch.testing.assert_close(got.obs[-1], obs)


@pytest.mark.parametrize("with_tail", [False, True], ids=["no-tail", "tail"])
def test_cost_to_go_by_hand(with_tail):
    g = torch.Generator().manual_seed(2)
    cost, continues = torch.randn(5, 4, generator=g), torch.rand(5, 4, generator=g)
    tail = torch.randn(4, generator=g) if with_tail else None
    got = cost_to_go(Unroll(torch.zeros(6, 4, 1), torch.zeros(5, 4, 1), cost, continues), GAMMA, tail)
    for t in range(5):
        for b in range(4):
            expected, weight = 0.0, 1.0
            for k in range(t, 5):
                expected += weight * cost[k, b].item()
                weight *= GAMMA * continues[k, b].item()
            expected += weight * (tail[b].item() if tail is not None else 0.0)
            assert got[t, b].item() == pytest.approx(expected, abs=1e-6)


def test_cost_to_go_known_values():
    ones = torch.ones(3, 1)
    zero = Unroll(torch.zeros(4, 1, 1), torch.zeros(3, 1, 1), ones, 0 * ones)
    assert cost_to_go(zero, 0.5, torch.tensor([8.0])).flatten().tolist() == [1, 1, 1], "an ended episode costs nothing"
    on = Unroll(zero.obs, zero.action, ones, ones)
    assert cost_to_go(on, 0.5).flatten().tolist() == [1.75, 1.5, 1]
    assert cost_to_go(on, 0.5, torch.tensor([8.0])).flatten().tolist() == [2.75, 3.5, 5]


@pytest.mark.parametrize("wrong", [0.0, 0.7], ids=["right-model", "wrong-model"])
def test_recorded_states_are_reproduced_and_the_gradient_is_the_model_s_there(wrong):
    """MGAIL's Algorithm 1, lines 9-15: the recursion along real states, with the model's partials taken at them."""
    toy = Toy.make(stop=False)
    g = torch.Generator().manual_seed(6)
    noise = torch.randn(HORIZON, BATCH, ACT, generator=g, dtype=torch.float64)
    start = torch.randn(BATCH, OBS, generator=g, dtype=torch.float64)
    real = [start]  # the real world, which is not quite the model
    for xi in noise:
        real.append(toy.model(real[-1], toy.policy(toy.theta, real[-1], xi)) + wrong * real[-1].cos())
    theta = toy.theta.clone().requires_grad_()

    def model(obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return toy.model(obs, action), torch.ones_like(obs[..., 0]), hidden

    with torch.no_grad():
        missed = torch.stack(
            [real[t + 1] - toy.model(real[t], toy.policy(theta, real[t], noise[t])) for t in range(HORIZON)]
        )
    again = unroll(start, torch.zeros(BATCH, 0), noise, lambda s, xi: toy.policy(theta, s, xi), toy.cost, model, missed)
    torch.testing.assert_close(again.obs, torch.stack(real), rtol=0, atol=1e-13)
    J = cost_to_go(again, GAMMA)[0]
    for i in range(BATCH):
        J_s, J_theta = torch.zeros(OBS, dtype=start.dtype), torch.zeros_like(toy.theta)
        for t in reversed(range(HORIZON)):
            v = _jacobians(toy, real[t][i], noise[t, i])
            J_theta = v["D_a"] @ v["pi_theta"] + GAMMA * (J_s @ v["f_a"] @ v["pi_theta"] + J_theta)
            J_s = v["D_s"] + v["D_a"] @ v["pi_s"] + GAMMA * J_s @ (v["f_s"] + v["f_a"] @ v["pi_s"])
        (found,) = torch.autograd.grad(J[i], theta, retain_graph=True)
        torch.testing.assert_close(found, J_theta, rtol=1e-10, atol=1e-13)
        assert found.abs().min() > 1e-5
