"""What the loop, the model-free phases and the planners ask of D and f: the parts that a user may hand in."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from dyna_ail.learning.replay import ReplayBuffer, Transitions

Pairs = tuple[Tensor, Tensor]
"""``obs [N, obs_dim]`` and encoded ``action [N, action_dim]``."""


class Discriminator(Protocol):
    """D. Built as ``Discriminator(scaling, config.discriminator, config.cost)``.

    The package's own: :class:`dyna_ail.learning.discriminator.Discriminator`.
    """

    def __call__(self, obs: Tensor, action: Tensor) -> Tensor:
        """D(s, a) in (0, 1), ``[...]``, of ``obs [..., obs_dim]`` and ``action [..., action_dim]``."""
        ...

    def cost(self, obs: Tensor, action: Tensor) -> Tensor:
        """What the policy minimises, ``[...]``, of ``obs [..., obs_dim]`` and ``action [..., action_dim]``."""
        ...

    def update(
        self, expert: Pairs, replay: ReplayBuffer, progress: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Algorithm 1 line 5; returns named metrics. ``progress`` is the share of the budget spent, in [0, 1]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that it goes on from: tensors, numbers and containers of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """Go on from a ``state_dict``."""
        ...


class ForwardModel(Protocol):
    """f. Built as ``ForwardModel(scaling, config.forward_model)``.

    The package's own: :class:`dyna_ail.learning.forward_model.ForwardModel`.
    """

    def initial_hidden(self, batch: int) -> Tensor:
        """Empty memory, ``[batch, memory]``."""
        ...

    def __call__(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next state ``[B, obs_dim]``, continuation probability ``[B]`` and memory ``[B, memory]``.

        Of ``obs [B, obs_dim]``, ``action [B, action_dim]`` and ``hidden [B, memory]``.
        """
        ...

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Algorithm 1 line 7; returns named metrics."""
        ...

    def errors_by_depth(self, recorded: Transitions, depth: int) -> list[float]:
        """Held-out error at depths 1 to ``depth``, of consecutive transitions ``[N]``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that it goes on from: tensors, numbers and containers of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> object:
        """Go on from a ``state_dict``."""
        ...
