"""The grid of a sweep: every combination of the varied settings with every seed. Imports no torch."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna_ail.config import Config, RunConfig, make_run_config, parse_value
from dyna_ail.envs.tasks import get_task
from dyna_ail.errors import InputError


@dataclass(frozen=True)
class Cell:
    """A run of the grid.

    Attributes:
        name: ``<task>/<setting>/<seed>``, its folder within the sweep's.
        folder: where it is written.
        config: its configuration.
    """

    name: str
    folder: Path
    config: RunConfig


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``finished``, ``stopped`` (by Ctrl-C) or ``failed``, with its message."""

    name: str
    state: str
    message: str = ""


def read_variations(given: Sequence[str]) -> dict[str, list[Any]]:
    """What to vary, from texts such as ``planner.horizon=5,10,50``.

    Raises:
        InputError: not of the form key=value,value; an unknown setting; a value of another type; a key given twice.
    """
    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise InputError(f"--vary takes KEY=VALUE,VALUE,..., such as planner.horizon=5,10,50; got {text!r}.")
        if key in found:
            raise InputError(f"--vary {key} is given twice; name all its values in one.")
        found[key] = [parse_value(key, value) for value in values.split(",")]
        if len(set(map(str, found[key]))) < len(found[key]):
            raise InputError(f"--vary {key} has a value twice: {values}.")
    return found


def grid(variations: Mapping[str, Sequence[Any]], seeds: int, out: Path) -> list[Cell]:
    """Every combination of the variations, with the seeds 0 to ``seeds`` - 1; ``seed`` itself may be varied instead.

    Raises:
        InputError: fewer than one seed, an unknown task or preset, a combination that cannot work, or two that would
            be written to the same folder.
    """
    if seeds < 1:
        raise InputError(f"--seeds must be at least 1; got {seeds}.")
    variations = {"seed": range(seeds), **variations}
    cells = []
    for values in itertools.product(*variations.values()):
        setting = dict(zip(variations, values, strict=True))
        seed = setting.pop("seed", Config.seed)
        task = get_task(setting.pop("task", RunConfig.task))
        preset = setting.pop("preset", RunConfig.preset)
        config = make_run_config(preset, task.run_defaults, task=task.id, seed=seed, **setting)
        shown = [f"{key}={_text(value)}" for key, value in setting.items() if len(variations[key]) > 1]
        label = ",".join([preset, *shown]) if "preset" in variations or not shown else ",".join(shown)
        name = "/".join(re.sub(r"[^\w.,=+-]+", "-", part) for part in (task.id, label, str(seed)))
        cells.append(Cell(name, out / name, config))
    for name, number in Counter(cell.name for cell in cells).items():
        if number > 1:
            raise InputError(
                f"{number} runs would be written to {out / name}: vary them in two sweeps with an --out each."
            )
    return cells


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
