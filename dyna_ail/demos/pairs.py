"""Expert pairs: what the discriminator learns from, drawn from demonstrations or given by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail.demos.arrays import FloatArray, convert_field
from dyna_ail.errors import InputError
from dyna_ail.spaces import action_dim, check_spaces, encode_actions

if TYPE_CHECKING:
    from gymnasium import Space


@dataclass(frozen=True)
class ExpertPairs:
    """The state-action pairs that D tells from the policy's.

    Raises:
        InputError: wrong shapes or types, NaN or infinite values, or no pair at all.
    """

    obs: FloatArray
    """[N, obs_dim]."""
    action: FloatArray
    """[N, action_dim], encoded: Box actions as they are, Discrete ones one-hot."""

    def __post_init__(self) -> None:
        convert_field(self, "obs", "float32", ndim=2)
        convert_field(self, "action", "float32", ndim=2)
        if len(self.obs) != len(self.action) or len(self.obs) < 1:
            raise InputError(
                f"expert pairs need as many observations as actions, at least one; "
                f"got {len(self.obs)} and {len(self.action)}."
            )

    def check(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Refuse pairs that cannot come from a task with these spaces.

        Raises:
            InputError: unsupported spaces, other widths, Discrete actions that are not one-hot, or Box actions outside
                the bounds.
        """
        check_spaces(observation_space, action_space)
        from gymnasium import spaces

        widths, wanted = (self.obs.shape[1], self.action.shape[1]), (observation_space.shape, action_dim(action_space))
        if ((widths[0],), widths[1]) != wanted:
            raise InputError(
                f"the expert pairs have observations and actions of widths {widths}, the task has {wanted}."
            )
        if isinstance(action_space, spaces.Discrete):
            if not (np.isin(self.action, (0, 1)).all() and (self.action.sum(1) == 1).all()):
                raise InputError("the expert pairs of a task with Discrete actions must have one-hot actions.")
        elif (self.action != encode_actions(action_space, self.action)).any():
            raise InputError("the expert pairs have actions outside the task's bounds: clip or rescale them.")
