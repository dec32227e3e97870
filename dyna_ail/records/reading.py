"""Runs read back from their folders. Imports no torch and makes no environment."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dyna_ail.config import RunConfig, from_dict, with_values
from dyna_ail.errors import InputError
from dyna_ail.files import read_json
from dyna_ail.records.folder import COLUMNS, CONFIG, PROGRESS, VERSIONS, is_begun


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
    config: RunConfig
    random: float | None
    expert: float | None
    progress: Mapping[str, np.ndarray]

    @property
    def finished(self) -> bool:
        """Whether it has spent its budget."""
        return _finished(self.progress, self.config)

    def until(self, interactions: int) -> Record:
        """The run up to its last evaluation within ``interactions``, as if its budget ended there. Shorter runs stay
        whole.
        """
        done = self.progress["interactions"]
        within = done <= interactions
        whole = self.config.learner.interactions
        budget = int(done[within][-1]) if done[-1] >= interactions else min(whole, interactions)
        progress = {name: column[within] for name, column in self.progress.items()}
        return replace(self, config=with_values(self.config, {"interactions": budget}), progress=progress)


def read(path: Path) -> Record:
    """Read a run's folder.

    Raises:
        InputError: no folder, no run in it, or a file of it that cannot be understood.
    """
    config = read_config(path)
    return Record(path, config, **read_references(path), progress=read_progress(path / PROGRESS))


def read_references(folder: Path) -> dict[str, float | None]:
    """Returns of the ``random`` policy and of the ``expert``; None where unknown, or if there is no versions.json.

    Raises:
        InputError: versions.json cannot be understood.
    """
    path = folder / VERSIONS
    if not path.exists():
        return {"random": None, "expert": None}
    references = read_json(path).get("references", {})
    try:
        return {name: None if references[name] is None else float(references[name]) for name in ("random", "expert")}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} must hold references, the returns of random and expert (numbers or null); it holds {references!r}."
        ) from error


def read_config(path: Path) -> RunConfig:
    """Read the configuration in a run's folder.

    Raises:
        InputError: no folder, no run in it, or a configuration that cannot be understood.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give the folder of a run, such as results/runs/NAME.")
    if not is_begun(path):
        raise InputError(f"{path} is not the folder of a run: it has no {CONFIG}.")
    try:
        return from_dict(RunConfig, read_json(path / CONFIG))
    except (InputError, TypeError) as error:
        raise InputError(f"{path / CONFIG} is not the configuration of a run: {error}") from error


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


def is_finished(folder: Path, config: RunConfig) -> bool:
    """Whether the run in ``folder`` has spent its budget."""
    progress = _progress_so_far(folder)
    return progress is not None and _finished(progress, config)


def interactions_done(folder: Path) -> int | None:
    """Interactions at the last evaluation of the run in ``folder``; None before the first."""
    progress = _progress_so_far(folder)
    return None if progress is None else int(progress["interactions"][-1])


def _progress_so_far(folder: Path) -> dict[str, np.ndarray] | None:
    path = folder / PROGRESS
    return read_progress(path) if path.exists() and path.stat().st_size else None


def _finished(progress: Mapping[str, np.ndarray], config: RunConfig) -> bool:
    return bool(progress["interactions"][-1] >= config.learner.interactions)
