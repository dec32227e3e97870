"""Building blocks that the learned parts share: layers, input scaling, and the one optimiser step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dyna_ail.errors import InputError, NonFiniteError
from dyna_ail.spaces import action_dim

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
CLIP = 10.0  # scaled observations are clipped here, so that a stray state cannot saturate a network


def mlp(sizes: Sequence[int], activation: str, layer_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths ``sizes`` with ``activation`` (after an optional LayerNorm) between them."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(sizes) - 2:
            layers += [nn.LayerNorm(fan_out)] * layer_norm + [ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def scale(obs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The components of ``obs [..., obs_dim]`` that are seen, as many as ``mean, std [seen]``, scaled and clipped."""
    return ((obs[..., : len(mean)] - mean) / std).clamp(-CLIP, CLIP)


@dataclass(frozen=True)
class Scaling:
    """How raw observations and encoded actions are centred and scaled before they enter a network.

    Components of the observation beyond ``obs_mean``'s are not seen at all.
    Shapes: ``obs_mean, obs_std [seen]``; ``action_mean, action_std [action_dim]``.
    """

    obs_mean: np.ndarray
    obs_std: np.ndarray
    action_mean: np.ndarray
    action_std: np.ndarray

    @staticmethod
    def of(expert_obs: np.ndarray, action_space: Space[Any], floor: float, seen: int | None = None) -> Scaling:
        """Observations by the demonstrations' mean and deviation (at least ``floor``), actions by their bounds.

        The floor keeps components that hardly vary in the demonstrations from being blown up off them. The first
        ``seen`` components are seen, by default all.

        Raises:
            InputError: there are fewer.
        """
        if seen is not None and seen > expert_obs.shape[1]:
            raise InputError(f"--seen must be at most {expert_obs.shape[1]}, the observation's width; got {seen}.")
        if isinstance(action_space, spaces.Box):
            centre, half = (action_space.high + action_space.low) / 2, (action_space.high - action_space.low) / 2
        else:
            centre, half = np.zeros(action_dim(action_space)), np.ones(action_dim(action_space))
        obs = expert_obs[:, :seen].astype(np.float64)
        return Scaling(obs.mean(0), np.maximum(obs.std(0), floor), centre, half)


class PairInput(nn.Module):
    """Scaled ``[..., seen + action_dim]`` input of a network that judges or predicts pairs (s, a)."""

    obs_mean: Tensor
    obs_std: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        for name in ("obs_mean", "obs_std", "action_mean", "action_std"):
            self.register_buffer(name, torch.as_tensor(getattr(scaling, name), dtype=torch.float32))
        self.seen, self.action_dim = len(scaling.obs_mean), len(scaling.action_mean)
        self.dim = self.seen + self.action_dim

    def obs(self, obs: Tensor) -> Tensor:
        """Scaled and clipped observation, ``[..., seen]``."""
        return scale(obs, self.obs_mean, self.obs_std)

    def action(self, action: Tensor) -> Tensor:
        """Scaled action, same shape."""
        return (action - self.action_mean) / self.action_std

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Concatenation of the scaled pair."""
        return torch.cat([self.obs(obs), self.action(action)], dim=-1)


def linear_schedule(first: float, last: float | None, progress: float) -> float:
    """The value on the line from ``first`` to ``last`` (None: the same), at ``progress`` in [0, 1]."""
    return first if last is None else first + progress * (last - first)


@torch.no_grad()
def polyak_update(average: nn.Module, online: nn.Module, rate: float) -> None:
    """Move the parameters of ``average`` towards those of ``online`` by the fraction ``rate``."""
    for behind, ahead in zip(average.parameters(), online.parameters(), strict=True):
        behind.lerp_(ahead, rate)


def require_finite(what: str, values: Tensor) -> None:
    """Stop where something first goes wrong.

    Raises:
        NonFiniteError: a value is NaN or infinite; says ``what`` it is.
    """
    if not torch.isfinite(values).all():
        raise NonFiniteError(f"{what} became {values[~torch.isfinite(values)][0].item()}.")


def adam_step(
    part: str,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    parameters: Iterable[nn.Parameter],
    max_norm: float = float("inf"),
) -> float:
    """One gradient step on ``loss`` over ``parameters`` alone; returns the norm of the gradient before clipping.

    Only the graph that leads to ``parameters`` is differentiated, so a frozen network in between costs no weight
    gradients.

    Raises:
        NonFiniteError: the loss or its gradient is not finite; nothing has been changed then. Names ``part``.
    """
    parameters = list(parameters)
    require_finite(f"the {part} loss", loss)
    for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = grad
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    require_finite(f"the gradient of the {part} loss", norm)
    optimizer.step()
    return float(norm)
