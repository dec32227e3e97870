"""Learning curves: return against environment interactions, with runs grouped by their setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail.records.reading import Record
from dyna_ail.reports.groups import by_setting, by_task
from dyna_ail.reports.plots.style import Row, check_out, legend, panels, styles, tidy, title, write
from dyna_ail.reports.statistics import align, bootstrap_interval, interquartile_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(runs: Sequence[Path], out: Path) -> list[Path]:
    """Draw the return of ``runs`` against environment interactions, with one panel for each task.

    Runs that differ in their seed alone form a setting: a line through their interquartile mean, a band for its 95%
    bootstrap interval over seeds, and faint lines for the seeds.

    Args:
        runs: folders of runs.
        out: the .png or .pdf to write; of several runs both, side by side, and the numbers drawn as .csv.

    Returns:
        The files written.

    Raises:
        InputError: a folder without a run, a progress.csv that cannot be read, an ``out`` that cannot be written.
    """
    single = len({path.resolve() for path in runs}) == 1  # its own folder holds the numbers
    check_out(out, numbers=not single)
    tasks = by_task(runs)
    figure, axes = panels(len(tasks))
    settings = [by_setting(records) for records in tasks.values()]
    looks = styles(settings)
    rows = [row for panel, groups in zip(axes, settings, strict=True) for row in _panel(panel, groups, looks)]
    return write(figure, out, None if single else rows)


def _panel(axes: Axes, groups: dict[str, list[Record]], looks: dict[str, dict[str, Any]]) -> list[Row]:
    """Draw the runs of one task by setting; returns what is drawn."""
    records = [record for group in groups.values() for record in group]
    end = max(record.progress["interactions"][-1] for record in records)
    rows = []
    for label, group in groups.items():
        rows += _setting(axes, label, group, looks[label], end)
    for name, linestyle in (("expert", (0, (6, 2))), ("random", (0, (1, 2)))):
        for value in sorted({v for v in (getattr(record, name) for record in records) if v is not None}):
            axes.axhline(value, color="0.35", linestyle=linestyle, linewidth=1, zorder=1)
            across = axes.get_yaxis_transform()  # x as a fraction of the axes, y in data
            axes.text(0.99, value, name, transform=across, ha="right", va="bottom", fontsize=8, color="0.35")
    axes.set_title(title([record.config for record in records]), fontsize=10)
    axes.set_xlabel("environment interactions")
    spread = len(groups) < len(records)
    axes.set_ylabel("return (IQM over seeds, 95% interval)" if spread else "return")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    tidy(axes)
    legend(axes)
    return rows


def _setting(axes: Axes, label: str, group: Sequence[Record], look: dict[str, Any], end: float) -> list[Row]:
    """Draw the runs of one setting. A run without interactions (bc) is a level line up to ``end``."""
    curves = [(run.progress["interactions"], run.progress["return_mean"]) for run in group]
    level = all(run.config.learner.interactions == 0 for run in group)
    if level:
        curves = [(np.array([x[0], max(end, x[0] + 1)]), np.repeat(y, 2)) for x, y in curves]
    grid, values = align(curves)
    mean = low = high = interquartile_mean(values)
    drawn = label
    if len(group) > 1:
        low, high = bootstrap_interval(values)
        if level:  # one interval, not a band that covers the other settings
            axes.vlines(grid[-1], low[-1], high[-1], color=look["color"], linewidth=1.8, zorder=3)
        else:
            axes.fill_between(grid, low, high, color=look["color"], alpha=0.18, linewidth=0, zorder=2)
            for x, y in curves:
                axes.plot(x, y, color=look["color"], linewidth=0.7, alpha=0.35, zorder=2)
        label += f" ({len(group)} seeds)"
    else:
        label += f" (seed {group[0].config.learner.seed})"
    marks = [len(grid) - 1] if level else max(1, len(grid) // 12)
    axes.plot(grid, mean, label=label, linewidth=1.8, markersize=4, zorder=3, markevery=marks, **look)
    about = {"task": group[0].config.task, "setting": drawn}
    return [
        *(
            {**about, "seeds": len(group), "interactions": x, "return_iqm": y, "low": bottom, "high": top}
            for x, y, bottom, top in zip(grid, mean, low, high, strict=True)
        ),
        *(
            {**about, "seed": run.config.learner.seed, "interactions": x, "return": y}
            for run in group
            for x, y in zip(run.progress["interactions"], run.progress["return_mean"], strict=True)
        ),
    ]
