"""Deterministic policies from the weights that Stable-Baselines3 saves, read without running any code from the file.

SB3's own ``load`` unpickles an archive's ``data`` member, which can run anything. Here only the weights are read
(``weights_only=True``) and the network is built from their names and shapes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
_HARMLESS = {
    *("net_arch", "ortho_init", "log_std_init", "full_std", "use_expln", "use_sde", "optimizer_class"),
    *("optimizer_kwargs", "share_features_extractor", "normalize_images", "n_critics", "n_quantiles"),
    *("features_extractor_class", "features_extractor_kwargs", "activation_fn", "squash_output", "clip_mean"),
}
"""Settings of a policy that are understood, or that do not matter to its deterministic actions."""


@dataclass(frozen=True)
class Settings:
    """What an archive says of its policy beside the weights."""

    activation: str | None = None
    """Name of a class in torch.nn; None for SB3's default for this kind of policy."""
    squash: bool = False
    """Whether an on-policy mean is squashed by a tanh to the bounds (gSDE with ``squash_output=True``)."""
    clip_mean: float = 2.0
    """Bound on SAC's mean before its tanh, with gSDE."""


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
            settings = _settings(archive.read("data"))
        return actor(weights, settings, observation_space, action_space)
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
    weights: Mapping[str, Tensor], settings: Settings, observation_space: Space[Any], action_space: Space[Any]
) -> Policy:
    """The deterministic policy with these weights.

    Args:
        weights: an SB3 policy's state dict.
        settings: of the policy.
        observation_space: the task's.
        action_space: the task's.

    Raises:
        InputError: not an MLP actor, an unknown activation, or other widths than the task's.
    """
    check_spaces(observation_space, action_space)
    hidden, output, algorithms, default = _family(weights)
    on_policy = output == "action_net"
    activation = settings.activation or default
    if activation not in _ACTIVATIONS:
        raise InputError(f"its activation is {activation!r}; understood are {', '.join(_ACTIVATIONS)}.")
    names = sorted((n for n in weights if re.fullmatch(rf"{hidden}\.weight", n)), key=lambda n: int(n.split(".")[-2]))
    if output is not None:
        names += [name for name in weights if re.fullmatch(rf"{output}(\.0)?\.weight", name)]
    layers = [_linear(weights, name) for name in names]
    modules = [module for layer in layers for module in (layer, getattr(nn, activation)())][:-1]
    if output is not None and names[-1].endswith(".0.weight"):
        modules.append(nn.Hardtanh(-settings.clip_mean, settings.clip_mean))  # SAC with generalised noise (gSDE)
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
            if on_policy and not settings.squash:
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


def _settings(data: bytes) -> Settings:
    """The policy's settings in the readable part of an archive's ``data``. The pickles in it stay shut.

    Raises:
        InputError: the policy is of a class of its own, or has settings that change its actions in an unknown way.
    """
    about = json.loads(data)
    home = about.get("policy_class", {}).get("__module__", "stable_baselines3")
    if not home.startswith(("stable_baselines3.", "sb3_contrib.")) and home != "stable_baselines3":
        raise InputError(f"its policy is a class of {home}: only those of Stable-Baselines3 are understood.")
    given = {key: str(value) for key, value in about.get("policy_kwargs", {}).items() if not key.startswith(":")}
    unknown = sorted(given.keys() - _HARMLESS)
    extractor = given.get("features_extractor_class", "FlattenExtractor")
    if unknown or "FlattenExtractor" not in extractor:
        name = unknown[0] if unknown else "features_extractor_class"
        raise InputError(f"its policy was made with {name}={given[name][:60]}, which is not understood.")
    activation = None
    if "activation_fn" in given:
        found = re.search(r"torch\.nn\.modules\.activation\.(\w+)", given["activation_fn"])
        activation = found.group(1) if found else given["activation_fn"]
    squash = given.get("squash_output") == "True" and bool(about.get("use_sde"))
    return Settings(activation, squash, float(given.get("clip_mean", Settings.clip_mean)))
