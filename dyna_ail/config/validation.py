"""Refuses settings that cannot work. The bounds stand beside the fields, as ``Annotated`` types."""

from __future__ import annotations

import dataclasses
import math
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from dyna_ail.config.registry import Registry
from dyna_ail.errors import InputError

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
PositiveOrZero = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Le(1)]


def check_fields(part: Any, prefix: str = "") -> None:
    """Refuse a value of another type than its field's, or outside its bounds; the groups within ``part`` as well.

    Args:
        part: a dataclass of settings.
        prefix: what stands before its fields' names in messages, such as ``planner.``.

    Raises:
        InputError: names the setting, what it must be and what it is.
    """
    for name, hint in field_types(type(part)).items():
        value = _as_python(getattr(part, name), hint)
        object.__setattr__(part, name, value)  # as the dataclass itself does while it is made
        if dataclasses.is_dataclass(plain(hint)):
            check_fields(value, f"{prefix}{name}.")
        else:
            _check(f"--{prefix}{name}", value, hint)


_field_types: dict[type, dict[str, Any]] = {}


def field_types(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields with their bounds; evaluated once, since that is slow."""
    if kind not in _field_types:
        _field_types[kind] = get_type_hints(kind, include_extras=True)
    return _field_types[kind]


def _as_python(value: Any, hint: Any) -> Any:
    """NumPy's numbers as Python's, and a list where widths are wanted as the tuple that they are kept in."""
    if isinstance(value, list) and get_origin(plain(without_none(hint))) is tuple:
        value = tuple(value)
    if isinstance(value, tuple):
        return tuple(_as_python(item, Any) for item in value)
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def without_none(hint: Any) -> Any:
    """``X`` of ``X | None``; any other type as it is."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return next(option for option in get_args(hint) if option is not type(None))


def plain(hint: Any) -> Any:
    """A type without its bounds."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _check(option: str, value: Any, hint: Any) -> None:
    if value is None and type(None) in get_args(hint):
        return
    hint = without_none(hint)
    kind, bounds = plain(hint), getattr(hint, "__metadata__", ())
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if not isinstance(value, tuple):
            raise InputError(f"{option} must be a tuple of {plain(item).__name__}; got {value!r}.")
        for element in value:
            _check(option, element, item)
        return
    if get_origin(kind) is Literal:
        bounds = (Registry(**dict.fromkeys(get_args(kind))),)
    elif not _is_of(kind, value):
        raise InputError(f"{option} must be of type {kind.__name__}; got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{option} must be finite; got {value}.")
    if kind is int and value >= 2**63:
        raise InputError(f"{option} must be below 2**63.")
    for bound in bounds:
        wanted = _missed(bound, value)
        if wanted:
            raise InputError(f"{option} must be {wanted}; got {value!r}.")


def _is_of(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _missed(bound: object, value: Any) -> str:
    """What ``value`` must be by this bound, if it is not; else nothing."""
    match bound:
        case Registry() if value not in bound:
            return f"one of {bound}"
        case Ge(ge=least) if value < least:
            return f"at least {least}"
        case Gt(gt=least) if value <= least:
            return f"above {least}"
        case Le(le=most) if value > most:
            return f"at most {most}"
        case Lt(lt=limit) if value >= limit:
            return f"below {limit}"
    return ""
