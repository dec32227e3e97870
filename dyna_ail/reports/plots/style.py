"""What all figures share: how settings look, and how a figure is written."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail.config import RunConfig
from dyna_ail.errors import InputError, ordinal
from dyna_ail.records.folder import DIAGNOSTICS, PROGRESS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, dark enough for lines on white; dashes and markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

Row = dict[str, Any]
"""A line of the CSV beside a figure."""


def style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the setting at ``index``."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def styles(panels: Iterable[Iterable[str]]) -> dict[str, dict[str, Any]]:
    """The look of every setting named in the panels of a figure, the same in all of them."""
    labels = dict.fromkeys(label for panel in panels for label in panel)
    return {label: style(index) for index, label in enumerate(labels)}


def check_out(out: Path, numbers: bool = True) -> None:
    """Refuse a bad name for a figure before any work. ``numbers``: whether the numbers drawn are written beside it.

    Raises:
        InputError: ``out`` does not end in .png or .pdf or is a folder, or its numbers would overwrite a run's table or
            a file that does not belong to a figure.
    """
    if out.suffix not in (".png", ".pdf") or out.is_dir():
        raise InputError(f"the figure must be a file that ends in .png or .pdf; got {out}.")
    if out.with_suffix(".csv").name in (PROGRESS, DIAGNOSTICS):
        raise InputError(f"the numbers of {out} would overwrite a run's table; choose another --out.")
    table = out.with_suffix(".csv")
    if numbers and table.exists() and not table.read_bytes().startswith((b"task,setting,", b"setting,column,")):
        raise InputError(f"{table}, where the figure's numbers go, holds something else; choose another --out.")


def panels(number: int, width: float = 6.4, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """An empty figure with ``number`` panels of ``width`` times ``height`` inches, in rows of three."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(number, 3)
    rows = -(-number // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in axes[number:]:
        empty.set_visible(False)
    return figure, axes[:number]


def tidy(axes: Axes) -> None:
    """Give the panel a light grid and no box."""
    axes.margins(x=0.02, y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)


def legend(axes: Axes) -> None:
    """Put the legend below the panel, in one column if a label is too long for two."""
    lines, labels = axes.get_legend_handles_labels()
    columns = 2 if max(len(label) for label in labels) <= 36 else 1
    labels = [wrapped(label, 72) for label in labels]
    axes.legend(
        lines, labels, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=columns
    )


def wrapped(label: str, width: int) -> str:
    """A label in lines of at most ``width`` characters."""
    return textwrap.fill(label, width, break_on_hyphens=False)


def write(figure: Figure, out: Path, rows: Sequence[Row] | None) -> list[Path]:
    """Write the figure as .png and .pdf, and the numbers drawn as .csv. Without numbers, write ``out`` alone.

    Returns:
        The files.

    Raises:
        InputError: they cannot be written.
    """
    from matplotlib import rc_context

    figures = [out] if rows is None else [out.with_suffix(".png"), out.with_suffix(".pdf")]
    numbers = [] if rows is None else [out.with_suffix(".csv")]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for file in figures:
            with rc_context({"pdf.fonttype": 42}):  # TrueType: journals refuse matplotlib's own Type 3
                figure.savefig(file, dpi=150, metadata={"CreationDate": None})  # the same figure, the same bytes
        for file in numbers:
            with file.open("w", newline="") as raw:
                writer = csv.DictWriter(raw, list(dict.fromkeys(name for row in rows or () for name in row)))
                writer.writeheader()
                writer.writerows(rows or ())
    except OSError as error:
        raise InputError(f"cannot write the figure {out}: {error.strerror}; choose another --out.") from error
    return [*figures, *numbers]


def title(configs: Sequence[RunConfig]) -> str:
    """The task, and the demonstrations if all runs used the same number of them."""
    protocols = {(config.learner.trajectories, config.learner.every) for config in configs}
    if len(protocols) > 1:
        return configs[0].task
    trajectories, every = protocols.pop()
    pairs = "all pairs" if every == 1 else f"every {ordinal(every)} pair"
    return f"{configs[0].task}, {trajectories} demonstration{'s' * (trajectories > 1)}, {pairs}"
