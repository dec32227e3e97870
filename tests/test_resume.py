"""A run that is interrupted and resumed, anywhere and as often as may be, ends as the one that never was: bit for bit.

And what is told where it cannot be so, or where there is nothing to resume.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from cartpole import TINY, record, tiny_options
from gymnasium.envs.classic_control import CartPoleEnv
from interrupted import Interrupter, Killed, files, go_on, outcome, snapshot, state, stopped_and_whole, table

from dyna_ail.cli import main
from dyna_ail.config import PRESETS, RunConfig, make_run_config, with_values
from dyna_ail.errors import Stopped
from dyna_ail.learning import rollout
from dyna_ail.records.folder import CHECKPOINT, PREVIOUS, VERSIONS, locked
from dyna_ail.records.rows import Rows
from dyna_ail.runs import resume, train

SMALL: dict[str, Any] = {
    **TINY,
    "interactions": 300,
    "steps_per_iteration": 100,
    "discriminator.batch_size": 8,
    "forward_model.batch_size": 8,
    "replay_capacity": 1000,
    "model_free.updates": 2,
    "model_free.batch_size": 8,
    "evaluation.every": 150,
    "evaluation.episodes": 1,
}
ODD: dict[str, Any] = {
    "forward_model.architecture": "gru",
    "forward_model.ensemble": 2,
    "discriminator.regularisation": "spectral-norm",
    "discriminator.expert_noise": 0.1,
    "replay_capacity": 130,
    "cloning.updates": 3,
    "seen": 3,
    "lost_after": 7,
}
"""Parts with a memory of their own, a buffer that wraps around, and episodes that are lost."""
FILES = {"config.json", "versions.json", "progress.csv", "diagnostics.csv", "policy.zip", "learning_curve.png"}


GENERATORS: dict[str, tuple[Callable[[int], Any], Callable[[Any], float]]] = {
    "np.random.Generator": (np.random.default_rng, lambda source: source.normal()),
    "np.random.RandomState": (np.random.RandomState, lambda source: source.normal()),
    "random.Random": (random.Random, lambda source: source.gauss(0, 1)),
    "torch.Generator": (
        lambda seed: torch.Generator().manual_seed(seed),
        lambda source: torch.randn(1, generator=source).item(),
    ),
    "in an object in a list": (
        lambda seed: [None, SimpleNamespace(noise=np.random.default_rng(seed))],
        lambda source: source[1].noise.normal(),
    ),
    "os.urandom": (lambda _: None, lambda _: int.from_bytes(os.urandom(4)) / 2**32),
}
"""Sources of random numbers: how each is made with a seed, and what draws from it."""
LEARNING = [preset for preset, values in PRESETS.items() if values.get("interactions") != 0]
CLONING = [preset for preset in PRESETS if preset not in LEARNING]
NEVER_FALLS = ("gail", "model-based")
"""Presets that are tried on HalfCheetah, whose episodes end at the time limit alone, and not on Hopper."""
CASES = [("CartPole-v1", preset, {}) for preset in LEARNING]
CASES += [("HalfCheetah-v5" if preset in NEVER_FALLS else "Hopper-v5", preset, {}) for preset in LEARNING]
CASES += [(task, "dyna-ail", ODD) for task in ("CartPole-v1", "Hopper-v5")]


def small(task: str = "CartPole-v1", preset: str = "dyna-ail", **values: Any) -> RunConfig:
    """A tiny run, with the bundled demonstrations where there are any."""
    interactions = PRESETS[preset].get("interactions", SMALL["interactions"])
    return make_run_config(preset, **{**SMALL, "interactions": interactions, "task": task, **values})


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """HalfCheetah never falls: its episodes end at the time limit alone, which is 1000 steps."""
    monkeypatch.setattr(gymnasium.spec("HalfCheetah-v5"), "max_episode_steps", 70)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the plainest run comes to."""
    with pytest.MonkeyPatch.context() as patch:
        return Interrupter(patch).run(small(), tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def interrupter(monkeypatch: pytest.MonkeyPatch) -> Interrupter:
    return Interrupter(monkeypatch)


# The same bits


@pytest.mark.parametrize(
    ("task", "preset", "values"), CASES, ids=[f"{task}-{'odd' if odd else preset}" for task, preset, odd in CASES]
)
def test_ends_bit_for_bit_as_if_never_interrupted(
    task: str,
    preset: str,
    values: dict[str, Any],
    interrupter: Interrupter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
):
    config = small(task, preset, **values)
    if values:
        monkeypatch.setattr(rollout, "SURE", 0.3)
    expected = interrupter.run(config, tmp_path / "whole")
    learned = state(interrupter.learner)
    ends = [at for at in interrupter.between_episodes if 0 < at < config.learner.interactions]
    assert len(ends) > 2 and (not values or learned["rollout"]["lost"] > 2), "the case tries less than it says"
    segment, last = config.learner.steps_per_iteration, config.learner.interactions - 1
    points = {0, segment // 2, segment, last, *ends[1:2]}
    if preset == "dyna-ail":  # the others have no more states that differ
        points |= {1, segment + 7, last - segment + 4, *ends[2:3]}

    assert interrupter.run_in_pieces(config, tmp_path / "pieces", stops=sorted(points)) == expected
    assert state(interrupter.learner) == learned
    assert not capsys.readouterr().err
    assert files(tmp_path / "pieces") == files(tmp_path / "whole") == FILES


def test_a_killed_run_makes_again_what_came_after_the_checkpoint(interrupter: Interrupter, tmp_path: Path):
    config = small("Hopper-v5", **ODD)
    expected = interrupter.run(config, tmp_path / "whole")
    learned = state(interrupter.learner)
    often = small("Hopper-v5", **ODD, **{"safety.checkpoint_every": 37})
    kills = (0, 36, 60, 111, 210, 260, 299)
    assert interrupter.run_in_pieces(often, tmp_path / "pieces", stops=(38, 250), kills=kills) == expected
    assert state(interrupter.learner) == learned
    assert files(tmp_path / "pieces") == FILES


@pytest.mark.parametrize("at", [0, 100, 107, 299])
def test_a_single_interruption_leaves_no_trace(
    at: int, interrupter: Interrupter, tmp_path: Path, whole: dict[str, Any]
):
    assert interrupter.run_in_pieces(small(), tmp_path / "pieces", stops=[at]) == whole


def test_a_checkpoint_before_every_step_leaves_no_trace(interrupter: Interrupter, tmp_path: Path):
    never = small(**ODD, interactions=90, steps_per_iteration=30)
    always = with_values(never, {"safety.checkpoint_every": 1})
    assert interrupter.run(always, tmp_path / "always") == interrupter.run(never, tmp_path / "never")


@pytest.mark.parametrize("task", ["Noisy-v0", "Foreign-v0"])
def test_the_same_bits_from_the_environment_own_generator(
    task: str, interrupter: Interrupter, tmp_path: Path, demos: Path, capsys
):
    """It is brought back, of Gymnasium's kind or another, also where every step draws from it."""
    config = small(task, demos=str(demos))
    expected = interrupter.run(config, tmp_path / "whole")
    stops = sorted({5, 120, *interrupter.between_episodes[1:4]})
    assert interrupter.run_in_pieces(config, tmp_path / "pieces", stops=stops) == expected
    assert not capsys.readouterr().err


def test_the_same_bits_from_the_generators_of_a_wrapper(
    interrupter: Interrupter, tmp_path: Path, demos: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """Of every kind at once. Interrupted between two episodes and within one."""
    config = small("Jittery-v0", demos=str(demos))
    monkeypatch.setattr(Jittery, "kinds", [kind for kind in GENERATORS if kind != "os.urandom"])
    expected = interrupter.run(config, tmp_path / "whole")
    learned = state(interrupter.learner)
    between = next(at for at in interrupter.between_episodes if at > 100)
    within = between + 3
    assert within not in interrupter.between_episodes
    assert interrupter.run_in_pieces(config, tmp_path / "pieces", stops=[between, within]) == expected
    assert state(interrupter.learner) == learned
    assert not capsys.readouterr().err


def test_the_same_bits_from_a_generator_that_no_reset_seeds(
    interrupter: Interrupter, tmp_path: Path, demos: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """Every process has another seed for it, as from the system; what goes on is the state, not the seed."""
    config = small("Unseeded-v0", demos=str(demos))
    expected = interrupter.run(config, tmp_path / "whole")
    learned = state(interrupter.learner)
    ends = [at for at in interrupter.between_episodes if 100 < at < 250]
    for seed, at in enumerate((0, ends[0], ends[0] + 3, ends[-1], 299)):
        interrupter.stop_at = at
        with pytest.raises(Stopped):
            go_on(config, tmp_path / "pieces")
        monkeypatch.setattr(Unseeded, "seed", seed)
    interrupter.stop_at = None
    go_on(config, tmp_path / "pieces")
    assert outcome(tmp_path / "pieces") == expected
    assert state(interrupter.learner) == learned
    assert not capsys.readouterr().err


@pytest.mark.parametrize("preset", CLONING)
def test_cloning_starts_over(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    config = small(preset=preset)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dyna_ail.algorithm.clone", killed)
        with pytest.raises(Killed):
            train(config, tmp_path / "killed", progress=False)
    resume(tmp_path / "killed", progress=False)
    assert "no checkpoint yet: starting over" in capsys.readouterr().out
    train(config, tmp_path / "whole", progress=False)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_demonstrations_may_have_gone(interrupter: Interrupter, tmp_path: Path):
    """The pairs are in the checkpoint, which does not depend on the file or on where the process runs."""
    demos = tmp_path / "demos.npz"
    record().save(demos)
    config = small(demos=str(demos))
    expected = interrupter.run(config, tmp_path / "whole")
    interrupter.stop_at = 130
    with pytest.raises(Stopped):
        train(config, tmp_path / "pieces", progress=False)
    demos.unlink()
    assert interrupter.run_in_pieces(config, tmp_path / "pieces", stops=[220]) == expected


# Environments with a will of their own


class Noisy(CartPoleEnv):
    """CartPole whose steps are pushed at random, from Gymnasium's generator."""

    def step(self, action: Any) -> Any:
        _, *rest = super().step(action)
        self.state = tuple(np.asarray(self.state) + 0.01 * self.np_random.normal(size=4))
        return (np.array(self.state, np.float32), *rest)


class Endless(CartPoleEnv):
    """CartPole that never ends."""

    def step(self, action: Any) -> Any:
        obs, reward, _, _, info = super().step(action)
        self.steps_beyond_terminated = None
        return obs, reward, False, False, info


class Restless(Endless):
    """It starts from where a generator of its own says, which nobody can bring back."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state = tuple(0.05 * np.random.default_rng().normal(size=4))
        return np.array(self.state, np.float32), {}


class Foreign(CartPoleEnv):
    """CartPole with a generator of another kind than Gymnasium's."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.np_random = np.random.Generator(np.random.MT19937(seed))
        return super().reset(options=options)


class Jittery(gymnasium.Wrapper):
    """CartPole whose sensors are noisy, from generators of the wrapper's own, one of each of the given kinds."""

    kinds, seed, inside = ("np.random.Generator",), 7, CartPoleEnv

    def __init__(self) -> None:
        super().__init__(self.inside())
        self.sources = self.make(self.seed)

    def make(self, seed: int) -> list[Any]:
        return [GENERATORS[kind][0](seed) for kind in self.kinds]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.sources = self.sources if seed is None else self.make(seed)
        obs, info = self.env.reset(seed=seed, options=options)
        return self.noisy(obs), info

    def step(self, action: Any) -> Any:
        obs, *rest = self.env.step(action)
        return (self.noisy(obs), *rest)

    def noisy(self, obs: np.ndarray) -> np.ndarray:
        noise = (GENERATORS[kind][1](source) for kind, source in zip(self.kinds, self.sources, strict=True))
        return obs + np.float32(0.01 * sum(noise))


class Unseeded(Jittery):
    """Only its maker seeds the generator."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        obs, info = self.env.reset(seed=seed, options=options)
        return self.noisy(obs), info


class Random(Jittery):
    """Its noise is the system's, which nobody can bring back."""

    kinds, inside = ("os.urandom",), Endless


for environment in (Noisy, Restless, Foreign, Jittery, Unseeded, Random):
    gymnasium.register(f"{environment.__name__}-v0", environment, max_episode_steps=500)

WARNING = (
    "warning: the environment could not be brought back to where it was: it begins a new episode, and the rest of the "
    "run differs from what it would have been.\n"
)


@pytest.mark.parametrize(
    ("task", "at"), [("Restless-v0", 105), ("Random-v0", 200)], ids=["within a segment", "between segments"]
)
def test_an_episode_that_cannot_be_repeated_is_cut(
    at: int, task: str, interrupter: Interrupter, tmp_path: Path, demos: Path, capsys
):
    config = small(task, demos=str(demos))
    interrupter.stop_at = at
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", progress=False)
    assert WARNING not in capsys.readouterr().err
    interrupter.stop_at = None
    resume(tmp_path / "run", progress=False)
    assert capsys.readouterr().err == WARNING
    replay = interrupter.learner.replay.data
    assert interrupter.learner.interactions == len(replay) == 300
    assert replay.truncated.nonzero().tolist() == [[at - 1]], "what follows is another episode"
    assert not (replay.next_obs[at - 1] == replay.obs[at]).all()
    assert (replay.next_obs[:-1] == replay.obs[1:]).all(-1).sum() == 298, "elsewhere they follow on"
    assert [row["interactions"] for row in table(tmp_path / "run" / "diagnostics.csv")] == ["0", "100", "200", "300"]


# What cannot be resumed, or only with a word of warning


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory, demos: Path) -> tuple[Path, dict[str, Any]]:
    """A run stopped by a signal, 130 interactions in; and what it would have come to."""
    folder, config = tmp_path_factory.mktemp("runs"), small(demos=str(demos))
    return stopped_and_whole(config, folder, 130)


@pytest.fixture
def stopped(stopped_once: tuple[Path, dict[str, Any]], tmp_path: Path, interrupter: Interrupter, capsys) -> Path:
    """A copy of the stopped run."""
    folder = shutil.copytree(stopped_once[0], tmp_path / "run")
    capsys.readouterr()
    return folder


def resumed(folder: Path, *options: str) -> int:
    """The exit code of the command."""
    return main(["train", "--resume", str(folder), "--no-progress", *options])


def refused(capsys: pytest.CaptureFixture[str], folder: Path, message: str, *options: str) -> None:
    """Check that the command says ``message`` (a pattern) and nothing else, exits with 2 and leaves all as it was."""
    before = snapshot(folder)
    assert resumed(folder, *options) == 2
    said = capsys.readouterr()
    assert not said.out
    assert re.fullmatch(f"error: .*{message}.*\n", said.err), said.err
    assert snapshot(folder) == before


@pytest.mark.parametrize("preset", ["dyna-ail", *CLONING])
@pytest.mark.parametrize(
    "lost", [(), ("learning_curve.png", "diagnostics.csv", "versions.json", "policy.zip")], ids=["", "lost"]
)
def test_a_finished_run_stays_as_it_is(
    preset: str, lost: tuple[str, ...], interrupter: Interrupter, tmp_path: Path, capsys
):
    """Also when it has lost what can be done without: it is not trained anew."""
    config = small(preset=preset)
    interrupter.run(config, tmp_path / "run")
    for name in lost:
        (tmp_path / "run" / name).unlink()
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert resumed(tmp_path / "run") == 0
    assert capsys.readouterr() == (f"{tmp_path / 'run'} is finished: {config.learner.interactions} interactions.\n", "")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("at", [0, 300])
def test_killed_between_the_policy_and_its_row(
    at: int, interrupter: Interrupter, tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys
):
    """A row means that its policy is there: a run whose last row is there needs nothing more."""

    def killed(rows: Rows, row: dict[str, Any], *_: object) -> None:
        if "return_mean" in row and row["interactions"] == at:
            raise Killed
        write(rows, row, {})

    write = Rows.write
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "write", killed)
        with pytest.raises(Killed):
            train(small(), tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "policy.zip").exists()
    assert resumed(tmp_path / "run", *["--force"] * (at > 0)) == 0
    assert "starting over" in capsys.readouterr().out
    assert outcome(tmp_path / "run") == whole


def test_a_stopped_run_may_be_overwritten(stopped: Path, interrupter: Interrupter, whole: dict[str, Any]):
    """And the new one, killed before its first checkpoint, does not go on from the old one's."""
    interrupter.kill_at = 10
    with pytest.raises(Killed):
        train(small(), stopped, force=True, progress=False)
    assert not {CHECKPOINT, PREVIOUS} & files(stopped)
    interrupter.kill_at = None
    resume(stopped, progress=False)
    assert outcome(stopped) == whole
    assert files(stopped) == FILES


@pytest.mark.parametrize("lost", ["nothing", "the newest checkpoint", "both checkpoints"])
def test_killed_at_the_very_end(
    lost: str, interrupter: Interrupter, tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """After the last evaluation and the figure; before, in the middle of or after cleaning up."""
    config = small(**{"safety.checkpoint_every": 50})
    left = {"nothing": [], "the newest checkpoint": [CHECKPOINT], "both checkpoints": [CHECKPOINT, PREVIOUS]}[lost]

    def killed(folder: Path) -> None:
        for name in left:
            (folder / name).unlink(missing_ok=True)
        if (folder / "progress.csv").exists():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("dyna_ail.records.folder.remove_checkpoints", killed)
        with pytest.raises(Killed):
            train(config, tmp_path / "run", progress=False)
    resume(tmp_path / "run", progress=False)
    assert outcome(tmp_path / "run") == whole
    assert files(tmp_path / "run") == FILES


@pytest.mark.parametrize("at", [130, 290])  # before and after an evaluation
def test_without_a_checkpoint_the_run_starts_over(
    at: int, interrupter: Interrupter, tmp_path: Path, demos: Path, capsys
):
    config = small(demos=str(demos))
    interrupter.kill_at = at
    with pytest.raises(Killed):
        train(config, tmp_path / "run", progress=False)
    interrupter.kill_at = None
    capsys.readouterr()
    if at > 200:
        refused(
            capsys, tmp_path / "run", r"no checkpoint .* would erase its \d+ interactions; .* --resume .*run --force"
        )
    assert resumed(tmp_path / "run", *["--force"] * (at > 200)) == 0
    assert "no checkpoint yet: starting over" in capsys.readouterr().out
    assert outcome(tmp_path / "run") == interrupter.run(config, tmp_path / "whole")


def test_starting_over_without_demonstrations_loses_nothing(interrupter: Interrupter, tmp_path: Path, capsys):
    record().save(tmp_path / "demos.npz")
    interrupter.kill_at = 130
    with pytest.raises(Killed):
        train(small(demos=str(tmp_path / "demos.npz")), tmp_path / "run", progress=False)
    (tmp_path / "demos.npz").unlink()
    before = snapshot(tmp_path / "run")
    assert resumed(tmp_path / "run") == 2
    assert re.search("error: .*demos.npz", capsys.readouterr().err)
    assert snapshot(tmp_path / "run") == before


def test_what_is_no_run_is_refused(tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    refused(capsys, tmp_path / "absent", "absent is not a folder")
    refused(capsys, tmp_path / "file", "file is not a folder")
    refused(capsys, tmp_path / "empty", "empty is not the folder of a run")


def test_a_run_in_progress_is_left_alone(stopped: Path, demos: Path, capsys):
    with locked(stopped):
        refused(capsys, stopped, "a run is in progress in .*: wait for it, or stop it")
        before = snapshot(stopped)
        assert main(["train", *tiny_options(), "--demos", str(demos), "--out", str(stopped), "--force"]) == 2
        assert "a run is in progress" in capsys.readouterr().err
        assert snapshot(stopped) == before
    assert resumed(stopped) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "3"],
        ["--interactions", "600"],
        ["--task", "Hopper-v5"],
        ["--planner.horizon", "4"],
        ["--safety.checkpoint_every", "9"],
        ["--out", "other"],
        ["--preset", "gail"],
    ],
    ids=" ".join,
)
def test_a_run_has_its_own_options(options: list[str], stopped: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(stopped.parent)
    refused(capsys, stopped, "resumed with its own configuration: besides --resume give only", *options)
    assert not Path("other").exists()


def test_other_versions_are_told(stopped: Path, capsys):
    told = json.loads((stopped / VERSIONS).read_text())
    ours = dict(told["versions"])
    told["versions"]["torch"], told["commit"], told["cpu"], told["threads"] = "1.0", "c0ffee", "ABACUS", 7
    (stopped / VERSIONS).write_text(json.dumps(told))
    assert resumed(stopped) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        f"warning: the run started with torch 1.0 and goes on with {ours['torch']}; the rest of the run may differ "
        "from what it would have been."
    )
    found = [re.findall("started with (\\w+ \\w+) and", line) for line in lines[1:]]
    assert found == [["commit c0ffee"], ["cpu ABACUS"], ["threads 7"]]
    after = json.loads((stopped / VERSIONS).read_text())
    assert [note["interactions"] for note in after["resumed"]] == [130]
    assert after["resumed"][0]["versions"] == ours, "the versions that the rest was made with are kept"
    assert after["versions"]["torch"] == "1.0", "and those of the start"


@pytest.mark.parametrize("end", ["7,7,7\n", "1,2", "\x00\xff" * 5000], ids=["row", "half a row", "noise"])
def test_tables_that_have_grown_are_cut(end: str, stopped: Path, stopped_once: tuple[Path, Any]):
    for name in ("progress.csv", "diagnostics.csv"):
        with (stopped / name).open("a", encoding="latin-1") as file:
            file.write(end)
    assert resumed(stopped) == 0
    assert outcome(stopped) == stopped_once[1]


@pytest.mark.parametrize(("name", "had"), [("progress.csv", 1), ("diagnostics.csv", 2)])
@pytest.mark.parametrize("left", [0, 1, "half"])
def test_tables_that_have_lost_rows_are_named(name: str, had: int, left: int | str, stopped: Path, capsys):
    text = (stopped / name).read_text()
    (stopped / name).write_text(text[:-5] if left == "half" else "".join(text.splitlines(keepends=True)[:left]))
    found = had - 1 if left == "half" else 0
    refused(capsys, stopped, f"{name} has {found} rows; it had {had} when the checkpoint was made")
