"""Model-free phases improve a policy on real trajectories; a new one is one file here and one line in the registry."""

from dyna_ail.config.registry import MODEL_FREE

__all__ = ["MODEL_FREE"]
