"""Where the runs of a sweep are made: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from dyna_ail.config import to_dict
from dyna_ail.errors import InputError, one_line
from dyna_ail.records.reading import is_finished
from dyna_ail.runs.sweeps.grid import Cell, Outcome

PATIENCE = 10
"""Seconds to wait for a scheduler, and for its first worker."""
_stopping = threading.Event()
_running: set[subprocess.Popen[str]] = set()


def on_this_machine(cells: Sequence[Cell], jobs: int) -> Iterator[Outcome]:
    """Run the cells on this machine, ``jobs`` at a time. Yields their outcomes as they come."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered", pre_dispatch=jobs)
    yield from pool(delayed(run_cell)(cell, Path.cwd(), sys.argv[1:]) for cell in cells)


def on_cluster(cells: Sequence[Cell], scheduler: str) -> Iterator[Outcome]:
    """Run the cells on a Dask cluster. Yields their outcomes as they come.

    If a worker dies, the others take over its runs. A run with which several workers died has failed. (joblib's backend
    for Dask would wait for such a run forever.)

    Raises:
        InputError: dask.distributed is not installed, no scheduler answers, or it has no workers.
    """
    try:
        from dask.distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise InputError("--scheduler needs dask.distributed: pip install 'dyna-ail[cluster]'.") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the outcomes say it
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


def begin() -> None:
    """Allow new runs again after an earlier :func:`stop`."""
    _stopping.clear()


def stop() -> None:
    """Allow no new runs, and wait until those that run on this machine have saved themselves."""
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
        folder: the folder that the cell's paths are relative to.
        arguments: the command line of the sweep, for the run's ``versions.json``.
    """
    if _stopping.is_set():
        return Outcome(cell.name, "stopped")
    command = [sys.executable, "-m", "dyna_ail.runs.sweeps.cell", *arguments]
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
    with process, process.stdin:  # stays open: its end tells the run that this process is dead
        try:
            process.stdin.write(json.dumps({"folder": str(cell.folder), "config": to_dict(cell.config)}) + "\n")
            process.stdin.flush()
            said, code = process.stderr.read(), process.wait()
        except KeyboardInterrupt:  # joblib makes one run at a time in the main thread
            stop()
            raise
        finally:
            _running.discard(process)
    if code == 0 and is_finished(folder / cell.folder, cell.config):  # an environment may end the process with 0, too
        return Outcome(cell.name, "finished")
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return Outcome(cell.name, "stopped")
    lines = said.strip().splitlines()
    killed = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Outcome(cell.name, "failed", lines[-1] if lines and code > 0 else killed)
