"""Figures of runs: return against environment interactions, several runs grouped by their setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail.config import Config
from dyna_ail.errors import InputError
from dyna_ail.groups import by_setting, by_task
from dyna_ail.record import Record
from dyna_ail.statistics import align, bootstrap_interval, interquartile_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, dark enough for lines on white; dashes and markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def learning_curves(runs: Sequence[Path], out: Path) -> list[Path]:
    """Draw the return of ``runs`` against environment interactions, one panel a task.

    Runs that differ in their seed alone form a setting: a line through their interquartile mean, a band for its 95%
    bootstrap interval over seeds, and faint lines for the seeds.

    Args:
        runs: folders of runs.
        out: the .png or .pdf to write; of several runs both, side by side.

    Returns:
        The files written.

    Raises:
        InputError: a folder without a run, a progress.csv that cannot be read, an ``out`` that cannot be written.
    """
    if out.suffix not in (".png", ".pdf") or out.is_dir():
        raise InputError(f"the figure must be a file that ends in .png or .pdf; got {out}.")
    tasks = by_task(runs)

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(tasks), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, same_task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.values(), strict=True):
        _panel(axes, same_task)

    several = sum(len(records) for records in tasks.values()) > 1
    files = [out.with_suffix(".png"), out.with_suffix(".pdf")] if several else [out]
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(file, dpi=150)
        except OSError as error:
            raise InputError(f"cannot write the figure {file}: {error.strerror}; choose another --out.") from error
    return files


def _panel(axes: Axes, records: Sequence[Record]) -> None:
    """Draw the runs of one task."""
    groups = by_setting(records)
    end = max(record.progress["interactions"][-1] for record in records)
    for index, (label, group) in enumerate(groups.items()):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": DASHES[index % len(DASHES)],
            "marker": MARKERS[index % len(MARKERS)],
        }
        _setting(axes, label, group, style, end)
    for name, linestyle in (("expert", (0, (6, 2))), ("random", (0, (1, 2)))):
        for value in sorted({v for v in (getattr(record, name) for record in records) if v is not None}):
            axes.axhline(value, color="0.35", linestyle=linestyle, linewidth=1, zorder=1)
            across = axes.get_yaxis_transform()  # x as a fraction of the axes, y in data
            axes.text(0.99, value, name, transform=across, ha="right", va="bottom", fontsize=8, color="0.35")
    axes.set_title(_title([record.config for record in records]), fontsize=10)
    axes.set_xlabel("environment interactions")
    spread = len(groups) < len(records)
    axes.set_ylabel("return (IQM over seeds, 95% interval)" if spread else "return")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.02, y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)


def _setting(axes: Axes, label: str, group: Sequence[Record], style: dict[str, Any], end: float) -> None:
    """Draw the runs of one setting; one without interactions (bc) as a level line up to ``end``."""
    curves = [(run.progress["interactions"], run.progress["return_mean"]) for run in group]
    level = all(len(x) == 1 for x, _ in curves)
    if level:
        curves = [(np.array([x[0], max(end, x[0] + 1)]), np.repeat(y, 2)) for x, y in curves]
    grid, values = align(curves)
    mean = interquartile_mean(values)
    if len(group) > 1:
        low, high = bootstrap_interval(values)
        if level:  # one interval, not a band that covers the other settings
            axes.vlines(grid[-1], low[-1], high[-1], color=style["color"], linewidth=1.8, zorder=3)
        else:
            axes.fill_between(grid, low, high, color=style["color"], alpha=0.18, linewidth=0, zorder=2)
            for x, y in curves:
                axes.plot(x, y, color=style["color"], linewidth=0.7, alpha=0.35, zorder=2)
        label += f" ({len(group)} seeds)"
    else:
        label += f" (seed {group[0].config.seed})"
    marks = [len(grid) - 1] if level else max(1, len(grid) // 12)
    axes.plot(grid, mean, label=label, linewidth=1.8, markersize=4, zorder=3, markevery=marks, **style)


def _title(configs: Sequence[Config]) -> str:
    """The task, and the demonstrations where all runs used the same number of them."""
    protocols = {(config.trajectories, config.every) for config in configs}
    if len(protocols) > 1:
        return configs[0].task
    trajectories, every = protocols.pop()
    pairs = "all pairs" if every == 1 else f"every {_ordinal(every)} pair"
    return f"{configs[0].task}, {trajectories} demonstration{'s' * (trajectories > 1)}, {pairs}"


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
