"""What every format shares: a first look at a source, and its provenance."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError, one_line

ZIP, HDF5 = b"PK", b"\x89HDF\r\n\x1a\n"
"""First bytes of a file."""


@dataclass(frozen=True)
class Source:
    """What the user gave, and what is known about it without reading it whole."""

    given: str
    """As the user wrote it."""
    magic: bytes
    """The first bytes of a file; empty for anything else."""
    members: frozenset[str]
    """Names in a folder (one ``/`` deep for its subfolder ``data``) or in a zip archive."""

    @property
    def path(self) -> Path:
        """The file or folder; need not exist."""
        return Path(self.given)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip archive, such as an npz."""
        return self.magic.startswith(ZIP)


@dataclass(frozen=True)
class Format:
    """One format that demonstrations come in."""

    name: str
    """What it is called in messages and in metadata."""
    expects: str
    """What is recognised, for messages."""
    matches: Callable[[Source], bool]
    """Whether the source is of this format, even if it is damaged."""
    load: Callable[[Source, str, int, int], Demonstrations]
    """Reads a source for a task. The number of episodes and the seed are for policies, whose episodes are recorded.
    Raises InputError."""


def look(source: str | os.PathLike[str]) -> Source:
    """Look at a source without reading it whole.

    Raises:
        InputError: it cannot be opened, or is a zip archive without a readable list of members.
    """
    given = os.fspath(source)
    try:
        path = Path(given)
        if path.is_dir():
            names = {entry.name for entry in path.iterdir()}
            if "data" in names and (path / "data").is_dir():
                names |= {f"data/{entry.name}" for entry in (path / "data").iterdir()}
            return Source(given, b"", frozenset(names))
        if not path.is_file():
            return Source(given, b"", frozenset())
        with path.open("rb") as file:
            magic = file.read(8)
        if not magic.startswith(ZIP):
            return Source(given, magic, frozenset())
        with zipfile.ZipFile(path) as archive:
            return Source(given, magic, frozenset(archive.namelist()))
    except OSError as error:
        raise InputError(f"cannot open {given!r}: {error.strerror or error}.") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot open {given!r}: {error}.") from error
    except Exception as error:  # zipfile fails on a damaged archive in many ways
        raise InputError(f"{given!r} is a damaged zip archive: {one_line(error)}") from error


def provenance(source: Source, format: str, data: Path | None = None) -> dict[str, Any]:
    """The entry ``source`` of the metadata, with the SHA-256 of ``data`` if that single file holds everything.

    Raises:
        InputError: the file cannot be read.
    """
    entry = {"format": format, "path": source.given}
    if data is not None:
        try:
            with data.open("rb") as file:
                entry["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"cannot read {str(data)!r}: {error.strerror or error}.") from error
    return entry
