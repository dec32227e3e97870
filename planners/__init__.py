"""Improve a policy inside a learned model: the unroll, the end-to-end update and the horizon."""
