"""Grids of runs: which there are, that one that fails or is killed stops no other, and that all are taken up again."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cartpole import TINY
from runs import make_run
from stand_in import FINISHES, python

from dyna_ail.cli import main
from dyna_ail.config import parse_value, to_dict
from dyna_ail.errors import InputError
from dyna_ail.runs.sweeps import Outcome, grid, read_variations
from dyna_ail.runs.sweeps.overview import Overview

# One value each, so that they set the runs without naming them.
SMALL = {key: "x".join(map(str, value)) if isinstance(value, tuple) else str(value) for key, value in TINY.items()}


def small(*vary: str) -> list[str]:
    """Tiny runs of CartPole, but for what varies."""
    return [f"{key}={value}" for key, value in {**SMALL, **dict(text.split("=", 1) for text in vary)}.items()]


def options(*vary: str, out: Path, seeds: int = 1, jobs: int = 2) -> list[str]:
    pairs = [word for text in small(*vary) for word in ("--vary", text)]
    return ["sweep", "--out", str(out), "--seeds", str(seeds), "--jobs", str(jobs), *pairs]


StandIn = Callable[..., None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Lets what ``stand_in.py`` makes run in place of the real runs."""

    def use(deed: str = FINISHES) -> None:
        monkeypatch.setattr(sys, "executable", python(tmp_path, deed))

    return use


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("planner.horizon", "5", 5),
        ("discount", "0.9", 0.9),
        ("task", "Hopper-v5", "Hopper-v5"),
        ("planner.tail", "false", False),
        ("policy.hidden", "64x32", (64, 32)),
        ("policy.hidden", "64", (64,)),
        ("safety.checkpoint_every", "none", None),
        ("safety.checkpoint_every", "100", 100),
        ("planner.method", "trpo", "trpo"),
    ],
)
def test_values_are_read_by_the_type_of_their_setting(key: str, text: str, value: object):
    assert parse_value(key, text) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("planner.horizon", "KEY=VALUE"),
        ("planner.horizon=", "KEY=VALUE"),
        ("planner.horizn=5", "did you mean 'planner.horizon'"),
        ("planner.horizon=5.5", "'5.5' is no value of planner.horizon, which must be of type int"),
        ("planner.tail=maybe", "'maybe' is no value"),
        ("planner=5", "is a group of settings"),
        ("planner.horizon=5,5", "has a value twice"),
    ],
)
def test_what_cannot_be_varied(given: str, message: str):
    with pytest.raises(InputError, match=message):
        read_variations([given])


def test_a_key_given_twice():
    with pytest.raises(InputError, match="given twice"):
        read_variations(["planner.horizon=5", "planner.horizon=10"])


def test_the_grid_is_every_combination(tmp_path: Path):
    cells = grid(
        read_variations(["planner.horizon=5,10", "task=Hopper-v5,CartPole-v1", "interactions=500"]), 2, tmp_path
    )
    assert sorted(cell.name for cell in cells) == sorted(
        f"{task}/planner.horizon={horizon}/{seed}"
        for task in ("Hopper-v5", "CartPole-v1")
        for horizon in (5, 10)
        for seed in (0, 1)
    )
    for cell in cells:
        task, horizon, seed = cell.name.split("/")
        learner = cell.config.learner
        assert (cell.config.task, learner.seed, learner.interactions) == (task, int(seed), 500)
        assert learner.planner.horizon == int(horizon.removeprefix("planner.horizon="))
        assert cell.folder == tmp_path / cell.name
    # The defaults of each task are below what is varied.
    assert {cell.config.learner.trajectories for cell in cells if cell.config.task == "CartPole-v1"} == {1}
    assert {cell.config.learner.trajectories for cell in cells if cell.config.task == "Hopper-v5"} == {4}


def test_presets_name_the_settings(tmp_path: Path):
    cells = grid(read_variations(["preset=gail,mgail"]), 1, tmp_path)
    assert [cell.name for cell in cells] == ["Hopper-v5/gail/0", "Hopper-v5/mgail/0"]
    assert [cell.config.learner.model_free.method for cell in cells] == ["trpo", "mgail"]


def test_a_combination_that_cannot_work_is_refused_before_any_run(tmp_path: Path):
    with pytest.raises(InputError, match="steps_per_iteration must be at least 2"):
        grid(read_variations(["steps_per_iteration=1,500"]), 1, tmp_path)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="2 runs would be written to"):
        grid(read_variations(["demos=a/b.npz,a-b.npz"]), 1, tmp_path)


def test_what_would_fail_in_every_run_is_told_before_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(options("demos=nowhere.npz", out=tmp_path / "sweep")) == 2
    assert "no file, folder or Minari dataset 'nowhere.npz'" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
    (tmp_path / "file").touch()
    assert main(options(out=tmp_path / "file")) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_a_sweep_runs_once_and_is_skipped_then(tmp_path: Path, stand_in: StandIn, capfd: pytest.CaptureFixture[str]):
    stand_in()
    command = options("planner.horizon=2,3", out=tmp_path / "sweep")
    assert main(command) == 0
    assert "2 of 2 runs finished" in capfd.readouterr().out
    files = sorted(tmp_path.rglob("progress.csv"))
    assert [file.parent.parent.name for file in files] == ["planner.horizon=2", "planner.horizon=3"]
    before = [file.stat().st_mtime_ns for file in files]
    assert main(command) == 0
    assert "2 runs, 2 of them finished before" in capfd.readouterr().out
    assert [file.stat().st_mtime_ns for file in files] == before


def test_ablate_compares_the_phases_at_equal_interactions(
    tmp_path: Path, stand_in: StandIn, capfd: pytest.CaptureFixture[str]
):
    stand_in()
    out = tmp_path / "phases"
    command = ["ablate", *options(out=out)[1:]]
    assert main([*command, "--vary", "preset=bc"]) == 2
    assert (
        "ablate compares the presets dyna-ail, model-free, model-based" in capfd.readouterr().err and not out.exists()
    )
    assert main(command) == 0
    assert capfd.readouterr().out.endswith((out / "ablation.md").read_text())
    assert all((out / f"ablation.{kind}").stat().st_size > 1000 for kind in ("png", "pdf"))
    with (out / "ablation.csv").open(newline="") as file:
        ends = {row["setting"]: float(row["interactions"]) for row in csv.DictReader(file)}
    assert ends == {"dyna-ail": 600, "model-free": 600, "model-based": 600}
    assert all(f"| {preset} |" in (out / "ablation.md").read_text() for preset in ends)


def test_a_folder_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_run(tmp_path / "CartPole-v1" / "dyna-ail" / "0", [0.0, 1.0], seed=7, task="CartPole-v1")
    assert main(options(out=tmp_path)) == 2
    assert "holds a run of other settings" in capsys.readouterr().err


BROKEN = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Broken(CartPoleEnv):
    steps = 0
    def step(self, action):
        Broken.steps += 1
        if Broken.steps == 400:
            raise ConnectionError("the robot is gone")
        return super().step(action)

gymnasium.register("Broken-v0", Broken, max_episode_steps=500)
"""


def wait_for_an_iteration(folder: Path, sweep: subprocess.Popen[bytes]) -> None:
    while not any(file.read_bytes().count(b"\n") > 2 for file in folder.rglob("diagnostics.csv")):
        assert sweep.poll() is None
        time.sleep(0.05)


def signal_runs(signum: int, sweep: int) -> None:
    """Send it to the processes of the runs of a sweep."""
    subprocess.run(["pkill", f"-{signum}", "-f", "dyna_ail.runs.sweeps.cell", "-P", str(sweep)], check=True)


@pytest.mark.slow
def test_real_runs_save_themselves_are_taken_up_again_and_one_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], demos: Path
):
    """The first sweep is stopped as by a batch system, whose signal reaches the runs too."""
    out = tmp_path / "sweep"
    common = ["interactions=3000", f"demos={demos}"]
    sweep = subprocess.Popen([sys.executable, "-m", "dyna_ail", *options("task=CartPole-v1", *common, out=out)])
    wait_for_an_iteration(out, sweep)
    assert not list(out.rglob("checkpoint.pt"))
    signal_runs(signal.SIGTERM, sweep.pid)
    sweep.send_signal(signal.SIGTERM)
    assert sweep.wait(600) == 143
    assert capfd.readouterr().err.count("save themselves") == 1
    run = out / "CartPole-v1" / "dyna-ail" / "0"
    assert list(out.rglob("checkpoint.pt")) == [run / "checkpoint.pt"]

    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.syspath_prepend(tmp_path)
    (out / "broken-Broken-v0" / "dyna-ail" / "0").mkdir(parents=True)  # no run: killed before its first line
    command = options("task=broken:Broken-v0,CartPole-v1", *common, out=out, jobs=1)
    monkeypatch.setattr("sys.argv", ["dyna-ail", *command])
    assert main(command) == 1
    captured = capfd.readouterr()
    assert "1 of 2 runs finished" in captured.out and "finished: CartPole-v1/dyna-ail/0" in captured.out
    assert "the same command goes on with them" in captured.err
    assert "broken-Broken-v0/dyna-ail/0: failed. error: " in captured.err
    assert "ConnectionError: the robot is gone" in captured.err
    assert "Traceback" not in captured.err
    assert (run / "policy.zip").exists()
    versions = json.loads((run / "versions.json").read_text())
    (resumed,) = versions["resumed"]
    assert resumed["interactions"] >= 300
    assert shlex.split(resumed["command"]) == ["dyna-ail", *command], "how to make the run again"


def test_a_run_that_ends_early_without_an_error_is_not_finished(
    tmp_path: Path, stand_in: StandIn, capfd: pytest.CaptureFixture[str]
):
    """An environment may end the process."""
    stand_in("spend(300); os._exit(0)")
    assert main(options(out=tmp_path / "sweep", jobs=1)) == 1
    assert "dyna-ail/0: failed. exit code 0" in capfd.readouterr().err


def test_a_run_that_is_killed_is_named_and_taken_up_again(
    tmp_path: Path, stand_in: StandIn, capfd: pytest.CaptureFixture[str]
):
    stand_in(f"""
if not begun:
    os.kill(os.getpid(), signal.SIGKILL)
{FINISHES}
""")
    command = options(out=tmp_path / "sweep", jobs=1)
    assert main(command) == 1
    assert "dyna-ail/0: failed. killed by SIGKILL" in capfd.readouterr().err
    assert main(command) == 0


SAVES_ITSELF = f"""
if "IN_PEACE" in os.environ:
    checkpoint.unlink(missing_ok=True)
    {FINISHES}
    sys.exit()

def save(signum, frame):
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    time.sleep(0.5)
    checkpoint.touch()
    os._exit(128 + signum)

for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, save)
(folder / "begun").touch()
while True:
    signal.pause()
"""


@pytest.mark.parametrize(
    ("jobs", "signum", "code", "everyone"),
    [
        (1, signal.SIGINT, 130, False),
        (2, signal.SIGINT, 130, False),
        (2, signal.SIGTERM, 143, False),
        (2, signal.SIGTERM, 143, True),
    ],
)
def test_a_signal_waits_until_the_runs_have_saved_themselves(
    tmp_path: Path,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    jobs: int,
    signum: int,
    code: int,
    everyone: bool,
):
    """Also one that reaches the runs too, as a batch system's does; and those that wait do not begin."""
    stand_in(SAVES_ITSELF)
    command = options("planner.horizon=2,3", out=tmp_path / "sweep", jobs=jobs)

    def send() -> None:
        while len(list(tmp_path.rglob("begun"))) < jobs:
            time.sleep(0.05)
        if everyone:
            signal_runs(signum, os.getpid())
        os.kill(os.getpid(), signum)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    assert main(command) == code
    sender.join()
    assert capfd.readouterr().err.count("save themselves") == 1
    assert len(list(tmp_path.rglob("checkpoint.pt"))) == len(list(tmp_path.rglob("config.json"))) == jobs
    monkeypatch.setenv("IN_PEACE", "1")
    assert main(command) == 0
    assert not list(tmp_path.rglob("checkpoint.pt")), "all were taken up again"


def test_the_table_of_what_runs_and_waits(tmp_path: Path):
    cells = grid(read_variations(small("interactions=4000", "planner.horizon=2,3,4,5,6,7")), 1, tmp_path)
    names = [cell.name for cell in cells]
    make_run(cells[4].folder, [0.0, 10.0], task="CartPole-v1")  # by an earlier sweep, which was interrupted
    os.utime(cells[4].folder / "versions.json", (0, 0))
    found = {names[0]: Outcome(names[0], "finished")}
    overview = Overview(cells, found)
    overview.start -= 100  # seconds
    make_run(cells[2].folder, [0.0, 25.0], task="CartPole-v1")
    found[names[1]] = Outcome(names[1], "failed", "it broke")
    table, line = overview._table().renderables
    assert [list(column.cells) for column in table.columns] == [[names[2]], ["2,000/4,000"], ["25.0"], ["25%"]]
    # 6,000 interactions in 100 s, of 18,000 that were left then.
    assert str(line) == "1 finished, 1 failed, 1 running, 3 waiting, 0:03 h left"


def test_a_run_ends_when_its_sweep_is_gone(tmp_path: Path):
    order = grid(read_variations(small("interactions=100000")), 1, tmp_path)[0]
    process = subprocess.Popen([sys.executable, "-m", "dyna_ail.runs.sweeps.cell"], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"folder": str(order.folder), "config": to_dict(order.config)}) + "\n")
    process.stdin.flush()
    while not (order.folder / "progress.csv").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.stdin.close()
    assert process.wait(600) == 1
