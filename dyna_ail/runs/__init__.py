"""Runs: trained into a folder, resumed from it, evaluated. Grids of them are in :mod:`dyna_ail.runs.sweeps`."""

from dyna_ail.runs.policy import load_policy
from dyna_ail.runs.training import resume, train

__all__ = ["load_policy", "resume", "train"]
