"""The experience buffer B of Algorithm 1: real transitions, oldest overwritten first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """Real transitions ``(s, a, s')``; ``N`` may be any leading shape.

    ``obs, next_obs [N, obs_dim]``, ``action [N, action_dim]`` as the environment received it (clipped, or one-hot),
    ``terminated`` and ``truncated`` ``[N]`` bool: the environment ended the episode, or the time limit did.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor

    def __post_init__(self) -> None:
        shape = self.terminated.shape
        assert self.obs.shape == self.next_obs.shape and self.obs.shape[:-1] == shape, (self.obs.shape, shape)
        assert self.action.shape[:-1] == shape and self.truncated.shape == shape, (self.action.shape, shape)

    def __len__(self) -> int:
        return len(self.terminated)

    def __getitem__(self, index: Tensor | slice) -> Transitions:
        return Transitions(*(getattr(self, f.name)[index] for f in fields(self)))


class ReplayBuffer:
    """A ring of ``capacity`` transitions."""

    def __init__(self, capacity: int, obs_dim: int, action_dim: int) -> None:
        def flags() -> Tensor:
            return torch.zeros(capacity, dtype=torch.bool)

        self._ring = Transitions(
            torch.zeros(capacity, obs_dim),
            torch.zeros(capacity, action_dim),
            torch.zeros(capacity, obs_dim),
            flags(),
            flags(),
        )
        self.capacity = capacity
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def data(self) -> Transitions:
        """All stored transitions, in no particular order once the ring is full. A view: not to be kept or changed."""
        return self._ring[: len(self)]

    def add(self, new: Transitions, first: bool = False) -> None:
        """Append ``new [N]`` in order; they open an episode if ``first``, also where that before has not ended."""
        if first and len(self):
            newest = (self.added - 1) % self.capacity
            self._ring.truncated[newest] = ~self._ring.terminated[newest]
        kept = torch.arange(max(0, len(new) - self.capacity), len(new))
        where = (self.added + kept) % self.capacity
        for f in fields(new):
            getattr(self._ring, f.name)[where] = getattr(new, f.name)[kept]
        self.added += len(new)

    def state_dict(self) -> dict[str, Any]:
        """Tensors ``[N, ...]`` and how many transitions were ever added."""
        return {"added": self.added, **{f.name: getattr(self.data, f.name).clone() for f in fields(Transitions)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold again what ``state`` holds."""
        self.added = state["added"]
        for f in fields(Transitions):
            getattr(self.data, f.name).copy_(state[f.name])

    def sample(self, size: int, generator: torch.Generator, recent: int = 0) -> Transitions:
        """``size`` transitions drawn uniformly with replacement; if ``recent``, half of them from so many newest."""
        index = torch.randint(len(self), (size,), generator=generator)
        if recent:
            newest = min(recent, len(self))
            drawn = torch.randint(newest, (size // 2,), generator=generator)
            index[: size // 2] = (self.added - newest + drawn) % self.capacity
        return self._ring[index]

    def sample_sequences(self, size: int, length: int, generator: torch.Generator) -> tuple[Transitions, Tensor]:
        """Runs of consecutive transitions ``[length, size]`` and a mask ``[length, size]``.

        The mask is 1 up to the end of the run's episode (or of the record) and 0 after it.
        """
        start = torch.randint(len(self), (size,), generator=generator)
        index = (start + torch.arange(length)[:, None]) % len(self)
        run = self._ring[index]
        newest = (self.added - 1) % self.capacity
        last = run.terminated | run.truncated | (index == newest)
        return run, (torch.cumsum(last, 0) - last.long() == 0).float()
