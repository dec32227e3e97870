"""Trajectories saved by the package `imitation`: a Hugging Face datasets folder, or the npz of its older versions.

Both hold ``infos``, Python objects whose decoding can run any code. They are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError, one_line, printable
from dyna_ail.files import check_archive, read_json
from dyna_ail.formats.episodes import Episode, Room, demonstrations_of, split
from dyna_ail.formats.isolated import read_arrays
from dyna_ail.formats.source import Format, Source, provenance

NAME = "imitation"


def _is_folder(source: Source) -> bool:
    return source.is_folder and "state.json" in source.members


def _is_npz(source: Source) -> bool:
    return source.is_zip and "acts.npy" in source.members


def _load_folder(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Read a folder written by ``imitation.data.serialize.save``: columns obs, acts, terminal and rews, one row each.

    Raises:
        InputError: pyarrow is missing, the folder is damaged or something else, or its data do not fit the task.
    """
    files = _arrow_files(source)
    arrays = read_arrays("arrow", files, NAME, "imitation")
    lengths = arrays["obs_lengths"], arrays["acts_lengths"], arrays.get("rews_lengths")
    return _demonstrations(source, arrays, *lengths, task, files[0] if len(files) == 1 else None)


def _arrow_files(source: Source) -> list[Path]:
    state = read_json(source.path / "state.json")
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{source.given!r} must list its _data_files in state.json.") from error
    if not names or not source.members.issuperset(names):  # nothing outside the folder
        listed = printable(", ".join(names[:5])) or "none"
        raise InputError(f"{source.given!r} must hold the files that its state.json lists: {listed}.")
    return [source.path / name for name in names]


def _load_npz(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Read a file of an older version: obs, acts, terminal [n], indices [n-1] (where trajectories end), perhaps rews.

    Raises:
        InputError: damaged, too large, missing arrays, or data that do not fit the task.
    """
    check_archive(source.path)
    try:
        with np.load(source.path, allow_pickle=False) as npz:
            missing = [name for name in ("obs", "acts", "terminal", "indices") if name not in npz]
            if missing:
                raise InputError(f"missing from it: {', '.join(missing)}.")
            arrays = {name: npz[name] for name in ("obs", "acts", "terminal", "indices", "rews") if name in npz}
    except Exception as error:  # zipfile, zlib, lzma and NumPy fail on damage in many ways
        raise InputError(f"cannot read {source.given!r} as {NAME} data: {one_line(error)}") from error
    try:
        lengths = _lengths(arrays)
    except InputError as error:
        raise InputError(f"{source.given!r} cannot be used as {NAME} data: {error}") from error
    rewards = lengths if "rews" in arrays else None
    return _demonstrations(source, arrays, lengths + 1, lengths, rewards, task, source.path)


def _lengths(arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """The trajectories' numbers of steps."""
    obs, acts, terminal, indices = (arrays[name] for name in ("obs", "acts", "terminal", "indices"))
    if min(obs.ndim, acts.ndim) < 1 or terminal.ndim != 1 or indices.shape != (max(0, len(terminal) - 1),):
        raise InputError("terminal must hold one entry a trajectory, indices one less, obs and acts one row a step.")
    if len(indices) and indices.dtype.kind not in "iu":
        raise InputError(f"indices must be whole numbers; got {indices.dtype}.")
    lengths = np.diff(np.concatenate([[0], indices.astype(np.int64), [len(acts)]]))  # no indices are float64
    rewards = len(arrays["rews"]) if arrays.get("rews", acts).ndim and "rews" in arrays else len(acts)
    if lengths.min() < 1 or (len(obs), rewards) != (len(acts) + len(lengths), len(acts)):
        raise InputError(
            f"{len(lengths)} trajectories of {len(acts)} steps together, each at least 1, need "
            f"{len(acts) + len(lengths)} observations; got lengths {lengths.tolist()[:10]}, {len(obs)} observations "
            f"and {rewards} rewards."
        )
    return lengths


def _demonstrations(
    source: Source,
    arrays: dict[str, npt.NDArray[Any]],
    obs_lengths: Sequence[int] | npt.NDArray[np.int64],
    act_lengths: Sequence[int] | npt.NDArray[np.int64],
    reward_lengths: Sequence[int] | npt.NDArray[np.int64] | None,
    task: str,
    data: Path | None,
) -> Demonstrations:
    """`imitation` also marks episodes that a time limit cut as terminal, so an episode of full length counts as cut."""
    room = Room.of(task)
    obs, acts = split(arrays["obs"], obs_lengths), split(arrays["acts"], act_lengths)
    rewards: Sequence[Any] = [None] * len(acts) if reward_lengths is None else split(arrays["rews"], reward_lengths)
    try:
        found = [
            Episode(o, a, r, bool(terminal) and len(a) != room.max_episode_steps)
            for o, a, r, terminal in zip(obs, acts, rewards, arrays["terminal"], strict=True)
        ]
        return demonstrations_of(found, room, {"source": provenance(source, NAME, data)})
    except InputError as error:
        raise InputError(f"{source.given!r} cannot be used as {NAME} data: {error}") from error


FOLDER = Format(NAME, "a folder of trajectories saved by imitation", _is_folder, _load_folder)
NPZ = Format(NAME, "an npz saved by older versions of imitation", _is_npz, _load_npz)
