"""Demonstrations in the formats of other packages, read and written. A format is one file, and one line in ``FORMATS``.

A source is recognised by what it holds, never by the ending of its name. Nothing in it is executed.
"""

from __future__ import annotations

import os
from pathlib import Path

from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError, printable
from dyna_ail.formats import d4rl, imitation, minari, npz, policies
from dyna_ail.formats.source import Format, Source, look

FORMATS: tuple[Format, ...] = (
    npz.FORMAT,
    imitation.NPZ,
    policies.ARCHIVE,
    policies.FOLDER,
    imitation.FOLDER,
    minari.FORMAT,
    d4rl.FORMAT,
)
"""In the order in which they are tried."""


def recognise(source: str | os.PathLike[str]) -> Format:
    """The format of a source.

    Args:
        source: a file, a folder or the id of a local Minari dataset.

    Raises:
        InputError: no known format; the message lists the known ones.
    """
    return _format(look(source))


def load(source: str | os.PathLike[str], task: str, episodes: int, seed: int) -> Demonstrations:
    """Read demonstrations from a source of any known format. Runs no code from it.

    The result has the widths and kinds of the task's spaces. ``Demonstrations.check`` also checks the bounds of its
    actions. An npz file of this package is returned as it is.

    Args:
        source: a file, a folder or the id of a local Minari dataset.
        task: Gymnasium id, or module:id, of the task that the demonstrations are for.
        episodes: how many to record, where the source is a policy.
        seed: seed of the episodes recorded from a policy.

    Returns:
        The demonstrations. ``metadata["task"]`` is the task, ``metadata["source"]`` has the format, the path as given
        and, for a single file, its sha256; ``metadata["expert_return"]`` is the mean return, if the source has rewards.

    Raises:
        InputError: the source is missing, damaged, of no known format, or does not fit the task; or a package that it
            needs is not installed.
    """
    seen = look(source)
    return _format(seen).load(seen, task, episodes, seed)


def save(demonstrations: Demonstrations, target: str | os.PathLike[str], task: str) -> Path:
    """Write demonstrations as an npz file or as a local Minari dataset.

    Args:
        demonstrations: what to write.
        target: a path that ends in ``.npz``, or a Minari id, ``[namespace/]name-vN``.
        task: the task they are of.

    Returns:
        The file, or the dataset's folder.

    Raises:
        InputError: the target is neither, or cannot be written. For Minari also: it exists, the demonstrations are
            thinned, or the package is not installed.
    """
    name = os.fspath(target)
    if name.endswith(".npz"):
        demonstrations.save(name)
        return Path(name)
    if minari.is_id(name):
        return minari.save(demonstrations, name, task)
    raise InputError(
        f"cannot tell the format of {name!r}: give a file that ends in .npz, or a Minari id, such as toys/demo-v0."
    )


def _format(source: Source) -> Format:
    for format in FORMATS:
        if format.matches(source):
            return format
    raise InputError(f"{_what(source)} Understood are: {'; '.join(format.expects for format in FORMATS)}.")


def _what(source: Source) -> str:
    """One sentence that describes a source of no known format."""
    given = repr(source.given)
    if source.is_folder:
        if "dataset_dict.json" in source.members:
            return f"{given} has several splits: name the folder of one of them."
        return f"the folder {given} holds no demonstrations: {_names(source)}."
    if source.is_zip:
        return f"the archive {given} is neither demonstrations nor a policy: it holds {_names(source)}."
    if source.magic[:1] == b"\x80" or source.path.suffix in (".pkl", ".pickle"):
        return f"{given} is a pickle, which could run code when opened: save its arrays as an npz instead."
    if source.magic:
        return f"the file {given} is no demonstrations."
    if source.path.is_file():
        return f"the file {given} is empty."
    return f"no file, folder or Minari dataset {given}."


def _names(source: Source) -> str:
    names = sorted(source.members)
    return printable(", ".join(names[:8])) + (", ..." if len(names) > 8 else "") or "nothing"
