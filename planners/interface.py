"""What a planner is (Algorithm 1 lines 8-9), and the planner that does nothing."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from dyna_ail.learning.interfaces import Pairs
from dyna_ail.learning.replay import ReplayBuffer


class Planner(Protocol):
    """Improves the policy inside the forward model.

    Built as ``Planner(agent, discriminator, forward_model, scaling, config)``; the policy is ``agent.policy``.
    """

    uses_model: bool
    """Whether it needs the forward model."""
    imagined: int
    """Imagined steps taken so far."""

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Algorithm 1 lines 8-9, starting from states of ``replay``; returns named metrics.

        ``expert`` are the demonstrated pairs, and ``progress`` is the share of the interaction budget spent, in [0, 1].

        Raises:
            NonFiniteError: a cost, a gradient or a weight is not finite; names the part.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that it goes on from besides the agent: tensors, numbers and containers of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``.

        Raises:
            InputError: the state is not one of such a planner.
        """
        ...


class NoPlanner:
    """Leaves the policy as it is."""

    uses_model = False

    def __init__(self, *parts: object) -> None:
        self.imagined = 0

    def improve(
        self, replay: ReplayBuffer, expert: Pairs, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Do nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
