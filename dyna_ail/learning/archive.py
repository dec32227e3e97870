"""Learners on disk: an SB3 archive with one member more, which holds tensors and numbers and no code."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from sb3_contrib import TRPO

from dyna_ail.errors import InputError, of_the_machine, one_line
from dyna_ail.files import check_archive, failing_as_oserror, read_state, replacing, write_state

LEARNER = "learner.pt"
"""The member of the archive that SB3 does not know, and leaves alone."""


def save(path: str | Path, agent: TRPO, state: dict[str, Any] | None = None) -> None:
    """Write the agent as SB3 does, and the ``state`` of a learner with it, whole or not at all.

    Args:
        path: the file; ``.zip`` is added where it has no ending, as SB3 does.
        agent: carries the policy.
        state: tensors, numbers and containers of them.

    Raises:
        OSError: it cannot be written; a file that was there stays.
    """
    path = _with_ending(path)
    with replacing(path) as file, failing_as_oserror(path):
        agent.save(file)  # type: ignore[arg-type]
        if state is not None:
            with zipfile.ZipFile(file, "a") as archive, archive.open(LEARNER, "w", force_zip64=True) as member:
                write_state(state, member)


def load(path: str | Path) -> dict[str, Any]:
    """The state that :func:`save` wrote. Runs no code from the file.

    Raises:
        InputError: the file is missing, damaged, or holds no learner.
    """
    path = _with_ending(path)
    if not path.is_file():
        raise InputError(f"no learner at {str(path)!r}: DynaAIL.save writes one.")
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(LEARNER)
    except KeyError as error:
        raise InputError(f"{str(path)!r} holds a policy but no learner: DynaAIL.save writes one.") from error
    except Exception as error:  # zipfile and zlib fail on damage in many ways
        if of_the_machine(error):
            raise
        raise InputError(f"{str(path)!r} is damaged: {one_line(error)}") from error
    return read_state(io.BytesIO(data), str(path))


def _with_ending(path: str | Path) -> Path:
    """The path with ``.zip`` added where it has no ending, as SB3 does."""
    path = Path(path)
    return path if path.suffix else path.with_suffix(".zip")
