"""One page of diagnostics: what happened inside runs."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dyna_ail.errors import InputError
from dyna_ail.records.folder import DIAGNOSTICS
from dyna_ail.records.reading import Record
from dyna_ail.reports.groups import by_setting, by_task
from dyna_ail.reports.plots.comparisons import columns
from dyna_ail.reports.plots.style import Row, check_out, panels, style, tidy, write

PANELS: dict[str, tuple[str, ...]] = {
    "D's accuracy": ("discriminator/accuracy_policy", "discriminator/accuracy_expert"),
    "model error by depth": ("model/error_",),
    "imagined rollouts that last": ("planner/alive",),
    "policy's standard deviation": ("policy/std",),
    "KL by which a phase moves the policy": ("policy/model_free_kl", "policy/planner_kl"),
    "cosine of the two phases' steps": ("policy/steps_cosine",),
    "length of the planner's step over the model-free one's": ("policy/steps_ratio",),
    "gradient norms": ("grad_norm",),
    "imagined cost per step": ("planner/cost_per_step",),
}
"""Title of each panel, and the columns in it: whole names, or parts of them."""
LOGARITHMIC = ("model error by depth", "KL by which a phase moves the policy", "gradient norms")


def diagnostics_page(runs: Sequence[Path], out: Path) -> list[Path]:
    """Draw the diagnostics of runs against environment interactions, as medians over the seeds of each setting.

    Args:
        runs: folders of runs of one task.
        out: the .png or .pdf to write, both and the numbers drawn as .csv.

    Returns:
        The files written.

    Raises:
        InputError: the runs are of several tasks, have no interactions, or have files that cannot be read.
    """
    check_out(out)
    tasks = by_task(runs)
    if len(tasks) > 1:
        raise InputError(f"the page of diagnostics is for one task; these runs are of {', '.join(tasks)}.")
    (records,) = tasks.values()
    groups = {label: [_table(record) for record in group] for label, group in by_setting(records).items()}
    present = {column for tables in groups.values() for table in tables for column in table}
    drawn = {
        name: found
        for name, parts in PANELS.items()
        if (found := sorted((c for c in present if any(part in c for part in parts)), key=_natural))
    }
    if depths := drawn.get("model error by depth"):
        some = np.linspace(0, len(depths) - 1, 5 if len(groups) == 1 else 2).astype(int)
        drawn["model error by depth"] = [depths[i] for i in sorted(set(some))]
    if len(groups) > 1:  # a line is a setting: every column has a panel
        drawn = {
            f"{name}: {_short(column)}" if len(names) > 1 else name: [column]
            for name, names in drawn.items()
            for column in names
        }
    figure, axes = panels(len(drawn), width=4.2, height=3.0)
    rows: list[Row] = []
    for panel, (name, names) in zip(axes, drawn.items(), strict=True):
        panel.set_title(name, fontsize=9)
        if name.startswith(LOGARITHMIC):
            panel.set_yscale("log")
        for setting, (label, tables) in enumerate(groups.items()):
            for column in names:
                curves = [(t["interactions"], t[column]) for t in tables if column in t]
                if curves:
                    x, y = _median(curves)
                    look = style(names.index(column) if len(groups) == 1 else setting) | {"marker": None}
                    panel.plot(x, y, linewidth=1, label=column, **look)
                    rows += [
                        {"setting": label, "column": column, "interactions": at, "median": value}
                        for at, value in zip(x, y, strict=True)
                    ]
        tidy(panel)
        panel.tick_params(which="both", labelsize=7)
        panel.set_xlabel("environment interactions", fontsize=7)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
        if len(groups) == 1 and len(names) > 1:
            panel.legend([_short(column) for column in names], fontsize=6, frameon=False, ncols=2)
    settings = [f"{label} ({len(tables)} run{'s' * (len(tables) > 1)})" for label, tables in groups.items()]
    figure.suptitle(records[0].config.task + (f": {settings[0]}" if len(groups) == 1 else ""), fontsize=10)
    if len(groups) > 1:
        lines = [panel.plot([], [], **(style(i) | {"marker": None}))[0] for i in range(len(groups))]
        figure.legend(lines, settings, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return write(figure, out, rows)


def _table(record: Record) -> dict[str, np.ndarray]:
    """Every column of a run's diagnostics.csv, each [iterations], without those of a cloned start."""
    path = record.path / DIAGNOSTICS
    empty = f"{path} holds no iteration: a run without interactions has no diagnostics; leave it out."
    try:
        with path.open(newline="") as file:
            table = columns(record, ("interactions", *next(csv.reader(file))))
    except (OSError, StopIteration, csv.Error) as error:
        raise InputError(empty) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    learned = table["interactions"] > 0
    if not learned.any():
        raise InputError(empty)
    return {name: column[learned] for name, column in table.items() if not name.startswith("cloning/")}


def _median(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The median over runs, at the interactions that all runs have. Runs without a number there are left out."""
    shared = sorted(set.intersection(*(set(x) for x, _ in curves)))
    values = [[y[np.searchsorted(x, at)] for at in shared] for x, y in curves]
    return np.array(shared), np.ma.median(np.ma.masked_invalid(values), axis=0).filled(np.nan)


def _natural(column: str) -> tuple[str, int]:
    number = re.search(r"(\d+)$", column)
    return (re.sub(r"\d+$", "", column), int(number[1]) if number else 0)


def _short(column: str) -> str:
    part, _, name = column.partition("/")
    name = name.removeprefix("error_").removeprefix("accuracy_")
    return name.removesuffix("_kl").removesuffix("grad_norm").removesuffix("_") or part
