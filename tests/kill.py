"""A CartPole training that is killed again and again by SIGKILL, resumed each time, and compared with a whole one.

``python tests/kill.py [KILLS]`` kills it KILLS times (30), at random moments: as it starts, as it learns, and most
often as it writes a checkpoint, which it does before every step. Meanwhile a reader reads its tables all the time.
It fails if a table ever shows a broken row, if a resume fails or warns, or if the end differs in one bit.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from cartpole import record, tiny_options
from interrupted import files, outcome

from dyna_ail.cli import main

TABLES = ("progress.csv", "diagnostics.csv")
LEFT = {"config.json", "versions.json", "policy.zip", "learning_curve.png", *TABLES}
STEPS_PER_KILL = 25


@dataclass
class Reader:
    """Reads the tables of a run again and again, in a thread of its own, and keeps what was wrong with them."""

    folder: Path
    readings: int = 0
    broken: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until :attr:`done`."""
        while not self.done.is_set():
            for name in TABLES:
                try:
                    text = (self.folder / name).read_text()
                except FileNotFoundError:
                    continue
                self.readings += 1
                self.broken += [f"{name}: {problem}" for problem in problems(text)]
            time.sleep(1e-3)  # leaves the processor to the training


def problems(text: str) -> list[str]:
    """What is wrong with a table."""
    rows = list(csv.reader(io.StringIO(text)))
    found = [] if text.endswith("\n") or not text else [f"ends in the middle of a row: {text[-60:]!r}"]
    for before, row in itertools.pairwise(rows):
        if len(row) != len(rows[0]):
            found.append(f"{len(row)} cells under {len(rows[0])} names: {row}")
        elif not all(
            _is_number(cell) if cell else _is_blank(name, row[0]) for name, cell in zip(rows[0], row, strict=True)
        ):
            found.append(f"not all are numbers: {row}")
        elif before is not rows[0] and int(row[0]) <= int(before[0]):
            found.append(f"{row[0]} interactions after {before[0]}")
    return found


def _is_blank(name: str, interactions: str) -> bool:
    """Whether there is nothing to tell: diagnostics of cloning after the start, and all others at the start."""
    return "/" in name and name.startswith("cloning/") == (interactions != "0")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@dataclass
class Killer:
    """Starts, kills and resumes a run in the folder ``run`` of ``place``.

    Attributes:
        writing: how many kills left a half-written checkpoint.
        resumed_at: interactions at which it was resumed.
    """

    place: Path
    kills: int
    seed: int = 0
    writing: int = 0
    resumed_at: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.place / "run"

    def options(self, out: str, *more: str) -> list[str]:
        """How the run is started."""
        demos = self.place / "demos.npz"
        interactions = STEPS_PER_KILL * self.kills + 150
        options = tiny_options(interactions=interactions, steps_per_iteration=50, **{"evaluation.every": 100})
        return ["train", *options, "--demos", str(demos), "--out", out, *more]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line, in a process of its own."""
        command = [sys.executable, "-u", "-m", "dyna_ail", *arguments]
        return subprocess.Popen(command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def go_on(self) -> subprocess.Popen[str]:
        """Start the run, or resume it."""
        if (self.folder / "config.json").exists():
            return self.start("train", "--resume", "run")
        return self.start(*self.options("run", "--safety.checkpoint_every", "1", "--force"))

    def finish(self, process: subprocess.Popen[str]) -> None:
        """Wait for the end, which must be a good one."""
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0 and not errors, errors

    def kill_once(self, draw: random.Random) -> str:
        """Start or resume the run and kill it; returns what was hit."""
        process = self.go_on()
        assert process.stdout is not None and process.stderr is not None
        if draw.random() < 0.1:
            line, wait = "", draw.uniform(0, 1)  # as it starts
        else:
            line = process.stdout.readline()
            self.await_checkpoints(draw.randrange(STEPS_PER_KILL), process)
            wait = draw.uniform(0, draw.choice([0.02, 0.02, 0.02, 0.2]))
        time.sleep(wait)
        process.kill()
        output, errors = process.communicate()
        assert process.returncode == -9, f"it ended before it was killed: {line}{output}{errors}"
        assert not errors, errors
        if line.startswith("resumed at "):
            self.resumed_at.append(int(line.split()[2].replace(",", "")))
        half = [path for path in self.folder.glob(".checkpoint.pt.*.tmp") if f".{process.pid}." in path.name]
        self.writing += bool(half)
        return f"{line.strip() or 'as it started'}{'; writing a checkpoint' * bool(half)}"

    def await_checkpoints(self, number: int, process: subprocess.Popen[str]) -> None:
        """Wait until the run has written so many: the same part of it on a fast machine and on a slow one."""
        checkpoint, seen = self.folder / "checkpoint.pt", set()
        while len(seen) < number and process.poll() is None:
            with contextlib.suppress(FileNotFoundError):  # between the old one and the new one there is none
                seen.add(checkpoint.stat().st_mtime_ns)
            time.sleep(1e-3)

    def run(self, say: bool = True) -> str:
        """Do it all.

        Returns:
            What was seen.

        Raises:
            AssertionError: something is not as it should be; says what.
        """
        record().save(self.place / "demos.npz")
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(self.options(str(self.place / "whole"))) == 0
        expected = outcome(self.place / "whole")
        draw, reader = random.Random(self.seed), Reader(self.folder)
        thread = threading.Thread(target=reader.run)
        thread.start()
        try:
            for number in range(1, self.kills + 1):
                hit = self.kill_once(draw)
                if say:
                    print(f"kill {number}: {hit}", flush=True)
                left = [path.name for path in self.folder.glob(".*.tmp")]
                assert len(left) <= 1, f"what the killed processes left behind piles up: {left}"
            self.finish(self.go_on())
        finally:
            reader.done.set()
            thread.join()
        assert not reader.broken, reader.broken[:5]
        assert self.resumed_at == sorted(self.resumed_at), self.resumed_at
        assert self.writing or self.kills < 30, "no kill hit a checkpoint in the making: it tried less than it says"
        found = outcome(self.folder)
        for part, value in expected.items():
            assert found[part] == value, f"{part} differ: {found[part]} instead of {value}"
        assert files(self.folder) == LEFT, files(self.folder)
        rows = " and ".join(f"{len(expected[part])} rows of {part}.csv" for part in ("progress", "diagnostics"))
        return (
            f"{self.kills} kills, {self.writing} of them while a checkpoint was written; resumed at "
            f"{len(set(self.resumed_at))} different steps; {reader.readings:,} readings of the tables, none broken; "
            f"{rows} and {len(expected['weights'])} tensors of weights equal those of the run that was never "
            "interrupted, bit for bit"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(Killer(Path(place), kills=int(sys.argv[1]) if len(sys.argv) > 1 else 30).run())
