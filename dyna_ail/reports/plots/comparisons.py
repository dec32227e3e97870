"""Settings side by side: interactions to the expert's level, scores at a budget, and where the time goes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dyna_ail.config import flatten, to_dict
from dyna_ail.errors import InputError, nearest
from dyna_ail.records.folder import DIAGNOSTICS
from dyna_ail.records.reading import Record, read
from dyna_ail.reports.groups import by_setting, by_task
from dyna_ail.reports.plots.style import Row, check_out, legend, panels, styles, tidy, title, wrapped, write
from dyna_ail.reports.statistics import HOLD, bootstrap_interval, interactions_to, interquartile_mean

THRESHOLD = 0.9
"""A run holds the expert's level from the first of three evaluations in a row at 90% or above."""


def held_interactions(runs: Sequence[Path], out: Path, key: str = "planner.horizon") -> list[Path]:
    """Draw how many interactions runs take to hold 90% of the expert, against a setting (T_p by default).

    Each task has a panel. A dot is a run, and the line goes through the medians over seeds. Runs that never hold 90%
    are drawn at the upper edge, above all others, and count as infinite in the median.

    Args:
        runs: folders of runs.
        out: the .png or .pdf to write; both are written, and the numbers drawn as .csv.
        key: dotted name of the setting, whose values are numbers.

    Returns:
        The files written.

    Raises:
        InputError: a folder without a readable run, without a score or of a run that neither holds 90% nor is finished,
            an unknown setting or one that is no number, an ``out`` that cannot be written.
    """
    check_out(out)
    tasks = by_task(runs)
    figure, axes = panels(len(tasks))
    rows: list[Row] = []
    settings = [by_setting(records, apart_from=key) for records in tasks.values()]
    looks = styles(settings)
    for panel, records, groups in zip(axes, tasks.values(), settings, strict=True):
        budget = max(record.progress["interactions"][-1] for record in records)
        never = 1.1 * max(1, budget)
        values = sorted({_number(record, key) for record in records})
        for index, (label, group) in enumerate(groups.items()):
            held: dict[float, list[float]] = {_number(record, key): [] for record in group}
            for record in group:
                if not np.isfinite(record.progress["score"]).any():
                    raise InputError(f"{record.path} has no score: the return of its expert or of chance is unknown.")
                reached = interactions_to(record.progress, THRESHOLD, HOLD)
                end = record.progress["interactions"][-1]
                if reached is None and not record.finished:
                    raise InputError(
                        f"{record.path} is not finished, at {end:,.0f} of "
                        f"{record.config.learner.interactions:,} interactions, "
                        f"and does not hold {THRESHOLD:.0%} yet: let it finish, or leave it out."
                    )
                if len(record.progress["score"]) < HOLD:
                    raise InputError(f"{record.path} has fewer evaluations than {HOLD}, too few to hold: leave it out.")
                held[_number(record, key)].append(np.inf if reached is None else reached)
                rows.append({"task": record.config.task, "setting": label, key: _number(record, key)})
                rows[-1] |= {"seed": record.config.learner.seed, "held_from": reached}
            # Side by side, or runs that never hold it would hide each other.
            x = {value: values.index(value) + 0.16 * (index - (len(groups) - 1) / 2) for value in sorted(held)}
            medians = [np.median(held[value]) for value in x]
            rows += [
                {"task": group[0].config.task, "setting": label, key: value, "median": median}
                for value, median in zip(x, medians, strict=True)
            ]
            look = looks[label]
            panel.plot(list(x.values()), np.minimum(medians, never), label=f"{label}, median", **look)
            for value, place in x.items():
                drawn = np.minimum(held[value], never)
                panel.scatter(
                    np.full(len(drawn), place), drawn, color=look["color"], marker=look["marker"], alpha=0.5, s=18
                )
        panel.axhline(never, color="0.35", linewidth=1, linestyle=(0, (1, 2)))
        across = panel.get_yaxis_transform()
        panel.text(0.01, never, "not held", transform=across, ha="left", va="bottom", fontsize=8, color="0.35")
        panel.set_title(title([record.config for record in records]), fontsize=10)
        panel.set_xlabel(f"{key}{' ($T_p$)' if key == 'planner.horizon' else ''}")
        panel.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        panel.set_ylabel("interactions to held 90% of the expert")
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        tidy(panel)
        panel.set_xlim(-0.5, len(values) - 0.5)
        panel.set_ylim(0, 1.08 * never)
        legend(panel)
    return write(figure, out, rows)


def scores_at(runs: Sequence[Path], out: Path, budget: int) -> list[Path]:
    """Draw the score of each setting after ``budget`` interactions, with one panel for each task.

    A dot is a run at its last evaluation within the budget. The marker is the interquartile mean over seeds, with its
    95% bootstrap interval.

    Args:
        runs: folders of runs.
        out: the .png or .pdf to write, both and the numbers drawn as .csv.
        budget: interactions.

    Returns:
        The files written.

    Raises:
        InputError: a folder has no readable run, a run has no score or ended before ``budget`` (unless it takes no
            interaction), ``budget`` is negative, or ``out`` cannot be written.
    """
    if budget < 0:
        raise InputError(f"--score takes a number of interactions, at least 0; got {budget}.")
    check_out(out)
    for record in map(read, runs):
        end = record.progress["interactions"][-1]
        if end < budget and record.config.learner.interactions > 0:
            raise InputError(f"{record.path} has {end:,.0f} interactions, not {budget:,}; leave it out, or ask less.")

    def score(record: Record) -> float:
        return float(record.progress["score"][-1])

    return _dots(by_task(runs, until=budget), out, score, f"score after {budget:,} interactions", "score")


def planning_share(runs: Sequence[Path], out: Path) -> list[Path]:
    """Draw the share of the wall time that planning and the forward model take, with one panel for each task.

    Args:
        runs: folders of runs.
        out: the .png or .pdf to write, both and the numbers drawn as .csv.

    Returns:
        The files written.

    Raises:
        InputError: a folder without a readable run or without phases' times, an ``out`` that cannot be written.
    """
    check_out(out)
    return _dots(by_task(runs), out, _share, "planning's and f's share of the time", "share")


def _dots(tasks: dict[str, list[Record]], out: Path, measure: Any, label: str, column: str) -> list[Path]:
    """Draw one number for each run, with the settings side by side."""
    figure, axes = panels(len(tasks))
    rows: list[Row] = []
    settings = [by_setting(records) for records in tasks.values()]
    looks = styles(settings)
    for panel, records, groups in zip(axes, tasks.values(), settings, strict=True):
        for index, (setting, group) in enumerate(groups.items()):
            values = np.array([measure(record) for record in group])
            rows += [
                {"task": record.config.task, "setting": setting, "seed": record.config.learner.seed, column: value}
                for record, value in zip(group, values, strict=True)
            ]
            if not np.isfinite(values).all():
                raise InputError(f"a run of {setting} on {group[0].config.task} has no {column}.")
            look, mean = looks[setting], interquartile_mean(values)
            panel.scatter(values, np.full(len(values), index), color=look["color"], alpha=0.4, s=18)
            error = None
            if len(values) > 1:
                error = np.abs(np.array(bootstrap_interval(values))[:, None] - mean)
            panel.errorbar(mean, index, xerr=error, color=look["color"], marker=look["marker"], capsize=3)
        panel.set_yticks(range(len(groups)), [wrapped(label, 40) for label in groups])
        panel.invert_yaxis()
        panel.set_xlabel(label)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        panel.set_title(title([record.config for record in records]), fontsize=10)
        tidy(panel)
        panel.margins(y=0.2)
    return write(figure, out, rows)


def _share(record: Record) -> float:
    seconds = columns(record, ("seconds", "seconds/planner", "seconds/model"))
    planning = np.nansum(seconds["seconds/planner"]) + np.nansum(seconds["seconds/model"])  # a cloned start has none
    return float(planning / seconds["seconds"][-1])


def columns(record: Record, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a run's diagnostics.csv, each [iterations]; NaN where a cell is empty.

    Raises:
        InputError: it cannot be read, or lacks one of them.
    """
    path = record.path / DIAGNOSTICS
    try:
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        return {name: np.array([float(line[name] or "nan") for line in lines]) for name in names}
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except KeyError as error:
        told = f"{path} lacks the column {error.args[0]}: the run had no iteration that measured it; leave it out."
        raise InputError(told) from error


def _number(record: Record, key: str) -> float:
    numbers = {
        name: value
        for name, value in flatten(to_dict(record.config)).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if key not in numbers:
        raise InputError(f"{key} is no setting with a number: {nearest(key, numbers)}")
    return numbers[key]
