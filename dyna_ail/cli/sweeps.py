"""``dyna-ail sweep`` and ``dyna-ail ablate``: grids of runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail.cli.common import at_least
from dyna_ail.errors import InputError

Vary = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE,...")]


@dataclass
class Sweep:
    """Train a grid of runs, several at a time. The same command continues a sweep that was stopped.

    Every combination of the varied values is run with every seed.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Folder of the sweep. A run is written to TASK/SETTING/SEED in it."""
    vary: Vary = ()
    """A setting of `dyna-ail train` and its values, such as planner.horizon=5,10,50, task=Hopper-v5,Walker2d-v5 or
    preset=dyna-ail,gail. A single value fixes the setting. The option may be given many times. By default only the
    seed varies."""
    seeds: int = 5
    """Number of seeds, N. They are 0 to N - 1."""
    jobs: int = os.cpu_count() or 1
    """Runs at a time, by default one for every core."""
    scheduler: str | None = None
    """Address of a Dask cluster whose workers see the same folders, such as tcp://host:8786; by default the runs are
    made on this machine."""

    def run(self) -> None:
        """Run it, and say what failed.

        Raises:
            InputError: a setting cannot be varied, a folder holds other runs, or the cluster cannot be reached.
            SweepError: some runs failed or were stopped.
        """
        from dyna_ail.runs.sweeps import grid, read_variations, run

        at_least("--jobs", self.jobs, 1)
        run(grid(read_variations(self.vary), self.seeds, self.out), self.jobs, self.scheduler)


@dataclass
class Ablate:
    """Compare both phases together with each phase alone: a sweep, a figure and a table.

    The sweep runs the presets dyna-ail (both phases), model-free (the trust-region steps alone) and model-based
    (planning alone), each with the same number of real interactions.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Folder of the study."""
    vary: Vary = ()
    """Other settings to vary, as in `dyna-ail sweep`; by default none."""
    seeds: int = 5
    """Number of seeds, N. They are 0 to N - 1."""
    jobs: int = os.cpu_count() or 1
    """Runs at a time, by default one for every core."""
    scheduler: str | None = None
    """Address of a Dask cluster, as in `dyna-ail sweep`; by default none."""

    def run(self) -> None:
        """Run it, draw it and print the table.

        Raises:
            InputError: as `dyna-ail sweep`; or --vary names the preset, which varies already.
            SweepError: some runs failed or were stopped. Nothing is drawn then.
        """
        from dyna_ail.reports.plots import learning_curves
        from dyna_ail.reports.tables import scores
        from dyna_ail.runs.sweeps import grid, read_variations, run

        at_least("--jobs", self.jobs, 1)
        others, phases = read_variations(self.vary), ["dyna-ail", "model-free", "model-based"]
        if "preset" in others:
            raise InputError(f"ablate compares the presets {', '.join(phases)}; for others: dyna-ail sweep.")
        cells = grid({"preset": phases, **others}, self.seeds, self.out)
        run(cells, self.jobs, self.scheduler)
        folders = [cell.folder for cell in cells]
        for file in learning_curves(folders, self.out / "ablation.png"):
            print(file)
        table = scores(folders)
        (self.out / "ablation.md").write_text(table + "\n", encoding="utf-8")
        print(table)
