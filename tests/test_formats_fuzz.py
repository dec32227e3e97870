"""500 damaged files and the hostile ones: each loads or is refused, soon, in little memory, and nothing in it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz_formats import KINDS, SECONDS

WORKER = Path(__file__).with_name("fuzz_formats.py")


def work_through(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """The worker's lines; one that ends early, by a crash or for taking too long, is a failure that names the case."""
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder), *kinds], capture_output=True, text=True, timeout=300
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died ({done.returncode}) on {lines[-1:]}\n{done.stderr[-2000:]}"
    assert not [line for line in lines if "reader" in line], "a reader crashed, or took too long"
    assert not [line for line in lines if "event" in line], "something was unpickled or started"
    return lines


def test_the_time_limit_is_short() -> None:
    assert sum(KINDS.values()) == 500 and SECONDS <= 20


@pytest.mark.parametrize(
    "kinds",
    [("npz", "imitation npz", "Minari", "D4RL", "imitation"), ("Stable-Baselines3", "expert")],
    ids=["data", "policies"],
)
def test_damaged_files(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    *lines, peak = work_through(tmp_path, *kinds)
    cases, found = lines[::2], lines[1::2]
    assert len(cases) == sum(KINDS[kind] for kind in kinds)
    assert not [(case, outcome) for case, outcome in zip(cases, found, strict=True) if "failed" in outcome]
    refusals = [outcome["refused"] for outcome in found if "refused" in outcome]
    assert not [message for message in refusals if "\n" in message or "Traceback" in message or len(message) > 1500]
    for kind in kinds:  # or the damage is too slight, or the seed is no good
        outcomes = [o for case, o in zip(cases, found, strict=True) if case["case"].rpartition(" ")[0] == kind]
        assert any("refused" in outcome for outcome in outcomes) and any("loaded" in outcome for outcome in outcomes)
    assert peak["growth MiB"] < 100


def test_hostile_files(tmp_path: Path) -> None:
    lines = work_through(tmp_path, "hostile")
    cases, found = lines[::2], lines[1::2]
    assert len(cases) > 15
    for case, outcome in zip(cases, found, strict=True):
        assert ("loaded" if outcome["loads"] else "refused") in outcome, (case, outcome)
        assert not outcome["touched"], f"{case} ran code"
    assert not (tmp_path / "evil.npy").exists() and not (tmp_path.parent / "evil.npy").exists()
