"""A run's folder: the names in it, made new, locked while the run is in progress, and cleaned up."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dyna_ail.config import RunConfig, to_dict
from dyna_ail.errors import InputError
from dyna_ail.files import write_json

CONFIG, VERSIONS, PROGRESS, DIAGNOSTICS = "config.json", "versions.json", "progress.csv", "diagnostics.csv"
POLICY, FIGURE = "policy.zip", "learning_curve.png"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
COLUMNS = ("interactions", "imagined", "return_mean", "return_std", "score", "seconds")


@contextmanager
def new_folder(config: RunConfig, out: Path | None, force: bool) -> Iterator[Path]:
    """Make the folder of a run, locked while it runs, and make sure that it can be written to.

    Args:
        config: names the folder when ``out`` is None: ``results/runs/<task>-<preset>-<seed>-<time>``, always new.
        out: the folder to make.
        force: take ``out`` even if it exists; a run's files in it are removed, other files stay.

    Raises:
        InputError: ``out`` exists and ``force`` is off, a run is in progress in it, or the folder cannot be made or
            written to.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; --out must name a folder for the run.")
        if out.exists() and not force:
            raise InputError(
                f"{out} exists; choose another --out, overwrite the run in it with --force, or go on with it: "
                f"--resume {out}."
            )
        folder = out
    else:
        name = f"{config.task}-{config.preset}-{config.learner.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        name = re.sub(r"[^\w.-]+", "-", name)
        parent = Path("results", "runs")
        candidates = (parent / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
        folder = next(candidate for candidate in candidates if not candidate.exists())
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None and force)
            stack.enter_context(locked(folder))
            for name in (PROGRESS, DIAGNOSTICS, POLICY, FIGURE, CONFIG, VERSIONS):
                (folder / name).unlink(missing_ok=True)
            remove_checkpoints(folder)
            for events in folder.glob("events.out.tfevents.*"):
                events.unlink()
            write_json(folder / CONFIG, to_dict(config))
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --out.") from error
        yield folder


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a run."""
    for name in (CHECKPOINT, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    remove_unfinished(folder)


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files of killed processes. No run may be in progress in the folder."""
    written = (CHECKPOINT, POLICY, FIGURE, CONFIG, VERSIONS, PROGRESS, DIAGNOSTICS)
    for path in (path for name in written for path in folder.glob(f".{name}.*.tmp")):
        path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone (not on Windows).

    Raises:
        InputError: a run is in progress in it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"a run is in progress in {folder}: wait for it, or stop it.") from error
        yield
    finally:
        os.close(handle)


def is_begun(folder: Path) -> bool:
    """Whether ``folder`` holds a run. One that was killed before it wrote its configuration does not count."""
    return (folder / CONFIG).exists()
