"""A sweep on a real Dask cluster on this machine, whose workers or scheduler die in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
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

    def add_worker(self, *arguments: str) -> None:
        log = self.folder / f"worker{len(self.processes)}.log"
        arguments = (self.address, "--nthreads", "1", "--no-dashboard", *arguments)
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


def test_all_results_arrive_though_a_worker_is_killed(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    for _ in range(2):
        cluster.add_worker("--no-nanny")
    sweep = sweep_on(cluster, "interactions=3000", "safety.checkpoint_every=300", seeds=3)
    out = cluster.folder / "sweep"
    while not list(out.rglob("checkpoint.pt")):
        assert sweep.poll() is None
        time.sleep(0.05)
    cluster.processes[1].kill()
    assert sweep.wait(600) == 0
    assert "3 of 3 runs finished" in capfd.readouterr().out
    finished = sorted(path.parent.name for path in out.rglob("policy.zip"))
    assert finished == ["0", "1", "2"]
    assert not list(out.rglob("checkpoint*")), "a run that is not finished keeps its checkpoint"


DEADLY = """
import os, signal
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Deadly(CartPoleEnv):
    def step(self, action):
        os.kill(os.getppid(), signal.SIGKILL)
        return super().step(action)

gymnasium.register("Deadly-v0", Deadly, max_episode_steps=500)
"""


def test_a_run_that_kills_every_worker_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], demos: Path
):
    (cluster.folder / "deadly.py").write_text(DEADLY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(cluster.folder), *sys.path]))
    cluster.add_worker("--nanny")  # starts the worker again each time
    sweep = sweep_on(cluster, "task=deadly:Deadly-v0", f"demos={demos}", seeds=1)
    assert sweep.wait(600) == 1
    captured = capfd.readouterr().err
    assert "deadly-Deadly-v0/dyna-ail/0: failed. the workers that it was given to died; see their logs." in captured
    assert "Traceback" not in captured


def test_runs_are_named_when_the_scheduler_is_gone(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    cluster.add_worker("--no-nanny")
    sweep = sweep_on(cluster, "interactions=100000", seeds=1)
    while not list((cluster.folder / "sweep").rglob("progress.csv")):
        assert sweep.poll() is None
        time.sleep(0.05)
    cluster.processes[0].kill()
    assert sweep.wait(600) == 1
    captured = capfd.readouterr().err
    assert "CartPole-v1/dyna-ail/0: failed. the scheduler is gone." in captured
    assert "Traceback" not in captured


def test_a_cluster_without_workers(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    assert sweep_on(cluster, seeds=1).wait(600) == 2
    assert f"the Dask scheduler at {cluster.address} has no workers: start some" in capfd.readouterr().err


def test_no_scheduler_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*options(out=tmp_path), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err
