"""What an environment and its wrappers carry from one episode to the next: found, saved and restored, for exact resume.

That is their random generators, and the running means by which wrappers normalise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

Generator = np.random.Generator | np.random.RandomState | random.Random | torch.Generator
DEPTH = 4
"""How deep generators are looked for, within the attributes of a wrapper or environment."""
LARGE = 1000
"""Items beyond which a list or dictionary holds data and is not looked into."""


def find_generators(env: gymnasium.Env[Any, Any]) -> dict[str, Generator]:
    """The generators and running means that an environment or one of its wrappers holds, by the way to each.

    Looked at are attributes, and what is within lists, dictionaries and objects in them. The global generators and
    those in compiled code are not found.
    """
    found: dict[str, Generator] = {}
    seen: set[int] = set()
    layer: Any = env
    for number in range(1000):
        inner = vars(layer).get("env")
        for name, value in vars(layer).items():
            if value is not inner:
                _collect(value, f"{number}.{name}", DEPTH, seen, found)
        if not isinstance(layer, gymnasium.Wrapper):
            break
        layer = layer.env
    return found


def _collect(value: Any, way: str, depth: int, seen: set[int], found: dict[str, Generator]) -> None:
    if id(value) in seen:
        return
    if isinstance(value, random.SystemRandom):  # has no state
        return
    if isinstance(value, Generator) or _is_running_mean(value):
        seen.add(id(value))
        found[way] = value
    elif depth and not isinstance(value, type | ModuleType | str | bytes | np.ndarray | Tensor):
        seen.add(id(value))
        for name, inner in _within(value):
            _collect(inner, f"{way}.{name}", depth - 1, seen, found)


def _within(value: Any) -> Iterator[tuple[object, Any]]:
    if isinstance(value, dict | list | tuple):
        if len(value) <= LARGE:
            yield from value.items() if isinstance(value, dict) else enumerate(value)
    elif hasattr(value, "__dict__"):
        yield from vars(value).items()


def states_of(generators: dict[str, Generator]) -> dict[str, Any]:
    """Their states: numbers, tensors and containers of them."""
    return {way: _state(generator) for way, generator in generators.items()}


def seed_all(generators: dict[str, Generator], seed: int) -> None:
    """Seed them, each differently: what is drawn then depends on nothing that was drawn before."""
    for number, generator in enumerate(g for g in generators.values() if not _is_running_mean(g)):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        match generator:
            case np.random.Generator():
                generator.bit_generator.state = type(generator.bit_generator)(own).state
            case np.random.RandomState() | random.Random():
                generator.seed(own)
            case _:
                generator.manual_seed(own)


def set_states(generators: dict[str, Generator], states: dict[str, Any]) -> bool:
    """Restore states of :func:`states_of`.

    Returns:
        Whether every generator had one, of its own kind, and every state its generator.
    """
    fits = generators.keys() == states.keys()
    for way in generators.keys() & states.keys():
        fits &= _set_state(generators[way], states[way])
    return fits


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, tensors within them included."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _is_running_mean(value: object) -> bool:
    """Whether it is a ``RunningMeanStd``, as Gymnasium, SB3 and others have one each."""
    return type(value).__name__ == "RunningMeanStd" and all(hasattr(value, name) for name in ("mean", "var", "count"))


def _state(generator: Any) -> Any:
    if _is_running_mean(generator):
        return {name: torch.tensor(np.asarray(getattr(generator, name))) for name in ("mean", "var", "count")}
    match generator:
        case np.random.Generator():
            return _to_plain(generator.bit_generator.state)
        case np.random.RandomState():
            return _to_plain(generator.get_state(legacy=False))
        case random.Random():
            return generator.getstate()
    return generator.get_state()


def _set_state(generator: Any, state: Any) -> bool:
    """Whether it fitted."""
    try:
        if _is_running_mean(generator):
            for name in ("mean", "var", "count"):
                value = state[name].numpy().copy()
                setattr(generator, name, value if value.ndim else value.item())
            return True
        match generator:
            case np.random.Generator():
                generator.bit_generator.state = _from_plain(state, generator.bit_generator.state)
            case np.random.RandomState():
                generator.set_state(_from_plain(state, generator.get_state(legacy=False)))
            case random.Random():
                generator.setstate(state)
            case _:
                generator.set_state(state)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):  # of another kind of generator
        return False
    return True


def _to_plain(value: Any) -> Any:
    """NumPy's arrays and numbers as tensors and plain numbers, which a checkpoint may hold."""
    if isinstance(value, dict):
        return {key: _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.int64))
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(value: Any, like: Any) -> Any:
    if isinstance(like, dict):
        given = dict(value)  # or a TypeError: another kind's state
        return {key: _from_plain(given[key], inner) for key, inner in like.items()}
    return value.numpy().astype(like.dtype) if isinstance(like, np.ndarray) else value
