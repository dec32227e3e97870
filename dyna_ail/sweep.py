"""Grids of runs: settings times tasks times seeds, a process each, on this machine or on a Dask cluster.

A run of the grid that was finished is skipped, one that was interrupted goes on from its checkpoint, and one that fails
or is killed does not stop the others. Imports no torch: the runs do, in processes of their own.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna_ail import record
from dyna_ail.config import Config, make_config, parse_value, to_dict
from dyna_ail.envs.tasks import get_task
from dyna_ail.errors import InputError, Stopped, SweepError, one_line

PATIENCE = 10
"""Seconds to wait for a scheduler, and for its first worker."""


@dataclass(frozen=True)
class Cell:
    """A run of the grid.

    Attributes:
        name: ``<task>/<setting>/<seed>``, its folder within the sweep's.
        folder: where it is written.
        config: its configuration.
    """

    name: str
    folder: Path
    config: Config


@dataclass(frozen=True)
class Outcome:
    """What came of a run: ``finished``, ``stopped`` (by Ctrl-C), or ``failed`` with what it said."""

    name: str
    state: str
    message: str = ""


def read_variations(given: Sequence[str]) -> dict[str, list[Any]]:
    """What to vary, from texts such as ``planner.horizon=5,10,50``.

    Raises:
        InputError: not of the form key=value,value; an unknown setting; a value of another type; a key given twice.
    """
    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise InputError(f"--vary takes KEY=VALUE,VALUE,..., such as planner.horizon=5,10,50; got {text!r}.")
        if key in found:
            raise InputError(f"--vary {key} is given twice; name all its values in one.")
        found[key] = [parse_value(key, value) for value in values.split(",")]
        if len(set(map(str, found[key]))) < len(found[key]):
            raise InputError(f"--vary {key} has a value twice: {values}.")
    return found


def grid(variations: Mapping[str, Sequence[Any]], seeds: int, out: Path) -> list[Cell]:
    """Every combination of the variations, with the seeds 0 to ``seeds`` - 1; ``seed`` itself may be varied instead.

    Raises:
        InputError: fewer than one seed, an unknown task or preset, a combination that cannot work, or two that would
            be written to the same folder.
    """
    if seeds < 1:
        raise InputError(f"--seeds must be at least 1; got {seeds}.")
    variations = {"seed": range(seeds), **variations}
    cells = []
    for values in itertools.product(*variations.values()):
        setting = dict(zip(variations, values, strict=True))
        seed, task_id, preset = (setting.pop(name, getattr(Config, name)) for name in ("seed", "task", "preset"))
        task = get_task(task_id)
        config = make_config(preset, task.defaults, task=task.id, seed=seed, **setting)
        shown = [f"{key}={_text(value)}" for key, value in setting.items() if len(variations[key]) > 1]
        label = ",".join([preset, *shown]) if "preset" in variations or not shown else ",".join(shown)
        name = "/".join(re.sub(r"[^\w.,=+-]+", "-", part) for part in (task.id, label, str(seed)))
        cells.append(Cell(name, out / name, config))
    for name, number in Counter(cell.name for cell in cells).items():
        if number > 1:
            raise InputError(
                f"{number} runs would be written to {out / name}: vary them in two sweeps with an --out each."
            )
    return cells


def run(cells: Sequence[Cell], jobs: int, scheduler: str | None = None) -> None:
    """Run the cells that are not finished yet, and show what runs, waits, finished and failed.

    Args:
        cells: the grid.
        jobs: runs at a time; of a cluster, as many as it has threads.
        scheduler: address of a ``dask.distributed`` scheduler, whose workers see the same folders; None: this machine.

    Raises:
        InputError: a folder holds a run of other settings or cannot be made, there are no such demonstrations, or the
            cluster cannot be reached.
        SweepError: some runs did not finish; names them.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, when the runs on this machine have saved themselves; those on a cluster
            go on.
    """
    from dyna_ail.overview import Overview

    found = {cell.name: Outcome(cell.name, "finished") for cell in cells if _finished(cell)}
    waiting = [cell for cell in cells if cell.name not in found]
    _check(waiting)
    _stopping.clear()
    with Overview(cells, found) as overview, _stopped_by_sigterm():
        try:
            for outcome in _on_cluster(waiting, scheduler) if scheduler else _here(waiting, jobs):
                found[outcome.name] = outcome
                overview.note(outcome)
        except KeyboardInterrupt:
            _stop()
            raise
    left = [found[cell.name] for cell in cells if found[cell.name].state != "finished"]
    print(f"{len(cells) - len(left)} of {len(cells)} runs finished")
    if left:
        told = "".join(f"\n  {outcome.name}: {outcome.state}. {outcome.message}" for outcome in left)
        raise SweepError(f"{len(left)} of {len(cells)} runs did not finish; the same command goes on with them:{told}")


def _finished(cell: Cell) -> bool:
    """Whether the cell's folder holds its run, whole.

    Raises:
        InputError: it holds a run of other settings.
    """
    if not record.is_begun(cell.folder):
        return False
    if record.read_config(cell.folder) != cell.config:
        raise InputError(f"{cell.folder} holds a run of other settings; choose another --out.")
    return record.is_finished(cell.folder, cell.config)


def _check(cells: Sequence[Cell]) -> None:
    """Find out before the first run what would fail in all of them.

    Raises:
        InputError: no folder can be made there, or there are no such demonstrations.
    """
    from dyna_ail.formats import recognise

    for demos in {cell.config.demos for cell in cells}:
        if demos is not None:
            recognise(demos)
    for folder in {cell.folder.parent for cell in cells}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --out.") from error


def _here(cells: Sequence[Cell], jobs: int) -> Iterator[Outcome]:
    """Run the cells on this machine, so many at a time; their outcomes as they come."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered", pre_dispatch=jobs)
    yield from pool(delayed(run_cell)(cell, Path.cwd(), sys.argv[1:]) for cell in cells)


def _on_cluster(cells: Sequence[Cell], scheduler: str) -> Iterator[Outcome]:
    """Run the cells on a Dask cluster; their outcomes as they come.

    A worker that dies gives its runs to the others; a run with which several died has failed. Not by joblib's backend
    of Dask, which would wait for such a run for ever.

    Raises:
        InputError: dask.distributed is not installed, no scheduler answers, or it has no workers.
    """
    try:
        from dask.distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise InputError("--scheduler needs dask.distributed: pip install 'dyna-ail[cluster]'.") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it finds out is told as outcomes
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"no Dask scheduler answers at {scheduler}: {one_line(error)}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise InputError(f"the Dask scheduler at {scheduler} has no workers: start some for it first.") from error
        names = {client.submit(run_cell, cell, Path.cwd(), sys.argv[1:], pure=False): cell.name for cell in cells}
        for future in as_completed(names):
            match future.status:
                case "finished":
                    yield future.result()
                case "error":
                    raised = future.exception()
                    killed = isinstance(raised, KilledWorker)
                    why = "the workers that it was given to died; see their logs." if killed else one_line(raised)
                    yield Outcome(names[future], "failed", why)
                case _:
                    yield Outcome(names[future], "failed", "the scheduler is gone.")


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def stop(signum: int, frame: object) -> None:
        raise Stopped(signum)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


_stopping = threading.Event()
_running: set[subprocess.Popen[str]] = set()


def _stop() -> None:
    """Begin no further run, and wait until those that run on this machine have saved themselves."""
    _stopping.set()
    running = list(_running)
    if running:
        print("stopping: the runs in progress save themselves; once more to stop at once", file=sys.stderr)
    for process in running:
        process.send_signal(signal.SIGINT)
    for process in running:
        process.wait()


def run_cell(cell: Cell, folder: Path, arguments: Sequence[str]) -> Outcome:
    """Train a cell in a process of its own, which ends if this one does.

    Args:
        cell: the cell.
        folder: what its paths start from.
        arguments: of the sweep, for the run's record.
    """
    if _stopping.is_set():
        return Outcome(cell.name, "stopped")
    command = [sys.executable, "-m", "dyna_ail.cell", *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")},
        cwd=folder,
        start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        text=True,
        errors="replace",
    )
    _running.add(process)
    assert process.stdin is not None and process.stderr is not None
    with process, process.stdin:  # stays open: its end tells the run that nobody waits for it any more
        try:
            process.stdin.write(json.dumps({"folder": str(cell.folder), "config": to_dict(cell.config)}) + "\n")
            process.stdin.flush()
            said, code = process.stderr.read(), process.wait()
        except KeyboardInterrupt:  # joblib makes one run at a time in the main thread
            _stop()
            raise
        finally:
            _running.discard(process)
    if code == 0 and record.is_finished(folder / cell.folder, cell.config):  # not if an environment ended it
        return Outcome(cell.name, "finished")
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return Outcome(cell.name, "stopped")
    lines = said.strip().splitlines()
    killed = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Outcome(cell.name, "failed", lines[-1] if lines and code > 0 else killed)


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
