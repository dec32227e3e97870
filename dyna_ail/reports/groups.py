"""Runs side by side: by task, and by the values in which their configurations differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyna_ail.config import RunConfig, flatten, result_settings
from dyna_ail.errors import InputError
from dyna_ail.records.reading import Record, read


def by_task(runs: Sequence[Path], until: int | None = None) -> dict[str, list[Record]]:
    """The runs read from their folders, under the ids of their tasks, in the order given.

    Args:
        runs: folders of runs; one given twice counts once.
        until: read each run as it was after this many interactions; by default the whole run.

    Raises:
        InputError: no folder is given, a folder has no run or a file that cannot be read, or two runs have the same
            settings and seed.
    """
    folders = {path.resolve(): path for path in runs}.values()
    if not folders:
        raise InputError("no run given: name the folder of at least one, such as results/runs/NAME.")
    tasks: dict[str, list[Record]] = {}
    known: dict[str, Record] = {}
    for record in [read(path) if until is None else read(path).until(until) for path in folders]:
        other = known.setdefault(json.dumps(result_settings(record.config)), record)
        if other is not record:
            raise InputError(f"{other.path} and {record.path} are runs of one setting and seed: leave one out.")
        tasks.setdefault(record.config.task, []).append(record)
    return tasks


def by_setting(records: Sequence[Record], apart_from: str = "") -> dict[str, list[Record]]:
    """Runs of one task under the labels of :func:`settings`, in the order given."""
    groups: dict[str, list[Record]] = {}
    labels = settings([record.config for record in records], apart_from)
    for record, label in zip(records, labels, strict=True):
        groups.setdefault(label, []).append(record)
    return groups


def settings(configs: Sequence[RunConfig], apart_from: str = "") -> list[str]:
    """A label for each configuration: equal for those that differ in their seed alone, or in ``apart_from`` as well.

    The label is the preset, followed by the values in which settings of that preset differ, such as
    ``dyna-ail, planner.horizon=5``. A value that most of them share is left out.
    """
    flat = [
        {k: v for k, v in flatten(result_settings(config)).items() if k not in ("seed", apart_from)}
        for config in configs
    ]
    distinct: dict[str, list[dict[str, Any]]] = {}
    for config, values in zip(configs, flat, strict=True):
        known = distinct.setdefault(config.preset, [])
        if values not in known:
            known.append(values)
    labels = []
    for config, values in zip(configs, flat, strict=True):
        rivals = distinct[config.preset]
        shown = {key: value for key, value in values.items() if not _usual(value, [rival[key] for rival in rivals])}
        labels.append(", ".join([config.preset, *(f"{key}={_short(value)}" for key, value in shown.items())]))
    return labels


def _usual(value: Any, among: Sequence[Any]) -> bool:
    """Whether more of the settings have this value than have any other."""
    return all(among.count(other) < among.count(value) for other in among if other != value)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
