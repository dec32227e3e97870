"""Files: written whole or not at all, and archives looked at before they are unpacked."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from dyna_ail.errors import InputError, one_line

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
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a crash may leave the new name with no content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
