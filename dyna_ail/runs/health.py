"""Warnings before a run diverges: gradients and model errors that rise far above their usual values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

FACTOR = 100.0
"""A value is reported once it is this many times its median so far. Three of the 473 published runs had such a value:
two with imagined rollouts of 50 steps (847 and 215 times), and one that recovered (150 times). Nine more rose above 40
times."""


class Health:
    """Watches the metrics ``<part>/...grad_norm`` and ``model/error_<depth>`` from iteration to iteration."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}
        self.told: set[str] = set()

    def notice(self, metrics: Mapping[str, float]) -> list[str]:
        """Take in an iteration's metrics. Returns a line for each metric that has risen too far, at most once each."""
        lines = []
        for name, value in metrics.items():
            if not (name.endswith("grad_norm") or name.startswith("model/error_")) or not math.isfinite(value):
                continue
            seen = self.seen.setdefault(name, [])
            if len(seen) >= 3 and value > FACTOR * median(seen) > 0 and name not in self.told:
                self.told.add(name)
                lines.append(f"{name} rose to {value:.3g}, {value / median(seen):,.0f} times its median so far.")
            seen.append(value)
        return lines
