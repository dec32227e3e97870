"""The table of a study: interactions to the expert's level, final scores and minutes, by task and setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dyna_ail.groups import by_setting, by_task
from dyna_ail.record import Record
from dyna_ail.statistics import interactions_to, interquartile_mean

HOLD = 3
"""Evaluations in a row that make a score held."""


def scores(runs: Sequence[Path], threshold: float = 0.9) -> str:
    """A Markdown table with one line for each task and setting.

    Interactions and scores are listed in the order of the seeds. A score is held from the first of three evaluations in
    a row at ``threshold`` or above; the median counts a seed that never holds it as infinite.

    Args:
        runs: folders of runs.
        threshold: the score to reach, as a fraction of the expert's.

    Raises:
        InputError: a folder without a run, or a progress.csv that cannot be read.
    """
    lines = [
        f"| task | setting | seeds | interactions | interactions to held {threshold:.0%} | median | best score "
        "| final score | interquartile mean | minutes |",
        "| --- " * 10 + "|",
    ]
    for task, records in by_task(runs).items():
        for setting, group in by_setting(records).items():
            ordered = sorted(group, key=lambda record: record.config.seed)
            lines.append("| " + " | ".join([task, setting, *_cells(ordered, threshold)]) + " |")
    return "\n".join(lines)


def _cells(records: Sequence[Record], threshold: float) -> list[str]:
    held = [interactions_to(record.progress, threshold, HOLD) for record in records]
    median = np.median([np.inf if interactions is None else interactions for interactions in held])
    final = np.array([record.progress["score"][-1] for record in records])
    return [
        str(len(records)),
        f"{max(record.progress['interactions'][-1] for record in records):,.0f}",
        ", ".join("-" if interactions is None else f"{interactions:,}" for interactions in held),
        f"{median:,.0f}" if np.isfinite(median) else "-",
        _percent([record.progress["score"].max() for record in records]),
        _percent(final),
        f"{interquartile_mean(final):.0%}",
        f"{np.mean([record.progress['seconds'][-1] for record in records]) / 60:.1f}",
    ]


def _percent(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{100 * value:.0f}" for value in values) + "%"
