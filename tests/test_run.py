"""A run's folder: what is in it, when it is written, and that evaluation leaves no trace in training."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from cartpole import TINY, Leaning, record
from interrupted import table
from sb3_contrib import TRPO

from dyna_ail.checks import check_demonstrations
from dyna_ail.config import RunConfig, make_run_config, to_dict, with_values
from dyna_ail.demos import Demonstrations
from dyna_ail.envs.tasks import Task
from dyna_ail.errors import InputError, NonFiniteError
from dyna_ail.records.reading import read
from dyna_ail.runs import load_policy, train
from dyna_ail.runs.evaluation import evaluate, evaluation_seed, make_environments, normalised_score
from dyna_ail.runs.sources import demonstration_source


@pytest.fixture(scope="module")
def config(demos: Path) -> RunConfig:
    return make_run_config("dyna-ail", TINY, demos=str(demos))


@pytest.fixture(scope="module")
def run(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_folder_holds_everything(run: Path, config: RunConfig, demos: Path):
    names = {"config.json", "versions.json", "progress.csv", "diagnostics.csv", "policy.zip", "learning_curve.png"}
    assert {path.name for path in run.iterdir()} == names
    assert json.loads((run / "config.json").read_text()) == json.loads(json.dumps(to_dict(config)))
    found = json.loads((run / "versions.json").read_text())
    assert found["versions"]["torch"] == torch.__version__
    assert found["threads"] == 1
    assert found["seed"] == 0
    assert found["references"] == {"random": 20.0, "expert": 500.0}
    assert found["demonstrations"]["source"]["path"] == str(demos)
    assert set(found) >= {"platform", "commit", "command"}
    assert read(run).config == config


def test_progress_has_a_row_per_evaluation(run: Path):
    table = rows(run / "progress.csv")
    assert [row["interactions"] for row in table] == ["0", "300", "600"]
    # 2 updates of 8 rollouts of 3 steps an iteration, of which those that end early stop counting at most.
    assert [int(row["imagined"]) for row in table] == [0, 48, 96]
    for row in table:
        assert float(row["score"]) == pytest.approx((float(row["return_mean"]) - 20) / 480)
    assert all(float(a["seconds"]) < float(b["seconds"]) for a, b in itertools.pairwise(table))


def test_diagnostics_has_a_row_of_the_cloned_start_and_one_per_iteration(run: Path):
    cloned, *table = rows(run / "diagnostics.csv")
    assert [row["interactions"] for row in (cloned, *table)] == ["0", "300", "600"]
    assert np.isfinite(float(cloned["cloning/loss"])) and not cloned["discriminator/loss"]
    assert np.isfinite(float(table[0]["discriminator/loss"])) and not table[0]["cloning/loss"]


@pytest.mark.parametrize("seen", [None, 2])
def test_policy_opens_with_sb3_and_acts_the_same(config: RunConfig, tmp_path: Path, seen: int | None):
    run = train(with_values(config, {"seen": seen}), tmp_path / "run", progress=False)
    ours, theirs = load_policy(run), TRPO.load(run / "policy.zip", device="cpu")
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        ours.predict(observations, deterministic=True)[0], theirs.predict(observations, deterministic=True)[0]
    )


def test_policy_on_disk_is_the_one_last_evaluated(run: Path, config: RunConfig):
    result = evaluate(load_policy(run), config.task, 2, evaluation_seed(0, 600))
    assert result.mean == float(rows(run / "progress.csv")[-1]["return_mean"])


def test_policy_that_is_no_policy_is_refused(run: Path, tmp_path: Path):
    shutil.copytree(run, tmp_path / "run")
    policy = tmp_path / "run" / "policy.zip"
    policy.write_bytes(policy.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        load_policy(tmp_path / "run")
    policy.unlink()
    with pytest.raises(InputError, match=r"has no policy\.zip: it was not kept with the run's tables. Train it"):
        load_policy(tmp_path / "run")
    (tmp_path / "run" / "progress.csv").unlink()
    with pytest.raises(InputError, match=r"has no policy\.zip: its run stopped before the first evaluation"):
        load_policy(tmp_path / "run")


def test_equal_seeds_give_equal_bits(run: Path, config: RunConfig, tmp_path: Path):
    # Other evaluations in between must not change what is learned, either.
    again = train(config, tmp_path / "again", progress=False)
    rarely = train(
        make_run_config("dyna-ail", TINY, {"evaluation.every": 600}, demos=config.demos), tmp_path / "rarely"
    )
    other = train(make_run_config("dyna-ail", TINY, demos=config.demos, seed=1), tmp_path / "other", progress=False)

    tables = [table(folder / "diagnostics.csv") for folder in (again, rarely, run)]
    assert tables[0] == tables[1] == tables[2] != table(other / "diagnostics.csv")
    weights = [load_policy(folder).state_dict() for folder in (run, again, rarely)]
    for name, weight in weights[0].items():
        assert all(torch.equal(weight, others[name]) for others in weights[1:]), name


def test_folder_of_its_own_by_default(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "now")
    small = make_run_config("bc", TINY, demos=None, **{"cloning.updates": 2})
    folders = [train(small, progress=False) for _ in range(2)]
    assert [str(folder) for folder in folders] == [
        "results/runs/CartPole-v1-bc-0-now",
        "results/runs/CartPole-v1-bc-0-now-2",
    ]
    assert [row["interactions"] for row in rows(folders[0] / "progress.csv")] == ["0"]
    source = json.loads((folders[0] / "versions.json").read_text())["demonstrations"]["source"]
    assert source["path"] == "bundled/cartpole-v1.npz" and len(source["sha256"]) == 64


def test_force_replaces_the_run_and_nothing_else(config: RunConfig, tmp_path: Path):
    (tmp_path / "progress.csv").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        train(config, tmp_path)
    assert (tmp_path / "progress.csv").read_text() == "old"
    bc = make_run_config("bc", TINY, demos=config.demos, **{"cloning.updates": 2})
    train(bc, tmp_path, force=True, progress=False)
    assert len(rows(tmp_path / "progress.csv")) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_task_without_a_time_limit_is_told(config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    gymnasium.register("NoLimit-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv")
    try:
        bc = make_run_config("bc", TINY, task="NoLimit-v0", demos=config.demos, **{"cloning.updates": 2})
        train(bc, tmp_path / "run", progress=False)
        found = check_demonstrations(Demonstrations.load(str(config.demos)), "NoLimit-v0")
    finally:
        del gymnasium.registry["NoLimit-v0"]
    told = "NoLimit-v0 has no time limit: an episode may never end. Register it with max_episode_steps."
    assert f"warning: {told}" in capsys.readouterr().err
    assert [finding.mend for finding in found if "no time limit" in finding.what] == [
        "Register it with max_episode_steps."
    ]


@pytest.mark.parametrize("random", [100.0, 500.0])
def test_references_that_make_no_score_are_told(config: RunConfig, tmp_path: Path, random: float, capsys):
    found = Demonstrations.load(str(config.demos))
    metadata = {**found.metadata, "expert_return": 100.0, "random_return": random}
    Demonstrations(found.trajectories, metadata).save(tmp_path / "demos.npz")
    train(with_values(config, {"demos": str(tmp_path / "demos.npz")}), tmp_path / "run")
    told = f"the demonstrator's return, 100.0, is not above that of random actions, {random:.1f}: there are no scores."
    assert told in capsys.readouterr().err
    assert np.isnan(read(tmp_path / "run").progress["score"]).all()


def test_task_without_demonstrations_says_what_to_give():
    with pytest.raises(InputError, match="no demonstrations are bundled for Pendulum-v1; give some with --demos"):
        demonstration_source(RunConfig(task="Pendulum-v1"), Task("Pendulum-v1"))


def test_reference_that_is_no_number_is_refused(config: RunConfig, tmp_path: Path):
    found = record()
    found.metadata["expert_return"] = "high"
    found.save(tmp_path / "demos.npz")
    with pytest.raises(InputError, match="expert_return must be a finite number; got 'high'"):
        train(dataclasses.replace(config, demos=str(tmp_path / "demos.npz")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_failed_run_keeps_its_last_policy_and_figure(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def learn(self: object, callback: object, before_step: object) -> None:
        callback(self)  # type: ignore[operator]
        raise NonFiniteError("the planner's loss became nan.")

    monkeypatch.setattr("dyna_ail.algorithm.DynaAIL.learn", learn)
    with pytest.raises(NonFiniteError):
        train(config, tmp_path / "run", progress=False)
    assert {"policy.zip", "progress.csv", "learning_curve.png"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_evaluation_equals_episodes_run_by_hand():
    result = evaluate(Leaning(), "CartPole-v1", episodes=3, seed=7)  # type: ignore[arg-type]
    env = gymnasium.make("CartPole-v1")
    expected = []
    for seed in (7, 8, 9):
        (obs, _), total, done = env.reset(seed=seed), 0.0, False
        while not done:
            obs, reward, terminated, truncated, _ = env.step(int(obs[2] > 0))
            total, done = total + float(reward), terminated or truncated
        expected.append(total)
    assert sorted(result.returns) == sorted(expected)
    assert result.mean == pytest.approx(np.mean(expected))
    assert result.std == pytest.approx(np.std(expected))
    assert sorted(result.lengths) == sorted(expected)  # CartPole pays 1 a step


def test_evaluation_has_no_memory_and_draws_nothing(run: Path):
    policy = load_policy(run)
    environments = make_environments("CartPole-v1", 3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = evaluate(policy, environments, 3, seed=1)
    evaluate(policy, environments, 3, seed=2)
    again = evaluate(policy, environments, 3, seed=1)
    np.testing.assert_array_equal(first.returns, again.returns)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_evaluation_takes_a_function_that_makes_the_environment():
    result = evaluate(Leaning(), lambda: gymnasium.make("CartPole-v1", max_episode_steps=5), 2, seed=0)  # type: ignore[arg-type]
    assert list(result.lengths) == [5, 5]


@pytest.mark.parametrize("wrap", [gymnasium.wrappers.TransformObservation, gymnasium.wrappers.TransformReward])
def test_simulation_that_blows_up_is_named(wrap: type):
    def make() -> gymnasium.Env:
        env = gymnasium.make("CartPole-v1")
        blow_up = lambda value: value * np.nan  # noqa: E731
        return wrap(env, blow_up, env.observation_space) if "Obs" in wrap.__name__ else wrap(env, blow_up)

    with pytest.raises(NonFiniteError, match="evaluation"):
        evaluate(Leaning(), make, 1, seed=0)  # type: ignore[arg-type]


def test_evaluation_seeds_differ_between_runs_and_moments():
    seeds = {evaluation_seed(seed, interactions) for seed in range(5) for interactions in range(0, 10_000, 1000)}
    assert len(seeds) == 50


def test_normalised_score():
    assert normalised_score(520.0, 20.0, 1020.0) == 0.5
    assert np.isnan(normalised_score(1.0, None, 2.0))
    assert np.isnan(normalised_score(1.0, 2.0, 2.0))


def test_tensorboard_missing_is_an_input_error(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        train(config, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
