"""Planners improve a policy inside a learned model; a new one is one file here and one line in the registry."""

from dyna_ail.config.registry import PLANNERS

__all__ = ["PLANNERS"]
