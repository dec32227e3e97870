"""Demonstrations of an expert: in memory, on disk (npz, no pickle), and the pairs of them that a run imitates."""

from __future__ import annotations

from dyna_ail.demos.arrays import FloatArray, IntArray, in_precision
from dyna_ail.demos.npz import ARRAYS, check_place
from dyna_ail.demos.pairs import ExpertPairs
from dyna_ail.demos.trajectories import Demonstrations, Trajectory

__all__ = [
    "ARRAYS",
    "Demonstrations",
    "ExpertPairs",
    "FloatArray",
    "IntArray",
    "Trajectory",
    "check_place",
    "in_precision",
]
