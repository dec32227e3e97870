"""The table of a study: interactions to the expert's level, final scores and minutes, by task and setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dyna_ail.errors import InputError, nearest
from dyna_ail.records.reading import Record
from dyna_ail.reports.groups import by_setting, by_task
from dyna_ail.reports.statistics import HOLD, interactions_to, interquartile_mean, ratio_of_medians


def scores(runs: Sequence[Path], threshold: float = 0.9, against: str | None = None, until: int | None = None) -> str:
    """A Markdown table with one line for each task and setting.

    Interactions and scores are listed in the order of the seeds. A run holds the ``threshold`` from the first of three
    evaluations in a row at or above it. Otherwise it has a mark: ``-`` if it never holds it, ``?`` if it does not hold
    it yet and is not finished, ``n/a`` if it has no scores or fewer than three evaluations, as behavioural cloning has.
    The median counts ``-`` as infinite. *Least once held* is the lowest score of a run after it began to hold the
    threshold.

    With ``against`` a column says how many times the interactions of that setting each other setting takes to hold the
    threshold. It is the ratio of the medians, with its 95% bootstrap interval over seeds. A seed that never holds the
    threshold counts with its whole budget, which makes the ratio a lower bound (``>=``); one of ``against`` counts as
    infinite.

    Args:
        runs: folders of runs.
        threshold: the score to reach, as a fraction of the expert's.
        against: the setting, as the table names it, that the others are compared with.
        until: show each run as it was after this many interactions; by default the whole run.

    Raises:
        InputError: a folder without a run, a progress.csv that cannot be read, a threshold or ``until`` that is not
            above 0, or no runs of ``against`` in a task.
    """
    if not threshold > 0:
        raise InputError(f"--threshold must be above 0, a fraction of the expert's score; got {threshold}.")
    if until is not None and until < 1:
        raise InputError(f"--until must be at least 1, a number of interactions; got {until}.")
    heads = ["task", "setting", "seeds", "interactions", f"interactions to held {threshold:.0%}", "median"]
    heads += [f"times {against}'s"] * (against is not None)
    heads += ["best score", "final score", "interquartile mean", "least once held", "minutes"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for task, records in by_task(runs, until).items():
        groups = by_setting(records)
        if against is not None and against not in groups:
            raise InputError(f"no runs of {against!r} among those of {task}: {nearest(against, groups)}")
        for setting, group in groups.items():
            cells = _cells(sorted(group, key=lambda record: record.config.learner.seed), threshold)
            if against is not None:
                cells.insert(4, "" if setting == against else _ratio(group, groups[against], threshold))
            lines.append("| " + " | ".join([task, setting, *cells]) + " |")
    return "\n".join(lines)


def _ratio(records: Sequence[Record], baseline: Sequence[Record], threshold: float) -> str:
    """The cell of the column about ``against``: the ratio and its interval, or a mark."""
    ours, theirs = (np.array(_held(group, threshold)) for group in (baseline, records))
    spent = np.array([record.progress["interactions"][-1] for record in records])
    held = zip([*baseline, *records], [*ours, *theirs], strict=True)
    if any(np.isinf(interactions) and not record.finished for record, interactions in held):
        return "?"
    if any(np.isnan(record.progress["score"]).any() for record in [*baseline, *records]):
        return "n/a"
    if min(len(ours), len(theirs)) < 2 or np.isinf(np.median(ours)) or not (spent.all() and ours.all()):
        return "-"
    ratio, low, high = ratio_of_medians(np.where(np.isinf(theirs), spent, theirs), ours)
    return f"{'>= ' * bool(np.isinf(theirs).any())}{ratio:.2g} ({low:.2g} to {high:.2g})"


def _held(records: Sequence[Record], threshold: float) -> list[float]:
    """Interactions until each run holds the threshold; infinite for a run that never does."""
    found = [interactions_to(record.progress, threshold, HOLD) for record in records]
    return [np.inf if interactions is None else interactions for interactions in found]


def _told(record: Record, held: float) -> str:
    """The table's entry for the interactions until a run holds the threshold: a number or a mark."""
    if np.isfinite(held):
        return f"{held:,.0f}"
    if not record.finished:
        return "?"
    return "-" if np.isfinite(record.progress["score"]).sum() >= HOLD else "n/a"


def _least(record: Record, held: float) -> str:
    """The lowest score of a run after it began to hold the threshold."""
    scores = record.progress["score"][record.progress["interactions"] >= held]
    return f"{scores.min():.0%}" if len(scores) else "-"


def _cells(records: Sequence[Record], threshold: float) -> list[str]:
    held = _held(records, threshold)
    told = [_told(record, interactions) for record, interactions in zip(records, held, strict=True)]
    median = np.median(held)
    final = np.array([record.progress["score"][-1] for record in records])
    return [
        str(len(records)),
        f"{max(record.progress['interactions'][-1] for record in records):,.0f}",
        ", ".join(told),
        next((mark for mark in ("?", "n/a") if mark in told), f"{median:,.0f}" if np.isfinite(median) else "-"),
        _percent([record.progress["score"].max() for record in records]),
        _percent(final),
        f"{interquartile_mean(final):.0%}" if np.isfinite(final).all() else "n/a",
        ", ".join(_least(record, interactions) for record, interactions in zip(records, held, strict=True)),
        f"{np.mean([record.progress['seconds'][-1] for record in records]) / 60:.1f}",
    ]


def _percent(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{100 * value:.0f}" for value in values) + "%" if np.isfinite(values).all() else "n/a"
