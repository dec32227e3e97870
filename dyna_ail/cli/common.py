"""What several commands share: types of options, names of files, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail.errors import InputError

OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]


def file_name(task: str) -> str:
    """A task's id as part of a file name."""
    return task.replace(":", "-").replace("/", "-")


def expert_folder(task: str) -> Path:
    """Where an expert of the task is written by default."""
    return Path("results", "runs", f"expert-{file_name(task)}")


def refuse_existing(out: Path, force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        InputError: ``out`` exists, and ``force`` is off.
    """
    if out.exists() and not force:
        raise InputError(f"{out} exists; choose another name, or overwrite it with --force.")


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy does not take.

    Raises:
        InputError: the seed is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed must be at least 0 and below 2**32; got {seed}.")


def at_least(option: str, value: int, least: int) -> None:
    """Refuse a value that is too small.

    Raises:
        InputError: the value is too small; the message names the option.
    """
    if value < least:
        raise InputError(f"{option} must be at least {least}; got {value}.")
