"""Settings by their dotted names, such as ``planner.horizon``: as texts, as plain JSON values, and replaced in copies.

A run's settings and its learner's share one level of names, on the command line and in ``config.json`` alike.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from dyna_ail.config.learner import Config
from dyna_ail.config.run import RunConfig
from dyna_ail.config.validation import field_types, plain, without_none
from dyna_ail.errors import InputError, nearest

Settings = TypeVar("Settings", Config, RunConfig)

RENAMED = {
    **{
        f"model_free.{name}": f"trpo.{name}"
        for name in ("target_kl", "gae_lambda", "cg_damping", "critic_epochs", "critic_learning_rate")
    },
    **{f"planner.{name}": f"mgail.{name}" for name in ("max_grad_norm", "saturation_penalty")},
}
"""Settings that had another name in version 0.1. ``config.json`` of that version is still read; elsewhere the message
tells the new name."""


def with_values(config: Settings, values: Mapping[str, Any]) -> Settings:
    """A copy of ``config`` with dotted ``values``, such as ``{"planner.horizon": 5}``, replaced in one go.

    Raises:
        InputError: an unknown setting or a value outside its bounds.
    """
    nested: dict[str, Any] = {}
    known = _hints(type(config))
    for key, value in values.items():
        parts = _resolve(type(config), key)
        if dataclasses.is_dataclass(known[key]):
            raise InputError(f"unknown setting {key!r}: {key} is a group: name one of its settings.")
        into = nested
        for part in parts[:-1]:
            into = into.setdefault(part, {})
        into[parts[-1]] = value
    return _replace(config, nested)


def parse_value(key: str, text: str) -> Any:
    """The value of a run's dotted setting ``key`` that ``text`` writes; widths as 64x64, no value as none.

    Raises:
        InputError: an unknown setting, or a text that is no value of its type.
    """
    _resolve(RunConfig, key)
    hint = _hints(RunConfig)[key]
    if dataclasses.is_dataclass(hint):
        first = next(iter(field_types(hint)))
        raise InputError(f"{key!r} is a group of settings: name one, such as {key}.{first}.")
    if text == "none" and type(None) in get_args(hint):
        return None
    kind = plain(without_none(hint))
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if get_origin(kind) is tuple:
            return tuple(plain(get_args(kind)[0])(width) for width in text.split("x"))
        return text if get_origin(kind) is Literal else kind(text)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{text!r} is no value of {key}, which must be of type {getattr(kind, '__name__', kind)}."
        ) from error


def to_dict(config: Config | RunConfig) -> dict[str, Any]:
    """The settings as plain JSON values, nested by group; those of a run and of its learner on one level."""
    values: dict[str, Any] = {}
    for key, value in dataclasses.asdict(config).items():
        values |= value if key == "learner" else {key: value}
    return values


def from_dict(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The configuration written by :func:`to_dict`, of this version or of 0.1.

    Raises:
        InputError: an unknown setting, or a value of the wrong type or outside its bounds.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"expected a table of settings, got {type(values).__name__}.")
    known = _hints(kind)
    flat: dict[str, Any] = {}
    for key, value in flatten(_in_new_names(values)).items():
        if dataclasses.is_dataclass(known.get(key)):
            raise InputError(f"expected a table of settings at {key!r}, got {type(value).__name__}.")
        flat[key] = tuple(value) if isinstance(value, list) else value
    return with_values(kind(), flat)


def result_settings(config: RunConfig) -> dict[str, Any]:
    """The settings on which results depend, as plain values: all but those of crash safety."""
    return {key: value for key, value in to_dict(config).items() if key != "safety"}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _in_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    renamed = copy.deepcopy(dict(values))
    for old, new in RENAMED.items():
        (group, name), (new_group, new_name) = old.split("."), new.split(".")
        if isinstance(renamed.get(group), dict) and name in renamed[group]:
            renamed.setdefault(new_group, {})[new_name] = renamed[group].pop(name)
    return renamed


def _hints(kind: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every dotted name, groups included."""
    found: dict[str, Any] = {}
    for name, hint in field_types(kind).items():
        if name == "learner":
            found |= _hints(plain(hint))
            continue
        found[prefix + name] = hint
        if dataclasses.is_dataclass(hint):
            found |= _hints(hint, f"{prefix}{name}.")
    return found


def _resolve(kind: type, key: str) -> list[str]:
    """The attributes that lead to a dotted setting.

    Raises:
        InputError: there is no such setting; suggests the nearest, or tells the new name.
    """
    known = _hints(kind)
    if key not in known:
        raise _unknown(kind, key)
    parts = key.split(".")
    return ["learner", *parts] if kind is RunConfig and parts[0] in field_types(Config) else parts


def _unknown(kind: type, key: str) -> InputError:
    known = _hints(kind)
    if key in RENAMED:
        why = f"it is now called {RENAMED[key]!r}."
    elif kind is Config and key in _hints(RunConfig):
        why = "it is a setting of a run (make_run_config), not of its learner."
    else:
        group = key.rpartition(".")[0]
        if group in known and not dataclasses.is_dataclass(known[group]):
            why = f"{group} has no settings of its own."
        else:
            why = nearest(key, known, listed=[name for name in known if "." not in name])
    return InputError(f"unknown setting {key!r}: {why}")


def _replace(part: Any, nested: Mapping[str, Any]) -> Any:
    """``part`` with the nested values replaced: a mapping replaces within a group, anything else a setting."""
    changes = {
        name: _replace(getattr(part, name), value) if isinstance(value, dict) else value
        for name, value in nested.items()
    }
    return dataclasses.replace(part, **changes)
