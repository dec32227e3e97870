"""What a model-free phase is (Algorithm 1 line 6), and the phase that does nothing."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from dyna_ail.learning.rollout import Segment


class ModelFree(Protocol):
    """Improves the policy on the real trajectories it has just made.

    Built as ``ModelFree(agent, discriminator, forward_model, config)``; the policy is ``agent.policy``.
    """

    uses_model: bool
    """Whether it needs the forward model."""

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """Algorithm 1 line 6; returns named metrics. ``progress`` is the share of the budget spent, in [0, 1].

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
            InputError: the state is not one of such a phase.
        """
        ...


class NoModelFree:
    """Leaves the policy as it is."""

    uses_model = False

    def __init__(self, *parts: object) -> None: ...

    def update(self, segment: Segment, progress: float, generator: torch.Generator) -> dict[str, float]:
        """Do nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
