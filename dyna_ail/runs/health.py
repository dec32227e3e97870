"""Signs that a run is about to blow up: gradients and model errors far above what they were."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

FACTOR = 100.0
"""How far above its median so far a value must rise to be told. Of the 473 published runs three did: two with
imagined rollouts of 50 steps (847 and 215 times) and one that recovered (150 times); nine more rose above 40 times."""


class Health:
    """Watches the metrics ``<part>/...grad_norm`` and ``model/error_<depth>`` from iteration to iteration."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}
        self.told: set[str] = set()

    def notice(self, metrics: Mapping[str, float]) -> list[str]:
        """Take in an iteration's metrics; returns a line for each that has exploded, once for every metric."""
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
