"""Grids of runs: settings times tasks times seeds. Imports no torch: the runs do, in processes of their own."""

from dyna_ail.runs.sweeps.grid import Cell, Outcome, grid, read_variations
from dyna_ail.runs.sweeps.sweep import run

__all__ = ["Cell", "Outcome", "grid", "read_variations", "run"]
