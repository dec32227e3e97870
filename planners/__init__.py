"""Planners improve a policy inside a learned model; a new one is one file here and one line in ``PLANNERS``."""

from __future__ import annotations

from collections.abc import Callable

from dyna_ail.planners.interface import NoPlanner, Planner
from dyna_ail.planners.mgail import MGAILPlanner
from dyna_ail.planners.trpo import TRPOPlanner

PLANNERS: dict[str, Callable[..., Planner]] = {"mgail": MGAILPlanner, "trpo": TRPOPlanner, "none": NoPlanner}
