"""The command line from end to end: a tiny real training, what can be done with it, and every bad input."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stable_baselines3
import torch
from cartpole import record, tiny_options

from dyna_ail.cli import COMMANDS, main
from dyna_ail.config import RunConfig
from dyna_ail.demos import Demonstrations, Trajectory
from dyna_ail.exits import guarded

BROKEN_ENVIRONMENT = '''
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Broken(CartPoleEnv):
    """CartPole whose sensors fail in the 350th step."""

    steps = 0

    def step(self, action):
        self.steps += 1
        obs, *rest = super().step(action)
        return (obs * float("nan") if self.steps >= 350 else obs, *rest)

gymnasium.register("Broken-v0", Broken, max_episode_steps=500)
'''


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dyna_ail", *map(str, arguments)]


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def run(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; training it is the first half of the test from end to end."""
    folder = tmp_path_factory.mktemp("runs")
    done = call("train", *tiny_options(), "--demos", demos, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["0/600", "300/600", "600/600"]
    assert re.match(r"300/600 interactions  return [\d.]+ = -?\d+% of expert  0:\d\d left 0:\d\d", lines[1])
    assert re.match(
        r"finished: return [\d.]+ \(-?\d+% of the expert\), 90% never reached; 600 interactions in", lines[3]
    )
    assert [line.split() for line in lines[4:]] == [
        ["folder", "run"],
        ["policy", "run/policy.zip"],
        ["figure", "run/learning_curve.png"],
    ]
    return folder / "run"


def test_evaluate(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(run), "--episodes", "3"]) == 0
    said = capsys.readouterr()
    assert not said.err
    assert re.fullmatch(r"return [\d.]+ ± [\d.]+ over 3 deterministic episodes, -?\d+% of the expert\n", said.out)


def test_evaluate_waits_as_long_as_the_run_did(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    impatient = shutil.copytree(run, tmp_path / "impatient")
    config = json.loads((impatient / "config.json").read_text())
    config["safety"]["step_timeout"] = 1e-6
    (impatient / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(impatient)]) == 1
    assert "did not answer within 1e-06 seconds" in capsys.readouterr().err


def test_plot(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(run)]) == 0
    assert capsys.readouterr().out.split() == [str(run / "learning_curve.png")]
    another = shutil.copytree(run, Path("another"))
    refused(capsys, ["plot", str(run), "another"], "another are runs of one setting and seed: leave one out")
    config = json.loads((another / "config.json").read_text())
    (another / "config.json").write_text(json.dumps({**config, "seed": 1}))
    assert main(["plot", str(run), "another"]) == 0
    assert capsys.readouterr().out.split() == [f"learning_curve.{kind}" for kind in ("png", "pdf", "csv")]
    Path("mine.csv").write_text("my,data\n")
    refused(capsys, ["plot", str(run), "another", "--out", "mine.png"], r"mine\.csv, .*, holds something else")
    assert main(["plot", str(run), "--out", "mine.png"]) == 0, "without numbers"
    assert Path("mine.csv").read_text() == "my,data\n"
    monkeypatch.chdir(another)
    refused(capsys, ["plot", str(run), "."], "that of the run in this folder")
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(run), "--out", "figures/one.png"]) == 0
    assert Path("figures/one.png").exists()
    assert main(["plot", str(run), "--out", "figures/one.pdf"]) == 0
    assert Path("figures/one.pdf").exists()
    for out in ("figures/one.svg", ".", "/"):
        refused(capsys, ["plot", str(run), "--out", out], rf"ends in \.png or \.pdf; got {re.escape(out)}")
    refused(capsys, ["plot", str(run), "--out", "figures"], "got figures")


def test_expert_and_demonstrations_are_made_inspected_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dyna_ail.envs.recording.REFERENCE_EPISODES", 10)
    assert main(["expert", "train", "--task", "CartPole-v1", "--timesteps", "600", "--no-progress"]) == 0
    made, after = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"return [\d.]+; expert in results/runs/expert-CartPole-v1", made)
    assert after.startswith("record it: dyna-ail ")
    assert main([*after.split()[3:], "--episodes", "2", "--out", "demos.npz"]) == 0
    recorded = capsys.readouterr().out
    assert main(["demos", "info", "demos.npz"]) == 0
    shown = capsys.readouterr().out
    assert shown in recorded
    assert re.search(r"trajectories +2, of \d+ to \d+ steps", shown)
    assert re.search(r"task +CartPole-v1", shown)
    assert re.search(r"expert_return +\d", shown)
    assert main(["train", *tiny_options(), "--demos", "demos.npz", "--out", "run", "--no-progress"]) == 0

    resumed = ["expert", "train", "--task", "CartPole-v1", "--timesteps", "1200", "--no-progress", "--resume"]
    assert main(resumed) == 0
    assert re.search(r"[\d,]+ steps, .* min: return", capsys.readouterr().out)

    before = snapshot(tmp_path)
    for again in (["expert", "train", "--task", "CartPole-v1", "--timesteps", "600"],
                  ["demos", "record", "--task", "CartPole-v1", "--out", "demos.npz"]):  # fmt: skip
        refused(capsys, again, "--force")
    assert snapshot(tmp_path) == before
    assert main(["demos", "record", "--task", "CartPole-v1", "--episodes", "1", "--out", "demos.npz", "--force"]) == 0
    assert len(Demonstrations.load("demos.npz").trajectories) == 1


def test_demonstrations_are_converted_and_checked(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """From our npz to Minari, thinned and back, and from an SB3 policy; what does not fit is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    task = ["--task", "CartPole-v1"]
    assert main(["demos", "convert", str(demos), "toys/pole-v0", *task]) == 0
    assert main(["demos", "convert", "toys/pole-v0", "back.npz", *task]) == 0
    assert main(["demos", "convert", "toys/pole-v0", "thin.npz", *task, "--thinned", "5"]) == 0
    ours, back, thin = (Demonstrations.load(path) for path in (demos, "back.npz", "thin.npz"))
    for one, other in zip(ours.trajectories, back.trajectories, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.action, other.action)
    assert thin.thinned == 5 and [t.length for t in thin.trajectories] == [12, 12]
    assert main(["demos", "info", "toys/pole-v0", *task]) == 0
    assert main(["train", *tiny_options(every=10), "--demos", "thin.npz", "--out", "run", "--no-progress"]) == 0
    stable_baselines3.PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save("ppo.zip")
    assert main(["demos", "convert", "ppo.zip", "ppo.npz", *task, "--episodes", "2", "--seed", "3"]) == 0
    assert len(Demonstrations.load("ppo.npz").trajectories) == 2
    capsys.readouterr()

    assert main(["demos", "check", "back.npz", *task]) == 0
    assert "0 errors" in capsys.readouterr().out
    assert main(["demos", "check", "back.npz", "--task", "Acrobot-v1"]) == 2
    assert "The trajectories have observations (4,)" in capsys.readouterr().out
    refused(
        capsys,
        ["demos", "convert", "back.npz", "other.npz", "--task", "Acrobot-v1"],
        r"shape \(4,\), the task has \(6,\)",
    )

    refused(capsys, ["demos", "convert", str(demos), "back.npz", *task], "--force")
    refused(capsys, ["demos", "convert", str(demos), "here.csv", *task], r"ends in \.npz, or a Minari id")
    refused(capsys, ["demos", "convert", "absent.npz", "new.npz", *task], "absent.npz")
    refused(capsys, ["demos", "convert", str(demos), "new.npz", *task, "--thinned", "0"], "cannot thin")
    refused(capsys, ["demos", "check", "absent/pole-v0", *task], "absent/pole-v0")
    refused(capsys, ["train", *tiny_options(every=7), "--demos", "thin.npz", "--out", "run7"], "a multiple of 5")


def test_table(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["table", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("| CartPole-v1 | dyna-ail | 1 | 600 | - | - |")
    refused(capsys, ["table", str(run.parent)], "not the folder of a run")


def test_non_finite_values_stop_the_run_and_name_the_part(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_environment.py").write_text(BROKEN_ENVIRONMENT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    options = tiny_options(task="broken_environment:Broken-v0", **{"evaluation.episodes": 1})
    assert main(["train", *options, "--demos", str(demos), "--out", "run", "--no-progress"]) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: .*(observation|state)", message)
    assert {"progress.csv", "policy.zip", "learning_curve.png"} <= {path.name for path in Path("run").iterdir()}


# Help


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["train", "--task", "Hopper-v5", "--preset", "gail", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]):
    """So that it answers at once."""
    script = (
        "import sys; from dyna_ail.cli import main; main(sys.argv[1:]); "
        "heavy = {'torch', 'gymnasium', 'matplotlib', 'scipy', 'stable_baselines3'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert not done.stderr and "usage: dyna-ail" in done.stdout


def plain(text: str) -> str:
    """Help without its frames."""
    return re.sub(r"[│╭╮╰╯─|+]|-{3,}", "", text)


def test_every_setting_is_an_option_with_an_explanation_and_a_default(capsys: pytest.CaptureFixture[str]):
    def names(part: object, prefix: str = "") -> list[str]:
        fields = [(field.name, getattr(part, field.name)) for field in dataclasses.fields(part)]  # type: ignore[arg-type]
        groups = {n: "" if n == "learner" else f"{prefix}{n}." for n, _ in fields}
        nested = [names(v, groups[n]) if dataclasses.is_dataclass(v) else [prefix + n] for n, v in fields]
        return list(itertools.chain(*nested))

    assert main(["train", "--help"]) == 0
    text = plain(capsys.readouterr().out)
    entries = {entry.split()[0].rstrip(","): " ".join(entry.split()) for entry in re.split(r"\n *(?=--)", text)[1:]}
    assert {f"--{name}" for name in names(RunConfig())} <= set(entries)
    for option, entry in entries.items():
        assert re.search(r"\w+ \w+ .*(\(default: |by default)", entry), f"{option} is not explained: {entry}"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([*name.split(), "--help"]) == 0
    assert f"usage: dyna-ail {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert name in capsys.readouterr().out


def test_help_shows_the_defaults_of_preset_and_task(capsys: pytest.CaptureFixture[str]):
    def shown(*arguments: str) -> str:
        assert main(["train", *arguments, "--help"]) == 0
        return " ".join(plain(capsys.readouterr().out).split())

    assert re.search(r"--planner.method \S+ (?:(?!--).)*\(default: mgail\)", shown())
    assert re.search(r"--planner.method \S+ (?:(?!--).)*\(default: none\)", shown("--preset=gail"))
    assert re.search(r"--interactions INT (?:(?!--).)*\(default: 0\)", shown("--preset", "bc"))
    assert re.search(r"--trajectories INT (?:(?!--).)*\(default: 1\)", shown("--task", "CartPole-v1"))


def test_options_override_preset_and_task(monkeypatch: pytest.MonkeyPatch):
    configs = []
    monkeypatch.setattr("dyna_ail.runs.train", lambda config, *_: configs.append(config))
    arguments = [
        "train",
        "--task",
        "CartPole-v1",
        "--preset",
        "gail",
        "--trajectories",
        "3",
        "--planner.batch-size",
        "7",
    ]
    assert main([*arguments, "--policy.hidden", "8", "8", "--seed", "4"]) == 0
    (config,) = configs
    learner = config.learner
    assert (config.task, config.preset, learner.seed, learner.trajectories) == ("CartPole-v1", "gail", 4, 3)
    assert (learner.planner.method, learner.planner.batch_size, learner.policy.hidden) == ("none", 7, (8, 8))


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"dyna-ail \d+\.\d+\.\d+\n", capsys.readouterr().out)


# Bad input: one message, exit code 2, no traceback, nothing written or lost


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Check that the command says ``message`` (a pattern), once, and exits with code 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    assert re.search(message, said.err), said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "Hoper-v5"], "unknown task 'Hoper-v5': did you mean 'Hopper-v5'"),
        (["--task", "no_such_module:Hopper-v5"], "no_such_module"),
        (["--preset", "gial"], "unknown preset 'gial': did you mean 'gail'"),
        (["--preset=mgial-x"], "unknown preset"),
        (["--demos", "missing.npz"], r"missing\.npz"),
        (["--trajectories", "3"], "3 .* have 2"),
        (["--trajectories", "0"], "--trajectories must be at least 1; got 0"),
        (["--planner.method", "foo"], "--planner.method must be one of mgail, trpo, none; got 'foo'"),
        (["--planner.horizon", "0"], "--planner.horizon must be at least 1; got 0"),
        (["--planner.horizon", "-2"], "--planner.horizon must be at least 1; got -2"),
        (["--interactions", "-1"], "--interactions must be at least 0; got -1"),
        (["--discount", "1.5"], "--discount must be at most 1; got 1.5"),
        (["--discount", "nan"], "--discount must be .*; got nan"),
        (["--seed", "-1"], "--seed must be at least 0; got -1"),
    ],
)
def test_bad_option(
    arguments: list[str],
    message: str,
    demos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["train", *tiny_options(), "--demos", str(demos), "--out", "run", *arguments], message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy.activation", "foo"], "invalid choice 'foo' --policy.activation relu tanh"),
        (["--planner.hozion", "3"], "Unrecognized --planner.hozion meant --planner.horizon"),
        (["--planner.horizon", "ten"], "--planner.horizon 'ten'"),
        (["--seed"], "Missing --seed"),
        (["--task"], "Missing --task"),
    ],
)
def test_option_that_cannot_be_parsed(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert "Traceback" not in said.err
    assert all(word in said.err for word in words.split())
    assert not list(tmp_path.iterdir())


def spoiled(change: Callable[[Trajectory], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    """A demonstration file written around the checks of :class:`Trajectory`."""

    def write(path: Path) -> None:
        found = record()
        for trajectory in found.trajectories:
            for name, value in change(trajectory).items():
                object.__setattr__(trajectory, name, value)
        found.save(path)

    return write


def truncated(path: Path) -> None:
    record().save(path)
    path.write_bytes(path.read_bytes()[:-400])


def box_actions(path: Path) -> None:
    """Pendulum's: 3 observations, one action in [-2, 2], of which one is 5."""
    obs, action = np.zeros((6, 3), np.float32), np.zeros((5, 1), np.float32)
    action[3] = 5.0
    Demonstrations((Trajectory(obs, action, np.zeros(5, np.float32), False),)).save(path)


@pytest.mark.parametrize(
    ("write", "task", "message"),
    [
        (truncated, "CartPole-v1", r"bad\.npz"),
        (lambda path: path.write_bytes(b""), "CartPole-v1", r"bad\.npz"),
        (lambda path: path.write_text("obs,action\n0,1\n"), "CartPole-v1", r"bad\.npz"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "CartPole-v1", r"bad\.npz"),
        (spoiled(lambda t: {"obs": t.obs * np.nan}), "CartPole-v1", "NaN"),
        (spoiled(lambda t: {"reward": t.reward[:-1]}), "CartPole-v1", "rewards"),
        (spoiled(lambda t: {"action": t.action + 5}), "CartPole-v1", "outside"),
        (box_actions, "Pendulum-v1", "outside"),
        (box_actions, "CartPole-v1", r"shape \(3,\).*\(4,\)"),
        (lambda path: record().save(path), "Acrobot-v1", r"shape \(4,\).*\(6,\)"),
        (lambda path: record().save(path), "Hopper-v5", r"shape \(4,\).*\(11,\)"),
        (lambda path: path.mkdir(), "CartPole-v1", r"bad\.npz"),
    ],
)
def test_bad_demonstrations(
    write: Callable[[Path], None],
    task: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    write(Path("bad.npz"))
    before = snapshot(tmp_path)
    refused(capsys, ["train", *tiny_options(task=task), "--demos", "bad.npz", "--out", "run"], message)
    assert snapshot(tmp_path) == before
    assert not Path("run").exists()


def test_task_without_demonstrations_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    refused(capsys, ["train", "--task", "Pendulum-v1", "--out", str(out)], "no demonstrations are bundled.*--demos")
    assert not out.exists()


def test_existing_run_is_kept(run: Path, demos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    before = snapshot(run)
    refused(capsys, ["train", *tiny_options(seed=1), "--demos", str(demos), "--out", str(run)], "exists.*--force")
    assert snapshot(run) == before


def test_unwritable_folder(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        for force in ([], ["--force"]):
            refused(capsys, ["train", *tiny_options(), "--demos", str(demos), "--out", str(out), *force], str(out))
    assert (tmp_path / "file").read_text() == "mine"
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if not os.access(locked, os.W_OK):  # root may write anywhere
        refused(capsys, ["train", *tiny_options(), "--demos", str(demos), "--out", str(locked / "run")], "cannot write")


def test_bad_run_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("evaluate", "plot"):
        refused(capsys, [name, str(tmp_path / "missing")], "missing is not a folder")
        refused(capsys, [name, str(tmp_path)], "is not the folder of a run")
    refused(capsys, ["plot"], "no run given")
    refused(capsys, ["evaluate", str(run), "--episodes", "0"], "--episodes must be at least 1; got 0")
    refused(capsys, ["evaluate", str(run), "--seed", "-1"], "--seed must be at least 0 and below .*; got -1")


def test_bad_expert_and_demonstration_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["demos", "info", "missing.npz"], r"missing\.npz")
    refused(capsys, ["demos", "record", "--task", "Pendulum-v1"], "no expert")
    refused(capsys, ["demos", "record", "--task", "CartPol-v1"], "did you mean 'CartPole-v1'")
    refused(capsys, ["demos", "record", "--task", "CartPole-v1", "--episodes", "0"], "at least 1; got 0")
    refused(capsys, ["expert", "train", "--task", "CartPole-v1", "--timesteps", "0"], "at least 1; got 0")
    refused(capsys, ["expert", "train", "--task", "CartPol-v1"], "did you mean 'CartPole-v1'")
    assert not list(tmp_path.iterdir())


def test_unknown_command(capsys: pytest.CaptureFixture[str]):
    refused(capsys, ["trian", "--seed", "3"], "unknown command 'trian': did you mean 'train'")
    refused(capsys, ["demos", "inof", "x"], "unknown command 'demos inof': did you mean 'demos info'")
    refused(capsys, ["expert"], "unknown command 'expert': did you mean 'expert train'")
    refused(capsys, ["--seed", "3"], "unknown command '--seed'")
    assert main([]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--task", "Hoper-v5"],
        ["train", "--preset", "gial"],
        ["train", "--planner.horizon", "0"],
        ["plot", "missing"],
    ],
)
def test_bad_input_alone(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    refused(capsys, arguments, r"\Aerror: .*\n\Z")
    assert not list(tmp_path.iterdir())


def test_bad_input_from_the_shell(tmp_path: Path):
    done = call("train", "--task", "Hoper-v5", cwd=tmp_path)
    assert done.returncode == 2
    assert not done.stdout
    assert re.fullmatch(r"error: .*\n", done.stderr)


@pytest.mark.parametrize("command", ["train", "plot"])
def test_what_the_system_refuses_is_one_message(command, run, demos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = "x" * 300  # no file system takes it as a name
    given = [*tiny_options(), "--demos", str(demos)] if command == "train" else [str(run)]
    refused(capsys, [command, *given, "--out", f"{long}.png"], "(cannot|name).*too long")


def test_what_ends_the_process_from_within_is_told(capsys: pytest.CaptureFixture[str]):
    assert guarded(lambda: sys.exit("the window was closed")) == 1
    assert capsys.readouterr().err == "error: the process was told to exit from within: the window was closed.\n"


def test_too_little_memory_is_told(capsys: pytest.CaptureFixture[str]):
    assert guarded(lambda: len(torch.zeros(10**15))) == 2
    assert re.match("error: out of memory: .*allocate .* Smaller networks, batches", capsys.readouterr().err)
    with pytest.raises(RuntimeError, match="size"):
        guarded(lambda: len(torch.zeros(2) + torch.zeros(3)))
