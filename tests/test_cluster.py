"""A sweep on a real Dask cluster on this machine, whose workers or scheduler die in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stand_in import FINISHES, python
from test_sweep import options

from dyna_ail.cli import main
from dyna_ail.runs.sweeps import executors

WORKER = "from distributed.cli.dask_worker import main; main()"
SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"


def start(code: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    elsewhere = log.parent / "elsewhere"  # than the sweep
    elsewhere.mkdir(exist_ok=True)
    settings = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}  # not three workers for a run
    command = [sys.executable, "-c", code, *arguments]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=elsewhere, env=settings)


def wait_for(log: Path, text: str) -> str:
    """The first line of the log with the text in it."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.1)
    raise TimeoutError(f"{text!r} never came:\n{log.read_text()}")


@dataclass
class Cluster:
    """A scheduler, and workers of one thread each.

    Attributes:
        folder: of the logs.
        address: the scheduler's.
        processes: the scheduler's, then the workers'.
    """

    folder: Path
    address: str
    processes: list[subprocess.Popen[bytes]]

    def add_worker(self, *arguments: str, deed: str = "") -> None:
        """With a ``deed``, what ``stand_in.py`` makes runs there in place of the real runs."""
        log = self.folder / f"worker{len(self.processes)}.log"
        arguments = (self.address, "--nthreads", "1", "--no-dashboard", *arguments)
        if deed:
            arguments += ("--preload", f"import sys; sys.executable = {python(self.folder, deed)!r}")
        self.processes.append(start(WORKER, *arguments, log=log))
        wait_for(log, "Registered to:")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    log = tmp_path / "scheduler.log"
    process = start(SCHEDULER, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", log=log)
    made = Cluster(tmp_path, "tcp://" + wait_for(log, "Scheduler at:").split("tcp://")[1].strip(), [process])
    yield made
    for process in made.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sweep_on(cluster: Cluster, *vary: str, seeds: int) -> subprocess.Popen[bytes]:
    command = [*options(*vary, out=Path("sweep"), seeds=seeds), "--scheduler", cluster.address]
    return subprocess.Popen([sys.executable, "-m", "dyna_ail", *command], cwd=cluster.folder)


@pytest.mark.slow
def test_a_real_run_goes_on_elsewhere_when_its_worker_is_killed(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    cluster.add_worker("--no-nanny")
    sweep = sweep_on(cluster, "interactions=3000", "safety.checkpoint_every=300", seeds=1)
    run = cluster.folder / "sweep" / "CartPole-v1" / "dyna-ail" / "0"
    while not (run / "checkpoint.pt").exists():
        assert sweep.poll() is None
        time.sleep(0.05)
    cluster.processes[1].kill()
    cluster.add_worker("--no-nanny")
    assert sweep.wait(600) == 0
    assert "1 of 1 runs finished" in capfd.readouterr().out
    assert (run / "policy.zip").exists()
    (resumed,) = json.loads((run / "versions.json").read_text())["resumed"]
    assert resumed["interactions"] >= 300
    assert not list(run.glob("checkpoint*")), "a run that is not finished keeps its checkpoint"


WAITS_FOR_PEACE = f"""
checkpoint.touch()
while not Path("peace").exists():
    time.sleep(0.05)
checkpoint.unlink()
{FINISHES}
"""


def test_all_results_arrive_though_a_worker_is_killed(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    for _ in range(2):
        cluster.add_worker("--no-nanny", deed=WAITS_FOR_PEACE)
    sweep = sweep_on(cluster, seeds=3)
    out = cluster.folder / "sweep"
    while len(list(out.rglob("checkpoint.pt"))) < 2:
        assert sweep.poll() is None
        time.sleep(0.05)
    cluster.processes[1].kill()
    (cluster.folder / "peace").touch()
    assert sweep.wait(600) == 0
    assert "3 of 3 runs finished" in capfd.readouterr().out
    finished = sorted(path.parent.name for path in out.rglob("progress.csv"))
    assert finished == ["0", "1", "2"]
    assert not list(out.rglob("checkpoint*")), "a run that is not finished keeps its checkpoint"


def test_a_run_that_kills_every_worker_is_named(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    deed = "os.kill(os.getppid(), signal.SIGKILL)"
    cluster.add_worker("--nanny", deed=deed)  # starts the worker again each time
    assert sweep_on(cluster, seeds=1).wait(600) == 1
    captured = capfd.readouterr().err
    assert "CartPole-v1/dyna-ail/0: failed. the workers that it was given to died; see their logs." in captured
    assert "Traceback" not in captured


def test_runs_are_named_when_the_scheduler_is_gone(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    cluster.add_worker("--no-nanny", deed=WAITS_FOR_PEACE)
    sweep = sweep_on(cluster, seeds=1)
    while not list((cluster.folder / "sweep").rglob("checkpoint.pt")):
        assert sweep.poll() is None
        time.sleep(0.05)
    cluster.processes[0].kill()
    assert sweep.wait(600) == 1
    captured = capfd.readouterr().err
    assert "CartPole-v1/dyna-ail/0: failed. the scheduler is gone." in captured
    assert "Traceback" not in captured


def test_a_cluster_without_workers(cluster: Cluster, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(executors, "PATIENCE", 3)
    assert main([*options(out=cluster.folder / "sweep"), "--scheduler", cluster.address]) == 2
    assert f"the Dask scheduler at {cluster.address} has no workers: start some" in capsys.readouterr().err


def test_no_scheduler_there(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(executors, "PATIENCE", 1)
    assert main([*options(out=tmp_path), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err
