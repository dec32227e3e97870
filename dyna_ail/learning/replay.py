"""The experience buffer B of Algorithm 1: real transitions, oldest overwritten first."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dyna_ail.learning.state import require_like


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
    """A ring of ``capacity`` transitions. Memory is taken for as many as are reserved or stored, up to the capacity."""

    def __init__(self, capacity: int, obs_dim: int, action_dim: int) -> None:
        self.capacity = capacity
        self.added = 0
        self._ring = _rows(0, obs_dim, action_dim)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def data(self) -> Transitions:
        """All stored transitions, in no particular order once the ring is full. A view: not to be kept or changed."""
        return self._ring[: len(self)]

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` transitions in all, or for the capacity if that is less."""
        rows = min(rows, self.capacity)
        if rows > len(self._ring):
            larger = _rows(rows, self._ring.obs.shape[1], self._ring.action.shape[1])
            for f in fields(larger):
                getattr(larger, f.name)[: len(self)] = getattr(self.data, f.name)
            self._ring = larger

    def add(self, new: Transitions, episode_start: bool = False) -> None:
        """Append ``new [N]`` in order. With ``episode_start`` they open an episode, and cut one that has not ended."""
        if self.added + len(new) > len(self._ring):
            self.reserve(max(self.added + len(new), 2 * len(self._ring)))
        if episode_start and len(self):
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
        """Hold again what ``state`` holds.

        Raises:
            InputError: the state is not one of such a buffer; names what does not fit.
        """
        require_like("replay.added", state["added"], 0)
        held = min(state["added"], self.capacity)
        expected: dict[str, Any] = {"added": 0}
        for name, column in vars(self._ring).items():
            expected[name] = column.new_empty(held, *column.shape[1:], device="meta")
        require_like("replay", state, expected)
        self.added = state["added"]
        self._ring = _rows(held, self._ring.obs.shape[1], self._ring.action.shape[1])
        for f in fields(Transitions):
            getattr(self.data, f.name).copy_(state[f.name])

    def sample(self, size: int, generator: torch.Generator, recent: int = 0) -> Transitions:
        """``size`` transitions drawn uniformly with replacement; with ``recent``, half of them from the newest ones."""
        index = torch.randint(len(self), (size,), generator=generator)
        if recent:
            newest = min(recent, len(self))
            drawn = torch.randint(newest, (size // 2,), generator=generator)
            index[: size // 2] = (self.added - newest + drawn) % self.capacity
        return self._ring[index]

    def sample_sequences(self, size: int, length: int, generator: torch.Generator) -> tuple[Transitions, Tensor]:
        """Runs of consecutive transitions ``[length, size]`` and a mask ``[length, size]``.

        The mask is 1 up to the end of the run's episode (or of the buffer) and 0 after it.
        """
        start = torch.randint(len(self), (size,), generator=generator)
        index = (start + torch.arange(length)[:, None]) % len(self)
        run = self._ring[index]
        newest = (self.added - 1) % self.capacity
        last = run.terminated | run.truncated | (index == newest)
        return run, (torch.cumsum(last, 0) - last.long() == 0).float()


def _rows(count: int, obs_dim: int, action_dim: int) -> Transitions:
    """Rows to be filled; the system takes memory for what is."""
    flags = (torch.empty(count, dtype=torch.bool) for _ in range(2))
    return Transitions(torch.empty(count, obs_dim), torch.empty(count, action_dim), torch.empty(count, obs_dim), *flags)
