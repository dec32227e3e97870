"""Files: written whole or not at all, checked before they are unpacked, and read without running their code."""

from __future__ import annotations

import errno
import json
import math
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dyna_ail.errors import InputError, of_the_machine, one_line

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
"""Version of the states that :func:`write_state` writes."""
LARGEST = 4 << 30
"""Bytes that any source of data may unpack to."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its place once written; if writing fails, ``path`` stays as it was.

    Raises:
        OSError: the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a crash may leave the new name with no content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` as indented JSON, all or nothing.

    Raises:
        OSError: the place cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of at most 16 MiB.

    Raises:
        InputError: missing, too large, damaged, or something else than an object.
    """
    try:
        if path.stat().st_size > 16 << 20:
            raise InputError(f"{path} must be a JSON file of at most 16 MiB.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold a JSON object; it holds a {type(values).__name__}.")
    return values


def allowance(size: int) -> int:
    """Bytes that a source of ``size`` bytes may unpack to: 200 times as many (64 MiB for a small one), at most 4 GiB.

    Recorded floats hardly compress; what unpacks to more was made to fill the memory.
    """
    return min(LARGEST, max(64 << 20, 200 * size))


def check_archive(path: Path) -> None:
    """Refuse a zip archive (an npz, a saved policy) that unpacks, or claims arrays, beyond its allowance.

    Raises:
        InputError: it does, or it is damaged.
    """
    try:
        allowed = allowance(path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > allowed:
                raise InputError(f"{str(path)!r} unpacks to more than {allowed >> 20} MiB, too much for its size.")
            for member in archive.infolist():
                if member.filename.endswith(".npy") and _claimed(archive, member) > member.file_size:
                    raise InputError(f"{str(path)!r} is damaged: {member.filename} claims more than it holds.")
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib, lzma and NumPy fail on damage in many ways
        raise InputError(f"{str(path)!r} is damaged: {one_line(error)}") from error


def _claimed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes that the header of an .npy member claims; 0 for pickled objects, which are refused when read."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return 0 if dtype.hasobject else math.prod(shape) * dtype.itemsize


def load_weights(file: IO[bytes]) -> dict[str, Tensor]:
    """A state dict, read without running code.

    Raises:
        InputError: it holds something else than named tensors of floats.
    """
    import torch

    check_tensors(file)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    ):
        raise InputError("its weights are not a dictionary of named tensors.")
    return {name: value.detach().float() for name, value in weights.items()}


def check_tensors(file: IO[bytes]) -> None:
    """Refuse what ``torch.save`` has not written: it does not compress, so nothing unpacks to more than its size.

    Raises:
        InputError: it does.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > file.seek(0, os.SEEK_END):
            raise InputError("its tensors unpack to more than their size: they were made to fill the memory.")
    file.seek(0)


def write_state(state: dict[str, Any], file: IO[bytes]) -> None:
    """Write tensors, plain numbers and containers of them, as :func:`read_state` reads them."""
    import torch

    torch.save({"format": FORMAT, **state}, file)


def read_state(file: IO[bytes], name: str) -> dict[str, Any]:
    """What :func:`write_state` wrote. Runs no code from the file.

    Args:
        file: open for reading.
        name: what messages call it.

    Raises:
        InputError: it is damaged, or something else.
        MemoryError, RuntimeError, OSError: as :func:`dyna_ail.errors.of_the_machine`.
    """
    import torch

    try:
        check_tensors(file)
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
            marked = [info.filename for info in archive.infolist() if info.external_attr]
        if damaged is not None:
            raise InputError(f"bad checksum of {damaged}.")
        if marked:  # torch sets none, and reads nothing from a member that is marked as a folder
            raise InputError(f"unexpected attributes of {marked[0]}.")
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about files of other kinds
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damage shows in zipfile, pickle and torch, in many ways
        if of_the_machine(error):
            raise
        raise InputError(f"{name!r} is no checkpoint, or a damaged one: {one_line(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not _plain(state):
        raise InputError(f"{name!r} is not a checkpoint of this version of dyna-ail.")
    del state["format"]
    return state


def _plain(value: Any) -> bool:
    """Whether all tensors within lie in memory as their shape says: another can claim to be of any size."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.device.type == "cpu" and value.layout is torch.strided and value.is_contiguous()
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return not isinstance(value, list | tuple) or all(map(_plain, value))


@contextmanager
def failing_as_oserror(path: Path) -> Iterator[None]:
    """Torch raises a RuntimeError when a write fails or is interrupted: what was behind it is raised instead."""
    try:
        yield
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError) or (cause is not None and not isinstance(cause, Exception)):
            raise cause from error
        raise OSError(errno.EIO, one_line(error), str(path)) from error
