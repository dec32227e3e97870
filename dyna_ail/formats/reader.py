"""Reads the arrays of HDF5 and Arrow files in a process of its own: ``python reader.py KIND LIMIT PATH [PATH ...]``.

``isolated.py`` starts it, and says why. The arrays go to stdout as an npz. A refusal is one line on stderr, with status
3. Only numeric arrays with known names are read: never attributes, texts, links to other files or pickles. This module
imports nothing of the project, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

REFUSED = 3
"""Exit status."""

MINARI = ("observations", "actions", "rewards", "terminations", "truncations")
D4RL = ("observations", "actions", "rewards", "terminals")
D4RL_OPTIONAL = ("timeouts", "next_observations")
IMITATION = ("obs", "acts", "terminal")
IMITATION_OPTIONAL = ("rews",)

Arrays = dict[str, "np.ndarray[Any, Any]"]


class Refused(Exception):
    """The file is not what it should be; the message says why."""


def read_hdf5(paths: Sequence[str], limit: int) -> Arrays:
    """The arrays of a D4RL or Minari file.

    Args:
        paths: the one file.
        limit: bytes that its arrays may have in all.

    Returns:
        D4RL: ``D4RL`` and those of ``D4RL_OPTIONAL`` that are there. Minari: ``MINARI``, each with the episodes end to
        end, and their rows as ``<name>_lengths``.

    Raises:
        Refused: neither of the two, or arrays that are missing, too large or not numbers.
    """
    import h5py

    with h5py.File(paths[0], "r") as file:
        names = list(file)
        episodes = sorted((n for n in names if re.fullmatch(r"episode_\d+", n)), key=lambda n: int(n.split("_")[1]))
        if episodes:
            return _episodes(file, episodes, limit)
        if "observations" not in names and "actions" not in names:
            found = ", ".join(sorted(names)[:10]) or "nothing"
            raise Refused(f"expected {', '.join(D4RL)} (D4RL), or episode_0, episode_1, ... (Minari); found {found}.")
        _expect_all(D4RL, names)
        arrays: Arrays = {}
        for name in (*D4RL, *(n for n in D4RL_OPTIONAL if n in names)):
            arrays[name] = _array(file, name, limit - sum(a.nbytes for a in arrays.values()))
        return arrays


def _episodes(file: Any, episodes: Sequence[str], limit: int) -> Arrays:
    pieces: dict[str, list[Any]] = {name: [] for name in MINARI}
    for episode in episodes:
        group = _member(file, episode)
        _expect_all(MINARI, list(group), f"of {episode}")
        for name in MINARI:
            pieces[name].append(_array(group, name, limit, episode))
            limit -= pieces[name][-1].nbytes
    return _joined(pieces)


def _member(group: Any, name: str) -> Any:
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"{name} is a link; the data must be in the file itself.")
    return group[name]


def _array(group: Any, name: str, limit: int, where: str = "the file") -> Any:
    """A numeric dataset, whole, if it has at most ``limit`` bytes."""
    import h5py

    dataset = _member(group, name)
    if isinstance(dataset, h5py.Group):
        raise Refused(f"{name} is a group of arrays (a Dict or Tuple space): flatten it to rows of numbers.")
    if dataset.is_virtual or dataset.external:
        raise Refused(f"{name} refers to other files; the data must be in the file itself.")
    if dataset.dtype.kind not in "biuf" or dataset.ndim < 1:
        raise Refused(f"{name} of {where} must be an array of numbers; got {dataset.dtype} of shape {dataset.shape}.")
    if math.prod(dataset.shape) * dataset.dtype.itemsize > limit:
        raise Refused(f"{name} of {where} claims the shape {dataset.shape}, too large for a file of this size.")
    # Doubles become single on the way in: half the memory.
    return dataset.astype(np.float32)[()] if dataset.dtype == np.float64 else dataset[()]


def read_arrow(paths: Sequence[str], limit: int) -> Arrays:
    """The columns of an `imitation` trajectory folder; ``infos``, which holds encoded Python objects, is left alone.

    Args:
        paths: its Arrow files, in order.
        limit: bytes that the arrays may have in all.

    Returns:
        obs, acts and, if there, rews, each with the trajectories end to end, and their rows as ``<name>_lengths``;
        terminal [n].

    Raises:
        Refused: missing columns, columns of other types, or ragged rows.
    """
    pieces: dict[str, list[Any]] = {}
    terminal: list[Any] = []
    for path in paths:
        for batch in _batches(path):
            names = batch.schema.names
            _expect_all(IMITATION, names)
            for name in names:
                if name != "terminal":
                    pieces.setdefault(name, []).extend(_rows(name, batch.column(name)))
            terminal.append(_numbers("terminal", batch.column("terminal")))
            limit -= batch.nbytes
            if limit < 0:
                raise Refused("its columns unpack to more than a file of this size may.")
    if not terminal or any(len(rows) != sum(map(len, terminal)) for rows in pieces.values()):
        raise Refused("expected at least one trajectory, and the same columns in every file.")
    return {**_joined(pieces), "terminal": np.concatenate(terminal)}


def _batches(path: str) -> Any:
    """The checked record batches of a stream, with the columns wanted alone."""
    import pyarrow as pa

    with pa.memory_map(path) as file:
        names = pa.ipc.open_stream(file).schema.names
    _expect_all(IMITATION, names)
    wanted = [names.index(name) for name in (*IMITATION, *IMITATION_OPTIONAL) if name in names]
    options = pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
    with pa.memory_map(path) as file:
        for batch in pa.ipc.open_stream(file, options=options):
            batch.validate(full=True)  # or an offset may point outside the file
            yield batch


def _rows(name: str, column: Any) -> list[Any]:
    """A column of lists, or of lists of lists, as one array a trajectory."""
    values, lengths = _flat(name, column)
    if _is_list(values.type):
        values, widths = _flat(name, values)
        if len(widths) and widths.min() != widths.max():
            raise Refused(f"{name} has ragged rows, of {widths.min()} to {widths.max()} numbers.")
        array = _numbers(name, values).reshape(len(widths), -1 if len(values) else 0)
    else:
        array = _numbers(name, values)
    return np.split(array, np.cumsum(lengths)[:-1])


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _flat(name: str, column: Any) -> tuple[Any, Any]:
    """The elements of a column of lists end to end, and the lists' lengths."""
    import pyarrow.compute as pc

    if not _is_list(column.type) or column.null_count:
        raise Refused(f"{name} must be lists of numbers, none missing; got {column.type}.")
    return pc.list_flatten(column), pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(name: str, column: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not numeric or column.null_count:
        raise Refused(f"{name} must be numbers, none missing; got {kind}.")
    return column.to_numpy(zero_copy_only=False)


def _expect_all(expected: Sequence[str], found: Sequence[str], where: str = "") -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise Refused(f"missing from it: {', '.join(missing)}{where and ' ' + where}.")


def _joined(pieces: dict[str, list[Any]]) -> Arrays:
    """Every name's arrays end to end, and their lengths.

    Raises:
        Refused: arrays of one name with rows of different shapes or kinds.
    """
    arrays: Arrays = {}
    for name, parts in pieces.items():
        for index, part in enumerate(parts):
            if (part.shape[1:], part.dtype.kind) != (parts[0].shape[1:], parts[0].dtype.kind):
                first, other = (f"{a.dtype} rows of shape {a.shape[1:]}" for a in (parts[0], part))
                raise Refused(f"{name} has {first} in episode 0 and {other} in episode {index}.")
        arrays[name] = np.concatenate(parts)
        arrays[f"{name}_lengths"] = np.array([len(part) for part in parts], dtype=np.int64)
    return arrays


READERS = {"hdf5": read_hdf5, "arrow": read_arrow}


def bound_memory(limit: int) -> None:
    """Let this process map 1 GiB for its libraries and three times ``limit``, and write no core file if it crashes."""
    with contextlib.suppress(ImportError):  # Windows has no such bound
        import resource

        bound = (1 << 30) + 3 * limit
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(kind: str, limit: int, paths: Sequence[str]) -> int:
    """Write the arrays to stdout, or why not to stderr.

    Returns:
        The exit status.
    """
    try:
        arrays = READERS[kind](paths, limit)
    except Refused as refused:
        message = str(refused)
    except MemoryError:
        message = "it needs more memory than a file of this size may."
    except Exception as error:  # h5py and Arrow fail on a damaged file in many ways
        message = f"it is damaged ({type(error).__name__}: {error}); get it anew."
    else:
        np.savez(sys.stdout.buffer, **arrays)  # type: ignore[arg-type]
        return 0
    print(json.dumps(message), file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    bound_memory(int(sys.argv[2]))
    sys.exit(answer(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
