"""A run's folder: the names in it, what is written before training, and how it is read back.

Knows neither the algorithm nor the figures; imports no torch.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dyna_ail.config import Config, from_dict, to_dict
from dyna_ail.errors import InputError
from dyna_ail.files import replacing

CONFIG, VERSIONS, PROGRESS, DIAGNOSTICS = "config.json", "versions.json", "progress.csv", "diagnostics.csv"
POLICY, FIGURE = "policy.zip", "learning_curve.png"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
COLUMNS = ("interactions", "imagined", "return_mean", "return_std", "score", "seconds")
PACKAGES = ("torch", "gymnasium", "mujoco", "numpy", "stable-baselines3", "sb3-contrib", "dyna-ail")


@dataclass(frozen=True)
class Record:
    """A run read back from its folder.

    Attributes:
        path: the folder.
        config: its resolved configuration.
        random: return of the random policy, None if unknown.
        expert: return of the expert, None if unknown.
        progress: the columns of progress.csv, each [evaluations].
    """

    path: Path
    config: Config
    random: float | None
    expert: float | None
    progress: Mapping[str, np.ndarray]

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return bool(self.progress["interactions"][-1] >= self.config.interactions)

    def until(self, interactions: int) -> Record:
        """The run as it was at its last evaluation by then, as if that had been its budget; all of a shorter one."""
        done = self.progress["interactions"]
        within = done <= interactions
        budget = int(done[within][-1]) if done[-1] >= interactions else min(self.config.interactions, interactions)
        progress = {name: column[within] for name, column in self.progress.items()}
        return replace(self, config=replace(self.config, interactions=budget), progress=progress)


@contextmanager
def new_folder(config: Config, out: Path | None, force: bool) -> Iterator[Path]:
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
        name = f"{config.task}-{config.preset}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
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
    """Delete what killed processes left of files in the making; no run may be in progress in the folder."""
    for path in folder.glob(".*.tmp"):
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


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` as indented JSON, all or nothing."""
    with replacing(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")


def versions() -> dict[str, Any]:
    """What the run's numbers depend on besides its configuration: versions, threads, commit, command line."""
    import torch

    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    program = {"__main__.py": "dyna-ail", "cell.py": "dyna-ail"}.get(name := Path(sys.argv[0]).name, name)
    return {
        "versions": found,
        "platform": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
        "cpu": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "command": shlex.join([program, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def note_resumed(folder: Path, interactions: int) -> list[str]:
    """Add to versions.json that the run goes on from ``interactions``.

    Returns:
        A line for everything on which equal bits depend that has changed since the run started.

    Raises:
        InputError: versions.json cannot be understood.
    """
    told, now = {"versions": {}, "resumed": [], **_read_json(folder / VERSIONS)}, versions()
    if not isinstance(told["versions"], dict) or not isinstance(told["resumed"], list):
        raise InputError(f"{folder / VERSIONS} must hold versions, an object, and resumed, a list if it is there.")
    resumed = [*told["resumed"], {"interactions": interactions, **now}]
    write_json(folder / VERSIONS, {**told, "resumed": resumed})
    before, after = ({**found.pop("versions"), **found} for found in (dict(told), dict(now)))
    watched = ("python", *PACKAGES, "commit", "platform", "cpu", "threads")
    return [
        f"the run started with {name} {before.get(name)} and goes on with {after[name]}"
        for name in watched
        if before.get(name) != after[name]
    ]


def is_begun(folder: Path) -> bool:
    """Whether there is a run in ``folder``; one that was killed before its first line is none."""
    return (folder / CONFIG).exists()


def is_finished(folder: Path, config: Config) -> bool:
    """Whether the run in ``folder`` has come to its end."""
    done = interactions_done(folder)
    return done is not None and done >= config.interactions


def interactions_done(folder: Path) -> int | None:
    """Interactions at the last evaluation of the run in ``folder``; None before the first."""
    if not (folder / PROGRESS).exists() or not (folder / PROGRESS).stat().st_size:
        return None
    return int(read_progress(folder / PROGRESS)["interactions"][-1])


def _processor() -> str:
    """The processor's model, where the system tells it: even among those of one instruction set last bits differ."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of this source tree, ``-dirty`` with local changes; None when the package is installed elsewhere."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def read(path: Path) -> Record:
    """Read a run's folder.

    Raises:
        InputError: no folder, no run in it, or a file of it that cannot be understood.
    """
    config = read_config(path)
    return Record(path, config, **read_references(path, config.task), progress=read_progress(path / PROGRESS))


def read_references(folder: Path, task: str) -> dict[str, float | None]:
    """Returns of the random policy and of the expert: the run's, or the task's where versions.json was not kept."""
    path = folder / VERSIONS
    if not path.exists():
        from dyna_ail.envs.tasks import get_task

        return {"random": get_task(task).random, "expert": get_task(task).expert}
    references = _read_json(path).get("references", {})
    try:
        return {name: None if references[name] is None else float(references[name]) for name in ("random", "expert")}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} must hold references, the returns of random and expert (numbers or null); it holds {references!r}."
        ) from error


def read_config(path: Path) -> Config:
    """Read the configuration in a run's folder.

    Raises:
        InputError: no folder, no run in it, or a configuration that cannot be understood.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give the folder of a run, such as results/runs/NAME.")
    if not is_begun(path):
        raise InputError(f"{path} is not the folder of a run: it has no {CONFIG}.")
    try:
        return from_dict(_read_json(path / CONFIG))
    except (InputError, TypeError) as error:
        raise InputError(f"{path / CONFIG} is not the configuration of a run: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold a JSON object; it holds a {type(values).__name__}.")
    return values


def read_progress(path: Path) -> dict[str, np.ndarray]:
    """The columns of a progress.csv, each [evaluations].

    Raises:
        InputError: missing, empty, a column missing, a value that is no number, or interactions that do not rise from
            0.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not rows:
        raise InputError(f"{path} holds no evaluation; has the run finished its first?")
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        raise InputError(f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.")
    try:
        # A row with too many cells has them under the name None, a row with too few has None in them.
        found = {name: np.array([float(row[name]) for row in rows]) for name in set().union(*rows)}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    done = found["interactions"]
    if not np.isfinite(done).all() or done[0] != 0 or (np.diff(done) <= 0).any():
        raise InputError(f"{path} is damaged: its interactions must rise from 0.")
    return found
