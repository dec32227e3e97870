"""Actions as networks see them: float rows ``[N, action_dim]``, clipped (Box) or one-hot (Discrete)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space, spaces

from dyna_ail.errors import InputError

FEWEST_STEPS = 1000
"""Numbers that single precision must have between the bounds of an action."""


def check_spaces(observation_space: Space[Any], action_space: Space[Any]) -> None:
    """Refuse spaces that the package does not handle.

    Raises:
        InputError: unless observations are a one-dimensional Box and actions a one-dimensional bounded Box of floats
            or a Discrete that starts at 0.
    """
    if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
        raise InputError(
            f"observations must be a one-dimensional Box, got {observation_space}: "
            "wrap the environment in gymnasium.wrappers.FlattenObservation."
        )
    if isinstance(action_space, spaces.Discrete):
        if action_space.start != 0:
            raise InputError(f"Discrete actions must start at 0, got {action_space}: shift them in a wrapper.")
        return
    if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1:
        raise InputError(f"actions must be Discrete or a one-dimensional Box, got {action_space}.")
    if not np.issubdtype(action_space.dtype, np.floating):
        raise InputError(f"a Box of actions must be of floats, got {action_space}: round them in a wrapper.")
    if not action_space.is_bounded() or (action_space.low >= action_space.high).any():
        raise InputError(
            f"a Box of actions needs finite bounds, low below high, got {action_space}: give the environment a "
            "gymnasium.wrappers.TransformAction whose action_space has the bounds of your demonstrations' actions."
        )
    _check_precision(action_space)


def _check_precision(space: spaces.Box) -> None:
    """Refuse bounds between which the single precision of networks has too few numbers, or none.

    Raises:
        InputError: names the component.
    """
    with np.errstate(over="ignore"):
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        range_, step = high - low, np.spacing(np.maximum(np.abs(low), np.abs(high)))
        coarse = ~(np.isfinite(range_) & (range_ >= FEWEST_STEPS * step))
    if coarse.any():
        k = int(np.argmax(coarse))
        raise InputError(
            f"component {k} of the actions goes from {space.low[k]!s} to {space.high[k]!s}: single precision does not "
            "resolve that. Give the environment a wrapper whose actions go from -1 to 1."
        )


def action_dim(space: Space[Any]) -> int:
    """Width of an encoded action: the number of components (Box) or of choices (Discrete)."""
    return int(space.n) if isinstance(space, spaces.Discrete) else int(space.shape[0])  # type: ignore[index]


def encode_actions(space: Space[Any], actions: np.ndarray) -> np.ndarray:
    """Environment actions ``[N, ...]`` as float32 rows ``[N, action_dim]``."""
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(actions, dtype=np.int64)]
    assert isinstance(space, spaces.Box)
    return np.clip(actions, space.low, space.high).astype(np.float32)


def decode_action(space: Space[Any], row: np.ndarray) -> Any:
    """One encoded action ``[action_dim]`` as what ``env.step`` takes."""
    if isinstance(space, spaces.Discrete):
        return int(row.argmax())
    assert isinstance(space, spaces.Box)
    return np.clip(row, space.low, space.high).astype(space.dtype)
