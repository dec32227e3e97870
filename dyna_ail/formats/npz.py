"""The package's own npz files."""

from __future__ import annotations

import dataclasses

from dyna_ail.demos import ARRAYS, Demonstrations
from dyna_ail.formats.source import Format, Source, provenance

NAME = "npz"


def _matches(source: Source) -> bool:
    return source.is_zip and bool({"action.npy", "lengths.npy"} & source.members)


def _load(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Read a file written by ``Demonstrations.save`` as it is. ``metadata["source"]`` keeps where it came from.

    Raises:
        InputError: damaged, too large, or not sound.
    """
    found = Demonstrations.load(source.path)
    entry = provenance(source, NAME, source.path)
    if "source" in found.metadata:
        entry["source"] = found.metadata["source"]
    return dataclasses.replace(found, metadata={"task": task, **found.metadata, "source": entry})


EXPECTS = f"an npz with {', '.join(ARRAYS)}, as `dyna-ail demos record` and `convert` and Demonstrations.save write it"
FORMAT = Format(NAME, EXPECTS, _matches, _load)
