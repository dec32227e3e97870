"""What the user sees of a run: its progress, and a line at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dyna_ail.errors import number
from dyna_ail.exits import mute
from dyna_ail.records.folder import PROGRESS
from dyna_ail.records.reading import read_progress
from dyna_ail.reports.statistics import HOLD, interactions_to
from dyna_ail.runs.evaluation import Evaluation


class Display:
    """A progress bar on a terminal, elsewhere one line per evaluation.

    Args:
        total: the budget of interactions.
        done: interactions before the interruption, if the run is resumed.
        shown: whether to show anything.
    """

    def __init__(self, total: int, done: int = 0, shown: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.total, self.done_before, self.shown = total, done, shown
        self.start = time.perf_counter()
        self.bar: Progress | None = None
        if shown and Console().is_terminal:
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
        """Show how many interactions are ``done``, and the result of the evaluation there, if there was one."""
        try:
            if self.shown:
                self._advance(done, result, score)
        except BrokenPipeError:  # the reader of the output, such as head, has gone; the run goes on
            self.shown = False
            mute()

    def _advance(self, done: int, result: Evaluation | None, score: float) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
            if result is not None:  # short, for terminals of 80 columns
                share = f"return {score:.0%} of expert" if np.isfinite(score) else f"return {number(result.mean)}"
                self.bar.update(self.task, status=share)
        elif result is not None:
            share = f" = {score:.0%} of expert" if np.isfinite(score) else ""
            elapsed = time.perf_counter() - self.start
            new = done - self.done_before
            left = _clock(elapsed * (self.total - done) / new) if new else "-:--"
            told = f"return {number(result.mean)}{share}  {_clock(elapsed)} left {left}"
            line = f"{done:,}/{self.total:,} interactions  {told}"
            print(line, flush=True)

    def close(self) -> None:
        """Stop the progress bar, so that the terminal is free again."""
        if self.bar is not None:
            self.bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def worse_than_start(progress: Mapping[str, np.ndarray], episodes: int) -> str:
    """One line if the last evaluation is below the first by more than chance; empty otherwise.

    Args:
        progress: the columns of progress.csv.
        episodes: of each evaluation.
    """
    (first, last), spread = progress["return_mean"][[0, -1]], progress["return_std"][[0, -1]]
    if episodes < 2 or first - last <= 2 * np.sqrt((spread**2).sum() / episodes):
        return ""
    return (
        f"the result is worse than the start: return {number(last)}, and {number(first)} at 0 interactions. "
        "With fewer interactions (--interactions) or a longer cloned start (--cloning.updates) you may keep more."
    )


def summary(folder: Path, how: str) -> str:
    """One line about a run that ended as ``how`` says ("finished", "stopped"): its last score and when it held 90%."""
    progress = read_progress(folder / PROGRESS)
    parts = [f"return {number(progress['return_mean'][-1])}"]
    if np.isfinite(progress["score"][-1]):
        first, held = interactions_to(progress), interactions_to(progress, hold=HOLD)
        parts[0] += f" ({progress['score'][-1]:.0%} of the expert)"
        parts.append(
            "90% never reached"
            if first is None
            else f"90% first at {first:,}, {f'held from {held:,}' if held is not None else 'not held'}"
        )
    minutes = progress["seconds"][-1] / 60
    return f"{how}: {', '.join(parts)}; {int(progress['interactions'][-1]):,} interactions in {minutes:.1f} min"
