"""The file format of demonstrations: compressed npz, no pickle.

A file holds the trajectories end to end: obs [sum(T_i + 1), obs_dim], action [sum(T_i), ...], reward [sum(T_i)],
lengths [n] (the T_i), terminated [n], thinned (k if every k-th pair is held, and then obs is [sum(T_i), obs_dim]), and
metadata, a JSON text with the provenance. Here a trajectory is a dictionary of its obs, action, reward and terminated.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.demos.arrays import converted
from dyna_ail.errors import InputError, one_line
from dyna_ail.files import check_archive, replacing

Arrays = dict[str, npt.NDArray[Any]]

ARRAYS = ("obs", "action", "reward", "lengths", "terminated", "metadata")
"""The arrays of a file; it may also hold ``thinned``."""


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
    """All arrays of the file, each with its expected name; what they hold is not looked at.

    Raises:
        InputError: the file is missing, is not of this format, or is damaged.
    """
    name = str(path)
    try:
        return _read(Path(path))
    except FileNotFoundError as error:
        raise InputError(f"no demonstrations at {name!r}: record some with `dyna-ail demos record`.") from error
    except Exception as error:  # zipfile, zlib, lzma and NumPy fail on damage in many ways
        raise InputError(
            f"cannot read demonstrations {name!r}: expected a whole .npz file without pickled objects; "
            + one_line(error)
        ) from error


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, Any]) -> None:
    """Write a compressed npz file, whole or not at all; an existing one is replaced.

    Raises:
        InputError: the place cannot be written.
    """
    with _writing(Path(path)) as target, replacing(target) as file:
        np.savez_compressed(file, **arrays)


def check_place(path: Path) -> None:
    """Refuse a place that cannot be written, before the work that is to be kept there.

    Raises:
        InputError: as :func:`write_arrays`.
    """
    with _writing(path) as target:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=target.parent):
            pass


def join_trajectories(trajectories: Sequence[Mapping[str, Any]], thinned: int, metadata: dict[str, Any]) -> Arrays:
    """The arrays of a file, the opposite of :func:`split_trajectories`."""
    return {
        "obs": np.concatenate([t["obs"] for t in trajectories]),
        "action": np.concatenate([t["action"] for t in trajectories]),
        "reward": np.concatenate([t["reward"] for t in trajectories]),
        "lengths": np.asarray([len(t["action"]) for t in trajectories], dtype=np.int64),
        "terminated": np.asarray([t["terminated"] for t in trajectories], dtype=np.bool_),
        "thinned": np.asarray(thinned),
        "metadata": np.asarray(json.dumps(metadata)),
    }


def split_trajectories(arrays: Arrays, thinned: int) -> list[dict[str, Any]]:
    """Cut the arrays of a file at the trajectories' ends.

    Raises:
        InputError: lengths that do not fit the other arrays.
    """
    obs, action, reward = arrays["obs"], arrays["action"], arrays["reward"]
    lengths = converted("lengths", arrays["lengths"], "int64", ndim=1)
    terminated = converted("terminated", arrays["terminated"], "bool", ndim=1)
    for name, array in (("obs", obs), ("action", action), ("reward", reward)):
        if array.ndim < 1:
            raise InputError(f"{name} must hold one row per step; got a single value.")
    steps, count, extra = int(lengths.sum()), len(lengths), int(thinned == 1)
    if count < 1 or lengths.min() < 1 or len(terminated) != count:
        raise InputError(
            f"lengths and terminated must hold one entry per trajectory, each length at least 1; "
            f"got lengths {lengths.tolist()[:10]} and {len(terminated)} entries of terminated."
        )
    if (len(obs), len(action), len(reward)) != (steps + count * extra, steps, steps):
        raise InputError(
            f"{count} trajectories of {steps} steps together need {steps + count * extra} observations, "
            f"{steps} actions and {steps} rewards; got {len(obs)}, {len(action)} and {len(reward)}."
        )
    trajectories, start = [], 0
    for index, length in enumerate(lengths.tolist()):
        end = start + length
        trajectories.append(
            {
                "obs": obs[start + index * extra : end + (index + 1) * extra],
                "action": action[start:end],
                "reward": reward[start:end],
                "terminated": bool(terminated[index]),
            }
        )
        start = end
    return trajectories


def parse_thinned(array: npt.NDArray[Any]) -> int:
    """Of the array ``thinned``: the k of every k-th pair.

    Raises:
        InputError: it is something else than one integer.
    """
    if array.ndim != 0 or array.dtype.kind != "i":
        raise InputError(f"thinned must be one integer; got {array.dtype} of shape {array.shape}.")
    return int(array)


def parse_metadata(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Of the array ``metadata``: what the JSON text holds.

    Raises:
        InputError: it is something else than a JSON object.
    """
    try:
        metadata = json.loads(str(array))
    except (ValueError, RecursionError) as error:
        raise InputError(f"metadata must be a JSON text; {error}.") from error
    if array.ndim != 0 or array.dtype.kind != "U" or not isinstance(metadata, dict):
        raise InputError("metadata must be one JSON text that holds an object.")
    return metadata


def _read(path: Path) -> Arrays:
    with path.open("rb") as file:
        check_archive(path)
        npz = np.load(file, allow_pickle=False)
        if not isinstance(npz, np.lib.npyio.NpzFile):
            raise ValueError("this is a single array.")
        missing = [name for name in ARRAYS if name not in npz]
        if missing:
            raise ValueError(f"missing from it: {', '.join(missing)}.")
        whole = {"thinned": np.asarray(1)}  # files written before trajectories could be thinned
        return whole | {name: npz[name] for name in (*ARRAYS, *(set(whole) & set(npz)))}


@contextmanager
def _writing(target: Path) -> Iterator[Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
    except OSError as error:
        raise InputError(f"cannot write demonstrations to {str(target)!r}: {error.strerror}.") from error
