"""Runs side by side: by task, and by the values in which their configurations differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyna_ail.config import Config, to_dict
from dyna_ail.errors import InputError
from dyna_ail.record import Record, read


def by_task(runs: Sequence[Path]) -> dict[str, list[Record]]:
    """The runs read from their folders, under the ids of their tasks, in the order given.

    Args:
        runs: folders of runs; one given twice counts once.

    Raises:
        InputError: no folder at all, one without a run, or a file in it that cannot be read.
    """
    folders = {path.resolve(): path for path in runs}.values()
    if not folders:
        raise InputError("no run given: name the folder of at least one, such as results/runs/NAME.")
    tasks: dict[str, list[Record]] = {}
    for record in [read(path) for path in folders]:
        tasks.setdefault(record.config.task, []).append(record)
    return tasks


def by_setting(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Runs of one task under the labels of :func:`settings`, in the order given."""
    groups: dict[str, list[Record]] = {}
    for record, label in zip(records, settings([record.config for record in records]), strict=True):
        groups.setdefault(label, []).append(record)
    return groups


def settings(configs: Sequence[Config]) -> list[str]:
    """A label for each configuration: equal for those that differ in their seed alone.

    The label is the preset, followed by the values in which settings of that preset differ, such as
    ``dyna-ail, planner.horizon=5``.
    """
    flat = [
        {k: v for k, v in _flatten(to_dict(config)).items() if k != "seed" and not k.startswith("safety.")}
        for config in configs
    ]
    labels = []
    for config, values in zip(configs, flat, strict=True):
        rivals = [other for rival, other in zip(configs, flat, strict=True) if rival.preset == config.preset]
        differing = [key for key in values if any(other[key] != values[key] for other in rivals)]
        shown = [f"{key}={_short(values[key])}" for key in differing]
        labels.append(", ".join([config.preset, *shown]))
    return labels


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
