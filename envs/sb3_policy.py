"""Deterministic policies from the weights that Stable-Baselines3 saves, read without running any code from the file.

SB3's own ``load`` unpickles an archive's ``data`` member, which can run anything. Here only the weights are read
(``weights_only=True``) and the network is built from their names and shapes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dyna_ail.errors import InputError, one_line
from dyna_ail.files import check_archive, load_weights
from dyna_ail.spaces import action_dim, check_spaces

Policy = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""The action for one observation [obs_dim]: [act_dim] float32 within the bounds, or a single int64."""

# Hidden layers, output layers, the algorithms that save these names, and SB3's default activation for them.
_FAMILIES = (
    (r"mlp_extractor\.policy_net\.(\d+)", "action_net", "PPO, TRPO, A2C", "Tanh"),
    (r"actor\.latent_pi\.(\d+)", r"actor\.mu", "SAC, TQC", "ReLU"),
    (r"actor\.mu\.(\d+)", None, "TD3, DDPG", "ReLU"),
    (r"q_net\.q_net\.(\d+)", None, "DQN", "ReLU"),
)
_ACTIVATIONS = ("ReLU", "Tanh", "ELU", "SiLU", "GELU", "LeakyReLU")


def read_policy(path: Path, observation_space: Space[Any], action_space: Space[Any]) -> Policy:
    """The deterministic policy in an archive written by SB3's ``save``. It acts as its ``predict`` does.

    Policies with an MLP actor are understood: PPO, TRPO, A2C, SAC, TQC, TD3, DDPG and DQN. A policy that was trained
    with ``VecNormalize`` expects normalised observations; the statistics are in a file of their own, which is not read.

    Args:
        path: the ``.zip``.
        observation_space: the task's.
        action_space: the task's.

    Raises:
        InputError: a missing or damaged archive, another kind of policy, or one for other spaces.
    """
    if not path.is_file():
        raise InputError(f"no policy at {str(path)!r}.")
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            weights = load_weights(archive.open("policy.pth"))
            activation = _activation(archive.read("data"))
        return actor(weights, activation, observation_space, action_space)
    except InputError as error:
        raise InputError(f"the policy {str(path)!r} cannot be used: {error}") from error
    except Exception as error:  # a damaged archive fails in torch, zipfile or json, each in its own way
        raise InputError(
            f"cannot read the policy {str(path)!r}: expected an archive written by Stable-Baselines3; {one_line(error)}"
        ) from error


def acting(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that :func:`actor` needs, without critics and noise.

    Raises:
        InputError: not the weights of an MLP actor.
    """
    hidden, output, *_ = _family(weights)
    return {name: value for name, value in weights.items() if re.match(rf"({hidden}|{output})\.", name)}


def actor(
    weights: Mapping[str, Tensor], activation: str | None, observation_space: Space[Any], action_space: Space[Any]
) -> Policy:
    """The deterministic policy with these weights.

    Args:
        weights: an SB3 policy's state dict.
        activation: name of the class in torch.nn; SB3's default for this kind of policy if None.
        observation_space: the task's.
        action_space: the task's.

    Raises:
        InputError: not an MLP actor, an unknown activation, or other widths than the task's.
    """
    check_spaces(observation_space, action_space)
    hidden, output, algorithms, default = _family(weights)
    on_policy = output == "action_net"
    activation = activation or default
    if activation not in _ACTIVATIONS:
        raise InputError(f"its activation is {activation!r}; understood are {', '.join(_ACTIVATIONS)}.")
    names = sorted((n for n in weights if re.fullmatch(rf"{hidden}\.weight", n)), key=lambda n: int(n.split(".")[-2]))
    if output is not None:
        names += [name for name in weights if re.fullmatch(rf"{output}(\.0)?\.weight", name)]
    layers = [_linear(weights, name) for name in names]
    modules = [module for layer in layers for module in (layer, getattr(nn, activation)())][:-1]
    if output is not None and names[-1].endswith(".0.weight"):
        modules.append(nn.Hardtanh(-2.0, 2.0))  # what SAC with generalised noise (gSDE) puts on its mean
    network = nn.Sequential(*modules).requires_grad_(False)
    discrete = algorithms == "DQN" or (on_policy and isinstance(action_space, spaces.Discrete))
    kind = "Discrete" if isinstance(action_space, spaces.Discrete) else "Box"
    if discrete != (kind == "Discrete"):
        raise InputError(f"it is a policy of {algorithms}; the task has {kind} actions.")
    widths = layers[0].in_features, layers[-1].out_features
    expected = int(np.prod(observation_space.shape or ())), action_dim(action_space)
    if widths != expected:
        raise InputError(f"it maps {widths[0]} numbers to {widths[1]}; the task needs {expected[0]} to {expected[1]}.")

    def act(obs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out = network(torch.as_tensor(obs, dtype=torch.float32)[None])[0]
        if isinstance(action_space, spaces.Box):
            low, high = (bound.astype(np.float32) for bound in (action_space.low, action_space.high))
            if on_policy:
                return np.clip(out.numpy(), low, high)
            return low + 0.5 * (torch.tanh(out).numpy() + 1.0) * (high - low)  # SB3 squashes these to the bounds
        return np.asarray(int(out.argmax()))

    return act


def _family(weights: Mapping[str, Tensor]) -> tuple[str, str | None, str, str]:
    """The kind of policy whose layers have these names, if nothing but linear layers stands before the action."""
    for family in _FAMILIES:
        hidden = [name for name in weights if re.match(rf"{family[0]}\.", name)]
        linear = all(name.endswith(".bias") or weights[name].ndim == 2 for name in hidden)
        if hidden and linear and not any("features_extractor" in name for name in weights):
            return family
    known = "; ".join(family[2] for family in _FAMILIES)
    raise InputError(f"it is not a plain MLP policy of {known} (its weights: {', '.join(list(weights)[:3])}, ...).")


def _linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = weights[name]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": weights[name.replace("weight", "bias")]})
    return layer


def _activation(data: bytes) -> str | None:
    """The activation named in the readable part of an archive's ``data``. The pickles in it are not opened."""
    found = re.search(r"torch\.nn\.modules\.activation\.(\w+)", str(json.loads(data).get("policy_kwargs", {})))
    return found.group(1) if found else None
