"""Arrays of demonstrations, checked and converted to the precision that is kept: float32, int64 or bool."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.errors import InputError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_CONVERTED_FROM = {"float32": "iuf", "int64": "iu", "bool": "b"}
"""The kinds of NumPy types that a type is made of."""


def in_precision(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """The same numbers as ``dtype``; one too large for it becomes an infinity, which :func:`converted` refuses."""
    with np.errstate(over="ignore"):
        return array.astype(dtype)  # a copy, also of the same precision: the caller may write to the array


def converted(name: str, array: npt.NDArray[Any], dtype: str, ndim: int) -> npt.NDArray[Any]:
    """The array in the precision ``dtype``.

    Raises:
        InputError: another kind or number of axes, or NaN or infinite values. ``name`` tells which array it is.
    """
    if array.dtype.kind not in _CONVERTED_FROM[dtype] or array.ndim != ndim:
        raise InputError(f"{name} must be {dtype} with {ndim} axes; got {array.dtype.name} of shape {array.shape}.")
    array = in_precision(array, dtype)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise InputError(f"{name} must be finite; got NaN or infinity at row {row}.")
    return array


def convert_field(part: object, name: str, dtype: str, ndim: int) -> None:
    """Replace an array of a frozen dataclass, while that is made, by the :func:`converted` one."""
    object.__setattr__(part, name, converted(name, getattr(part, name), dtype, ndim))
