"""A sweep on a real Dask cluster on this machine: two workers, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_sweep import options

from dyna_ail.cli import main

WORKER = "from distributed.cli.dask_worker import main; main()"
SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"


def start(code: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    elsewhere = log.parent / "elsewhere"  # than the sweep
    elsewhere.mkdir(exist_ok=True)
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=out, stderr=out, start_new_session=True, cwd=elsewhere
        )


def wait_for(log: Path, text: str) -> str:
    """The first line of the log with the text in it."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.1)
    raise TimeoutError(f"{text!r} never came:\n{log.read_text()}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The scheduler's address and two workers of one thread each."""
    log = tmp_path / "scheduler.log"
    processes = [start(SCHEDULER, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", log=log)]
    address = "tcp://" + wait_for(log, "Scheduler at:").split("tcp://")[1].strip()
    logs = [tmp_path / f"worker{i}.log" for i in range(2)]
    processes += [start(WORKER, address, "--nthreads", "1", "--no-dashboard", "--no-nanny", log=log) for log in logs]
    for log in logs:
        wait_for(log, "Registered to:")
    yield address, processes[1:]
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_all_results_arrive_though_a_worker_is_killed(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]], capfd: pytest.CaptureFixture[str]
):
    address, (victim, _) = cluster
    out = tmp_path / "sweep"
    vary = ("interactions=3000", "safety.checkpoint_every=300")
    sweep = subprocess.Popen(
        [sys.executable, "-m", "dyna_ail", *options(*vary, out=Path("sweep"), seeds=3), "--scheduler", address],
        cwd=tmp_path,
    )
    while not list(out.rglob("checkpoint.pt")):
        assert sweep.poll() is None
        time.sleep(0.05)
    victim.kill()
    assert sweep.wait(240) == 0
    assert "3 of 3 runs finished" in capfd.readouterr().out
    finished = sorted(path.parent.name for path in out.rglob("policy.zip"))
    assert finished == ["0", "1", "2"]
    assert not list(out.rglob("checkpoint*")), "a run that is not finished keeps its checkpoint"


def test_no_scheduler_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*options(out=tmp_path), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err
