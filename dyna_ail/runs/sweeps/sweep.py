"""Runs a grid: settings times tasks times seeds, one process per run, on this machine or on a Dask cluster.

Finished runs are skipped, and interrupted ones continue from their checkpoints. A run that fails or is killed does not
stop the others. This module imports no torch: the runs do, in processes of their own.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dyna_ail.config import result_settings
from dyna_ail.errors import InputError, Stopped, SweepError
from dyna_ail.records.folder import is_begun
from dyna_ail.records.reading import is_finished, read_config
from dyna_ail.runs.sweeps.executors import begin, on_cluster, on_this_machine, stop
from dyna_ail.runs.sweeps.grid import Cell, Outcome
from dyna_ail.runs.sweeps.overview import Overview


def run(cells: Sequence[Cell], jobs: int, scheduler: str | None = None) -> None:
    """Run the cells that are not finished yet, and show what runs, waits, finished and failed.

    Args:
        cells: the grid.
        jobs: runs at a time on this machine. A cluster runs as many as it has threads.
        scheduler: address of a ``dask.distributed`` scheduler, whose workers see the same folders; None: this machine.

    Raises:
        InputError: a folder holds a run of other settings or cannot be made, the demonstrations do not exist, or the
            cluster cannot be reached.
        SweepError: some runs did not finish; the message names them.
        KeyboardInterrupt: by Ctrl-C or SIGTERM, after the runs on this machine have saved themselves. Those on a
            cluster continue.
    """
    found = {cell.name: Outcome(cell.name, "finished") for cell in cells if _finished(cell)}
    waiting = [cell for cell in cells if cell.name not in found]
    _check(waiting)
    begin()
    with Overview(cells, found) as overview, _stopped_by_sigterm():
        try:
            for outcome in on_cluster(waiting, scheduler) if scheduler else on_this_machine(waiting, jobs):
                found[outcome.name] = outcome
                overview.note(outcome)
        except KeyboardInterrupt:
            stop()
            raise
    left = [found[cell.name] for cell in cells if found[cell.name].state != "finished"]
    print(f"{len(cells) - len(left)} of {len(cells)} runs finished")
    if left:
        told = "".join(f"\n  {outcome.name}: {outcome.state}. {outcome.message}" for outcome in left)
        raise SweepError(f"{len(left)} of {len(cells)} runs did not finish; the same command goes on with them:{told}")


def _finished(cell: Cell) -> bool:
    """Whether the cell's folder holds its finished run.

    Raises:
        InputError: it holds a run of other settings.
    """
    if not is_begun(cell.folder):
        return False
    if result_settings(read_config(cell.folder)) != result_settings(cell.config):
        raise InputError(f"{cell.folder} holds a run of other settings; choose another --out.")
    return is_finished(cell.folder, cell.config)


def _check(cells: Sequence[Cell]) -> None:
    """Find out before the first run what would make all of them fail.

    Raises:
        InputError: no folder can be made there, or the demonstrations do not exist.
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
