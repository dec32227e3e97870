"""The differentiable unroll: a policy run inside a forward model, with the whole computation left to autograd.

Backpropagating the discounted cost of an unroll is the recursion of MGAIL Eqs. 12-13 (Dyna-AIL Eqs. 2-3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Sample = Callable[[Tensor, Tensor], Tensor]
"""pi(s, xi): ``obs [B, obs_dim], noise [B, action_dim] -> action [B, action_dim]``."""
Cost = Callable[[Tensor, Tensor], Tensor]
"""``obs [..., obs_dim], action [..., action_dim] -> cost [...]``."""
Model = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""``obs, action, hidden -> next obs [B, obs_dim], continuation probability [B], hidden``."""


@dataclass(frozen=True)
class Unroll:
    """T imagined steps of B rollouts.

    ``obs [T+1, B, obs_dim]``, ``action [T, B, action_dim]``, ``cost [T, B]``, and ``continues [T, B]``, the
    probability that the episode goes on after step t.
    """

    obs: Tensor
    action: Tensor
    cost: Tensor
    continues: Tensor


def unroll(
    start: Tensor,
    hidden: Tensor,
    noise: Tensor,
    sample: Sample,
    cost: Cost,
    model: Model,
    residual: Tensor | None = None,
) -> Unroll:
    """Repeat: ``a = pi(s, xi)``, pay the cost, step ``s' = f(s, a) + nu``.

    Args:
        start: states to start from, ``[B, obs_dim]``.
        hidden: the model's memory at the start, ``[B, hidden_dim]``.
        noise: ``xi``, ``[T, B, action_dim]``; its length is the horizon T_p.
        sample: the reparameterised policy.
        cost: the cost of a pair.
        model: the forward model.
        residual: ``nu``, ``[T, B, obs_dim]``, by which the model misses the states that really followed: with it, and
            the noise of the real actions, the unroll passes through them, and the gradient is the model's. None: 0.
    """
    obs, action, continues = [start], [], []
    for t, xi in enumerate(noise):
        action.append(sample(obs[-1], xi))
        next_obs, goes_on, hidden = model(obs[-1], action[-1], hidden)
        obs.append(next_obs if residual is None else next_obs + residual[t])
        continues.append(goes_on)
    states, actions = torch.stack(obs), torch.stack(action)
    return Unroll(states, actions, cost(states[:-1], actions), torch.stack(continues))


def cost_to_go(imagined: Unroll, discount: float, terminal_value: Tensor | None = None) -> Tensor:
    """Expected discounted cost from every step of the unroll to its end, ``[T, B]``; the first row is J (Eq. 8).

    ``J_t = c_t + gamma p_t J_{t+1}``, with ``p_t`` the probability of going on after step t and ``J_T = terminal_value
    [B]``, a critic's estimate of all that follows (zero in the papers).
    """
    to_go = torch.zeros_like(imagined.cost[0]) if terminal_value is None else terminal_value
    rows = []
    for cost, goes_on in zip(imagined.cost.flip(0), imagined.continues.flip(0), strict=True):
        to_go = cost + discount * goes_on * to_go
        rows.append(to_go)
    return torch.stack(rows[::-1])
