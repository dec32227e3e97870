"""The tables in the pages say what the published runs say; a run is published whole, and nothing of its machine."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from dyna_ail.config import RunConfig, from_dict
from dyna_ail.records.folder import DIAGNOSTICS, PROGRESS

RESULTS = Path(__file__).resolve().parents[1] / "results"
RUNS = sorted(path.parent for path in RESULTS.rglob("config.json") if "runs" not in path.parts)


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """``results/tables.py``, which is a script and belongs to no package."""
    spec = importlib.util.spec_from_file_location("published_tables", RESULTS / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_as_the_runs_say(tables: ModuleType):
    pages = tables.pages()
    assert len(pages) == 5
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{page} is older than its runs: python results/tables.py"


def test_a_changed_number_is_found(tables: ModuleType):
    page = RESULTS / "interactions" / "README.md"
    changed = page.read_text(encoding="utf-8").replace("6,000, 8,000, 8,000, 10,000, 10,000", "6,000, 6,000, 6,000")
    assert tables._rewritten(changed, {"HELD": tables.held()}) == page.read_text(encoding="utf-8") != changed


def test_every_setting_has_five_seeds():
    found = defaultdict(set)
    for run in RUNS:
        found[run.parent].add(run.name)
    assert len(found) > 50
    assert {setting: seeds for setting, seeds in found.items() if seeds != set("01234")} == {}


def test_every_run_is_published_whole():
    """Its seed and its preset are those of its folders, it spent its budget, and no path of its machine is told."""
    for run in RUNS:
        config = from_dict(RunConfig, json.loads((run / "config.json").read_text(encoding="utf-8")))
        assert (config.learner.seed, config.preset) == (int(run.name), run.parent.name.split(",")[0]), run
        with (run / PROGRESS).open(newline="") as file:
            spent = [int(row["interactions"]) for row in csv.DictReader(file)]
        assert (spent[0], spent[-1]) == (0, config.learner.interactions), run
        assert {path.name for path in run.iterdir()} == {"config.json", "versions.json", PROGRESS, DIAGNOSTICS}, run
        assert not any(re.search(r"[\s\"'=]/\w+/", path.read_text(encoding="utf-8")) for path in run.iterdir()), run
