"""What a planner is, and what it asks of the parts it is given."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dyna_ail.networks import Stateful
from dyna_ail.replay import ReplayBuffer

Pairs = tuple[Tensor, Tensor]
"""``obs [N, obs_dim]`` and encoded ``action [N, action_dim]``."""


class Discriminator(Protocol):
    """D; see :class:`dyna_ail.discriminator.Discriminator`."""

    def cost(self, obs: Tensor, action: Tensor) -> Tensor:
        """What the policy minimises, ``[...]``, of ``obs [..., obs_dim]`` and ``action [..., action_dim]``."""
        ...


class ForwardModel(Protocol):
    """f; see :class:`dyna_ail.forward_model.ForwardModel`."""

    def initial_hidden(self, batch: int) -> Tensor:
        """Empty memory."""
        ...

    def __call__(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next state ``[B, obs_dim]``, continuation probability ``[B]`` and memory ``[B, memory]``.

        Of ``obs [B, obs_dim]``, ``action [B, action_dim]`` and ``hidden [B, memory]``.
        """
        ...


class Planner(Protocol):
    """Improves the policy inside the forward model.

    Built as ``Planner(agent, discriminator, forward_model, scaling, config)``; the policy is ``agent.policy``.
    """

    imagined: int
    """Imagined steps taken so far."""

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Algorithm 1 lines 8-9, starting from states of ``replay``; returns named metrics.

        ``expert`` are the demonstrated pairs, and ``progress`` is the fraction of the interaction budget spent, in
        [0, 1].

        Raises:
            NonFiniteError: a cost, a gradient or a weight is not finite; names the part.
        """
        ...

    def parts(self) -> dict[str, Stateful]:
        """What it has learned and goes on from: its own networks and optimisers, by name."""
        ...


class NoPlanner:
    """Leaves the policy as it is."""

    def __init__(self, *parts: object) -> None:
        self.imagined = 0

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Do nothing."""
        return {}

    def parts(self) -> dict[str, Stateful]:
        """Nothing."""
        return {}
