"""What the user sees of a run in progress."""

from __future__ import annotations

import time

import numpy as np

from dyna_ail.evaluation import Evaluation


class Display:
    """A bar on a terminal, else one plain line per evaluation.

    Args:
        total: the budget of interactions.
        done: those that were done before, if the run is resumed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.total, self.done_before = total, done
        self.start = time.perf_counter()
        self.bar: Progress | None = None
        if Console().is_terminal:
            self.bar = Progress(
                BarColumn(bar_width=16),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} interactions"),
                TextColumn("{task.fields[status]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
                refresh_per_second=2,
                speed_estimate_period=600,
            )
            self.task = self.bar.add_task("train", total=total, completed=done, status="")
            self.bar.start()

    def advance(self, done: int, result: Evaluation | None = None, score: float = float("nan")) -> None:
        """Show that so many interactions are ``done``, and what the evaluation there found, if there was one."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
            if result is not None:  # short, for terminals of 80 columns
                share = f"return {score:.0%} of expert" if np.isfinite(score) else f"return {result.mean:,.1f}"
                self.bar.update(self.task, status=share)
        elif result is not None:
            share = f" = {score:.0%} of expert" if np.isfinite(score) else ""
            elapsed = time.perf_counter() - self.start
            new = done - self.done_before
            left = _clock(elapsed * (self.total - done) / new) if new else "-:--"
            line = (
                f"{done:,}/{self.total:,} interactions  return {result.mean:,.1f}{share}  {_clock(elapsed)} left {left}"
            )
            print(line, flush=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self.bar is not None:
            self.bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
