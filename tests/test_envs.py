"""Tasks and experts: the registry, and recorded trajectories that the real environment repeats."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from dyna_ail.config import make_config, make_run_config
from dyna_ail.demos import Demonstrations
from dyna_ail.envs import experts, recording
from dyna_ail.envs.experts import train_expert
from dyna_ail.envs.recording import random_return, read_expert, record_demonstrations, record_episodes
from dyna_ail.envs.tasks import BUNDLED, TASKS, get_task, make_env, versions
from dyna_ail.errors import InputError


def test_the_eight_tasks() -> None:
    assert list(TASKS) == [
        "CartPole-v1",
        "MountainCar-v0",
        "Acrobot-v1",
        "Hopper-v5",
        "Walker2d-v5",
        "HalfCheetah-v5",
        "Ant-v5",
        "Humanoid-v5",
    ]
    for id, task in TASKS.items():
        assert id == task.id and get_task(id) is task
        assert gymnasium.spec(id).id == id
        assert task.random is not None
        assert (task.expert is None) == (task.demos is None)
        # The defaults are settings that exist, those of a run and those of its learner.
        run = make_run_config("dyna-ail", task.run_defaults, task=id)
        assert run.learner == make_config("dyna-ail", task.defaults)


def test_other_ids() -> None:
    task = get_task("Pendulum-v1")
    assert (task.id, task.random, task.expert, task.demos, task.defaults) == ("Pendulum-v1", None, None, None, {})
    env = make_env("Pendulum-v1")
    assert env.observation_space.shape == (3,)
    env.close()


def test_module_is_imported_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_own_task.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('UsersOwn-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=7)\n"
    )
    (tmp_path / "users_broken_task.py").write_text("1 / 0\n")
    (tmp_path / "users_exiting_task.py").write_text("import sys\nsys.exit('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    env = make_env("users_own_task:UsersOwn-v0")
    assert env.spec is not None and env.spec.max_episode_steps == 7
    env.close()
    with pytest.raises(InputError, match="cannot import module 'users_broken_task'.*division by zero"):
        get_task("users_broken_task:UsersOwn-v0")
    with pytest.raises(InputError, match="cannot import module 'users_exiting_task'.*SystemExit: no licence"):
        get_task("users_exiting_task:UsersOwn-v0")
    with pytest.raises(InputError, match="cannot import module 'CartPole-v1'"):
        get_task("CartPole-v1:")
    with pytest.raises(InputError, match="cannot import module 'no_such_module'"):
        get_task("no_such_module:UsersOwn-v0")
    with pytest.raises(
        InputError, match="unknown task 'users_own_task:UserOwn-v0': did you mean 'users_own_task:UsersOwn-v0'"
    ):
        get_task("users_own_task:UserOwn-v0")
    with pytest.raises(InputError, match="unknown task 'users_own_task:Nope-v0': the module .* registers no such id"):
        get_task("users_own_task:Nope-v0")


@pytest.mark.parametrize(
    ("id", "nearest"),
    [("Hoper-v5", "Hopper-v5"), ("hopper-v5", "Hopper-v5"), ("Hopper", "Hopper-v5"), ("Pendulm-v1", "Pendulum-v1")],
)
def test_unknown_task_suggests_the_nearest(id: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"unknown task '{id}': did you mean '{nearest}'"):
        get_task(id)


@pytest.mark.parametrize("id", ["", ":", "nothing like it", "Hopper-v99", "a/b/c"])
def test_unknown_task(id: str) -> None:
    with pytest.raises(InputError, match="unknown task"):
        make_env(id)


def test_registry_imports_no_torch() -> None:
    code = "import sys, dyna_ail.envs.tasks; sys.exit(bool({'torch', 'gymnasium'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("id", ["Ant-v5", "Humanoid-v5"])
def test_contact_forces_are_what_is_hidden(id: str) -> None:
    env = make_env(id)
    (width,), forces = env.observation_space.shape, env.unwrapped.observation_structure["cfrc_ext"]  # type: ignore[misc]
    assert TASKS[id].defaults["seen"] == width - forces
    body, before = env.unwrapped, env.unwrapped._get_obs()  # type: ignore[attr-defined]
    body.data.cfrc_ext[:] += 0.5
    np.testing.assert_array_equal(np.flatnonzero(body._get_obs() != before), np.arange(width - forces, width))
    env.close()


@pytest.mark.parametrize("id", [task.id for task in TASKS.values() if task.demos is not None])
def test_real_environment_repeats_a_bundled_trajectory(id: str) -> None:
    demos = Demonstrations.load(TASKS[id].demos or "")
    if demos.thinned > 1:
        pytest.skip("thinned trajectories cannot be stepped through")
    recorded_with = demos.metadata["versions"]
    if any(recorded_with[name] != versions()[name] for name in ("gymnasium", "mujoco")):
        pytest.skip(f"recorded with {recorded_with}")
    trajectory = demos.trajectories[-1]
    env = make_env(id)
    demos.check(env.observation_space, env.action_space)
    obs, _ = env.reset(seed=demos.metadata["reset_seeds"][-1])
    seen, rewards = [obs], []
    for action in trajectory.action:
        obs, reward, terminated, truncated, _ = env.step(action)
        seen.append(obs)
        rewards.append(reward)
    env.close()
    half = trajectory.length // 2
    np.testing.assert_allclose(np.asarray(seen)[:half], trajectory.obs[:half], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(rewards[:half], trajectory.reward[:half], rtol=1e-5, atol=1e-6)
    # another machine's last bits grow: 1e-15 m at the start of a Hopper trajectory are 1e-5 at its end
    np.testing.assert_allclose(np.asarray(seen), trajectory.obs, rtol=1e-3, atol=1e-3)
    assert terminated == trajectory.terminated
    assert terminated or truncated


def test_mujoco_speaks_as_python_does() -> None:
    code = (
        "from dyna_ail.envs.tasks import make_env; env = make_env('HalfCheetah-v5'); env.reset(seed=0); print('made')\n"
        "env.unwrapped.data.qpos[:] = float('inf'); env.step(env.action_space.sample())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "made\n"  # and nothing about a deprecated attribute of the model
    assert "RuntimeWarning: Nan, Inf or huge value" in done.stderr and "settotalmass" not in done.stderr


def test_random_return_is_seeded() -> None:
    assert random_return("CartPole-v1", episodes=5, seed=1) == random_return("CartPole-v1", episodes=5, seed=1)
    assert random_return("MountainCar-v0", episodes=2) == (-200.0, 0.0)


def test_random_reference_of_cartpole() -> None:
    assert random_return("CartPole-v1")[0] == TASKS["CartPole-v1"].random


def test_train_and_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training improves on random, equal seeds record equal files, and provenance is complete."""
    monkeypatch.setattr(recording, "REFERENCE_EPISODES", 10)
    expert = train_expert("CartPole-v1", tmp_path / "expert", timesteps=2048, seed=0, progress=False)
    assert expert == json.loads((tmp_path / "expert" / "expert.json").read_text())
    assert expert["evaluation_return"] > 40 > (TASKS["CartPole-v1"].random or np.inf)
    recorded = [
        record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / name, episodes=3, seed=5)
        for name in ("a.npz", "b.npz")
    ]
    loaded = Demonstrations.load(tmp_path / "a.npz")
    assert loaded.metadata == recorded[0].metadata
    assert loaded.metadata["expert"]["steps"] == 2048
    assert len(loaded.trajectories) == 3 and loaded.metadata["expert_episodes"] == 10
    assert loaded.metadata["expert"]["command"] == (
        f"dyna-ail expert train --task CartPole-v1 --timesteps 2048 --seed 0 --out {tmp_path / 'expert'}"
    )
    assert loaded.metadata["command"] == (
        f"dyna-ail demos record --task CartPole-v1 --expert {tmp_path / 'expert'} --episodes 3 --thinned 1 --seed 5 "
        f"--out {tmp_path}/a.npz"
    )
    for ours, theirs in zip(recorded[0].trajectories, recorded[1].trajectories, strict=True):
        np.testing.assert_array_equal(ours.obs, theirs.obs)
        np.testing.assert_array_equal(ours.action, theirs.action)

    with pytest.raises(InputError, match="was trained on CartPole-v1, not on Acrobot-v1"):
        record_demonstrations("Acrobot-v1", tmp_path / "expert", tmp_path / "c.npz")
    with pytest.raises(InputError, match="no expert in .*make one with `dyna-ail expert train`"):
        record_demonstrations("CartPole-v1", tmp_path / "absent", tmp_path / "c.npz")
    with pytest.raises(InputError, match="--episodes must be at least 1; got 0"):
        record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / "c.npz", episodes=0)
    with pytest.raises(InputError, match="--thinned must be at least 1; got 0"):
        record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / "c.npz", thinned=0)
    with monkeypatch.context() as patch:
        patch.setattr(recording, "record_episodes", None)  # refused before any is played
        with pytest.raises(InputError, match="cannot write demonstrations to .*: Is a directory"):
            record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path)
    about = {key: value for key, value in expert.items() if key != "best_at"}
    (tmp_path / "expert" / "expert.json").write_text(json.dumps(about))
    record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / "d.npz", episodes=1)
    (tmp_path / "expert" / "policy.pth").write_bytes(b"PK no more")
    with pytest.raises(InputError, match="cannot be read"):
        record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / "c.npz")
    (tmp_path / "expert" / "policy.pth").unlink()
    with pytest.raises(InputError, match="no expert in .*policy.* is missing"):
        record_demonstrations("CartPole-v1", tmp_path / "expert", tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


@pytest.mark.parametrize("task", ["Hopper-v5", "Pendulum-v1"])
def test_training_goes_on(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRPO with its running statistics and TQC with its replay buffer: both keep what they had."""
    small = {"learning_starts": 100, "buffer_size": 2000, "policy_kwargs": {"net_arch": [8]}, "batch_size": 8}
    small |= {"train_freq": 8}
    settings = experts.TRPO if task == "Hopper-v5" else {**experts.TQC, **small}
    kind = experts._trpo if task == "Hopper-v5" else experts._tqc
    recipe = dataclasses.replace(kind(4096), settings=settings, evaluate_every=2048)
    monkeypatch.setitem(experts.RECIPES, task, recipe)
    monkeypatch.setattr(experts, "EVALUATION_EPISODES", 2)
    out = tmp_path / "expert"
    train_expert(task, out, timesteps=2048, progress=False)
    first = json.loads((out / "last.json").read_text())
    best = (out / "policy.pth").read_bytes()
    (out / "last.json").write_text(json.dumps({**first, "best": -2e9}))  # killed once the expert was written
    monkeypatch.setattr(experts, "evaluate_policy", lambda *_: (-1e9, 0.0))  # nothing beats the best so far
    train_expert(task, out, resume=True, progress=False)
    last = json.loads((out / "last.json").read_text())
    assert (first["steps"], last["steps"]) == (2048, 4096)
    assert last["best"] == first["best"] > -1e9 and (out / "policy.pth").read_bytes() == best
    assert last["seconds"] > first["seconds"] and (first["resumed_at"], last["resumed_at"]) == ([], [2048])
    if task == "Hopper-v5":
        assert last["normaliser"]["obs"]["count"] == pytest.approx(first["normaliser"]["obs"]["count"] + 2050, abs=5)
    else:
        with np.load(out / "replay.npz") as replay:
            assert replay["observations"].shape == (500, 4, 3)  # 2,000, all filled, in 4 environments
    with pytest.raises(InputError, match="holds a training of .* with seed 0, not of .* with 1"):
        train_expert(task, out, seed=1, resume=True)
    (out / "last.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="cannot be resumed"):
        train_expert(task, out, timesteps=9999, resume=True)
    (out / "last.json").write_text("{")
    with pytest.raises(InputError, match="last.json is damaged"):
        train_expert(task, out, resume=True)
    with pytest.raises(InputError, match="no training to resume"):
        train_expert(task, tmp_path / "absent", resume=True)


def test_a_training_that_was_to_be_overwritten_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experts, "evaluate_policy", lambda *_: (1.0, 0.0))
    train_expert("CartPole-v1", tmp_path, timesteps=1024, progress=False)
    assert (tmp_path / "last.json").exists()
    monkeypatch.setattr(experts, "evaluate_policy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_expert("CartPole-v1", tmp_path, timesteps=1024, progress=False)
    with pytest.raises(InputError, match="no training to resume"):
        train_expert("CartPole-v1", tmp_path, timesteps=1024, resume=True, progress=False)


@pytest.mark.parametrize("task", [task.id for task in TASKS.values() if task.demos is not None])
def test_a_bundled_expert_repeats_the_bundled_demonstrations(task: str) -> None:
    demos = Demonstrations.load(TASKS[task].demos or "")
    if any(demos.metadata["versions"][name] != versions()[name] for name in ("gymnasium", "mujoco", "torch")):
        pytest.skip(f"recorded with {demos.metadata['versions']}")
    about, policy = read_expert(task, BUNDLED / task)
    assert demos.metadata["expert"]["best_at"] == about["best_at"]
    (trajectory,), (reset_seed,) = record_episodes(task, policy, 1, demos.metadata["seed"])
    assert reset_seed == demos.metadata["reset_seeds"][0]
    # The first 20 steps: later, another processor's last bits have grown, and an expert may fall where it had not.
    recorded, every = demos.trajectories[0], demos.thinned
    first = int(np.abs(trajectory.obs[:every] - recorded.obs[0]).max(1).argmin())
    for again, before in ((trajectory.obs, recorded.obs), (trajectory.action, recorded.action)):
        kept = again[first:20:every]
        np.testing.assert_allclose(kept, before[: len(kept)], rtol=1e-3, atol=1e-3)


def test_train_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--timesteps must be at least 1; got 0"):
        train_expert("CartPole-v1", tmp_path, timesteps=0)
    with pytest.raises(InputError, match="unknown task"):
        train_expert("CartPol-v1", tmp_path, timesteps=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the expert's folder"):
        train_expert("CartPole-v1", tmp_path / "file" / "expert", timesteps=1)
