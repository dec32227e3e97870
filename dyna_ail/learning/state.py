"""Saving and restoring: parts that hold their optimiser's state, and the refusal of states that do not fit."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dyna_ail.errors import InputError


class TrainedModule(nn.Module):
    """A module with its optimiser: ``state_dict`` and ``load_state_dict`` hold both."""

    optimizer: torch.optim.Optimizer

    def get_extra_state(self) -> dict[str, Any]:
        """The optimiser's state; called by ``state_dict``."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the optimiser; called by ``load_state_dict``.

        Raises:
            InputError: the state is not one of such an optimiser.
        """
        load_optimizer(self.optimizer, state)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict``, checked: fused Adam would write beyond the end of tensors that are too short.

    Raises:
        InputError: something in ``state`` has another type or shape than this optimiser's; names it.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    groups = optimizer.state_dict()["param_groups"]
    require_like("optimizer", state, {"state": {}, "param_groups": []}, shallow=True)
    require_like("optimizer.param_groups", state["param_groups"], [{}] * len(groups), shallow=True)
    for index, (group, ours) in enumerate(zip(state["param_groups"], groups, strict=True)):
        for key in group.keys() & ours.keys():
            require_like(f"optimizer.{index}.{key}", group[key], ours[key])
    for index, entries in state["state"].items():
        keys = next(iter(state["state"].values())).keys()
        expected = {key: torch.tensor(0.0) if key == "step" else weights[index] for key in keys}
        require_like(f"optimizer.{index}", entries, expected)
    optimizer.load_state_dict(copy.deepcopy(state))  # it would keep the caller's tensors


def require_like(where: str, found: Any, ours: Any, shallow: bool = False) -> None:
    """Refuse what has another type, shape, length or other keys than ``ours``, also within (unless ``shallow``).

    Raises:
        InputError: names where.
    """
    if isinstance(ours, Tensor):
        fits = isinstance(found, Tensor) and (found.dtype, found.shape) == (ours.dtype, ours.shape)
    elif isinstance(ours, dict):
        fits = isinstance(found, dict) and found.keys() == ours.keys()
    else:
        fits = type(found) is type(ours) and (not isinstance(ours, list | tuple) or len(found) == len(ours))
    if not fits:
        raise InputError(f"its {where} is not what a learner of these settings has.")
    if isinstance(ours, dict | list | tuple) and not shallow:
        for key, value in ours.items() if isinstance(ours, dict) else enumerate(ours):
            require_like(f"{where}.{key}", found[key], value)


def global_random_state() -> dict[str, Any]:
    """The states of the global generators: SB3 draws minibatches from NumPy's, an environment may use any of them."""
    _, key, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(key, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }


def set_global_random_state(state: dict[str, Any]) -> None:
    """Bring the global generators to a state of :func:`global_random_state`.

    Raises:
        InputError: it is none.
    """
    ours = global_random_state()
    require_like("random", state, ours, shallow=True)
    require_like("random", state, {**ours, "python": state["python"]})
    key, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
