"""Demonstration files: round trip, selection by hand, and one clear error for every kind of bad file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from dyna_ail.demos import Demonstrations, ExpertPairs, Trajectory
from dyna_ail.envs.tasks import TASKS
from dyna_ail.errors import InputError

OBS_SPACE = Box(-np.inf, np.inf, (2,))
BOX = Box(-1.0, 1.0, (1,))


def trajectory(index: int, length: int = 5, discrete: bool = False) -> Trajectory:
    """Observations [100 * index + t, -t]; actions 0.01 * (10 * index + t), or t modulo 3."""
    t = np.arange(length + 1, dtype=np.float32)
    box = (0.01 * (10 * index + t[:-1, None])).astype(np.float32)
    return Trajectory(
        obs=np.stack([100 * index + t, -t], axis=1),
        action=t[:-1].astype(np.int64) % 3 if discrete else box,
        reward=t[:-1] + index,
        terminated=index % 2 == 1,
    )


def demonstrations(discrete: bool = False) -> Demonstrations:
    return Demonstrations(
        tuple(trajectory(index, length, discrete) for index, length in enumerate((5, 3, 7))), {"task": "Toy-v0"}
    )


@pytest.mark.parametrize("discrete", [False, True])
def test_round_trip(tmp_path: Path, discrete: bool) -> None:
    saved = demonstrations(discrete)
    saved.save(tmp_path / "new folder" / "toy.npz")
    loaded = Demonstrations.load(tmp_path / "new folder" / "toy.npz")
    assert loaded.metadata == saved.metadata
    assert [t.length for t in loaded.trajectories] == [5, 3, 7]
    assert [t.return_ for t in loaded.trajectories] == [10.0, 6.0, 35.0]
    for ours, theirs in zip(saved.trajectories, loaded.trajectories, strict=True):
        assert ours.terminated == theirs.terminated
        for name in ("obs", "action", "reward"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), strict=True)
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["toy.npz"]  # nothing left behind


def test_saving_twice_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        demonstrations().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


class Dice:
    """A generator that gives known draws and keeps what was asked."""

    def __init__(self, chosen: list[int], offsets: list[int]) -> None:
        self.chosen, self.offsets, self.bounds = chosen, offsets, []

    def choice(self, count: int, size: int, replace: bool) -> list[int]:
        assert (count, size, replace) == (3, len(self.chosen), False)
        return self.chosen

    def integers(self, bound: int) -> int:
        self.bounds.append(bound)
        return self.offsets.pop(0)


def test_select_by_hand() -> None:
    """Trajectory 2 (7 steps) from 1 by 4: steps 1, 5. Trajectory 1 (3 steps) from 2 by 4: step 2."""
    dice: Any = Dice(chosen=[2, 1], offsets=[1, 2])
    pairs = demonstrations().select(2, 4, BOX, dice)
    np.testing.assert_array_equal(pairs.obs, np.array([[201, -1], [205, -5], [102, -2]], dtype=np.float32))
    np.testing.assert_allclose(pairs.action, [[0.21], [0.25], [0.12]], rtol=1e-6)
    assert dice.bounds == [4, 3]  # the offset of a trajectory shorter than `every` stays inside it


def test_select_keeps_every_pair_but_no_final_observation() -> None:
    pairs = demonstrations(discrete=True).select(3, 1, Discrete(3), np.random.default_rng(0))
    assert pairs.obs.shape == (15, 2)
    assert pairs.action.shape == (15, 3)
    assert not {(5.0, -5.0), (103.0, -3.0), (207.0, -7.0)} & {tuple(row) for row in pairs.obs.tolist()}
    np.testing.assert_array_equal(pairs.action.argmax(axis=1), (-pairs.obs[:, 1]) % 3)  # one-hot of t modulo 3


def test_equal_seeds_equal_draws() -> None:
    def draw(seed: int) -> list[list[float]]:
        rows: list[list[float]] = demonstrations().select(2, 2, BOX, np.random.default_rng(seed)).obs.tolist()
        return rows

    assert draw(3) == draw(3)
    assert len({str(draw(seed)) for seed in range(20)}) > 5


@pytest.mark.parametrize(
    ("trajectories", "every", "message"),
    [(4, 1, "--trajectories 4 .* Toy-v0 have 3"), (0, 1, "at least 1; got 0 and 1"), (1, 0, "got 1 and 0")],
)
def test_select_refuses(trajectories: int, every: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        demonstrations().select(trajectories, every, BOX, np.random.default_rng(0))


def test_check() -> None:
    demonstrations().check(OBS_SPACE, BOX)
    demonstrations(discrete=True).check(OBS_SPACE, Discrete(3))
    with pytest.raises(InputError, match=r"Toy-v0 have observations of shape \(2,\), the task has \(3,\)"):
        demonstrations().check(Box(-1, 1, (3,)), BOX)
    with pytest.raises(InputError, match=r"have actions of shape \(1,\), the task has actions of shape \(2,\)"):
        demonstrations().check(OBS_SPACE, Box(-1, 1, (2,)))
    with pytest.raises(InputError, match=r"have actions of shape \(1,\), the task has discrete actions"):
        demonstrations().check(OBS_SPACE, Discrete(3))
    with pytest.raises(InputError, match="have discrete actions, the task has actions of shape"):
        demonstrations(discrete=True).check(OBS_SPACE, BOX)
    with pytest.raises(InputError, match="outside the task's bounds .* at step 2 of trajectory 0"):
        demonstrations(discrete=True).check(OBS_SPACE, Discrete(2))
    with pytest.raises(InputError, match=r"outside the task's bounds \[-0.125, 0.125\].* at step 3 of trajectory 1"):
        Demonstrations((trajectory(0), trajectory(1))).check(OBS_SPACE, Box(-0.125, 0.125, (1,)))


def change(**arrays: Any) -> dict[str, Any]:
    """The arrays of a sound file of 2 + 3 steps, with some replaced."""
    sound = {
        "obs": np.zeros((7, 2), dtype=np.float32),
        "action": np.zeros((5, 1), dtype=np.float32),
        "reward": np.zeros(5, dtype=np.float32),
        "lengths": np.array([2, 3], dtype=np.int64),
        "terminated": np.array([True, False]),
        "metadata": np.asarray(json.dumps({"task": "Toy-v0"})),
    }
    return {name: array for name, array in (sound | arrays).items() if array is not None}


def with_nan(shape: tuple[int, ...]) -> np.ndarray:
    array = np.zeros(shape, dtype=np.float32)
    array[4] = np.nan
    return array


def told(metadata: str) -> dict[str, Any]:
    return change(metadata=np.asarray(metadata))


MALFORMED = {
    "missing keys": (change(reward=None, lengths=None), "missing from it: reward, lengths"),
    "pickled objects": (change(obs=np.array([{}], dtype=object)), "allow_pickle=False"),
    "too few observations": (change(obs=np.zeros((6, 2), np.float32)), "need 7 observations.*got 6, 5 and 5"),
    "too many rewards": (change(reward=np.zeros(6, np.float32)), "5 rewards; got 7, 5 and 6"),
    "ragged lengths": (change(lengths=np.array([2, 4])), "6 steps together need 8 observations"),
    "empty trajectory": (change(lengths=np.array([5, 0])), "each length at least 1"),
    "no trajectory": (change(lengths=np.zeros(0, np.int64), terminated=np.zeros(0, bool)), "one entry per trajectory"),
    "terminated too short": (change(terminated=np.array([True])), "1 entries of terminated"),
    "NaN observation": (change(obs=with_nan((7, 2))), "trajectory 1: obs must be finite; got NaN or infinity at row 1"),
    "NaN action": (change(action=with_nan((5, 1))), "trajectory 1: action must be finite.*row 2"),
    "NaN reward": (change(reward=with_nan((5,))), "trajectory 1: reward must be finite.*row 2"),
    "text observations": (change(obs=np.full((7, 2), "a")), "obs must be float32 with 2 axes; got str32"),
    "too large for float32": (change(obs=np.full((7, 2), 1e39)), "obs must be finite; got NaN or infinity at row 0"),
    "flat observations": (change(obs=np.zeros(7, np.float32)), r"obs must be float32 with 2 axes.*shape \(2|3,\)"),
    "scalar rewards": (change(reward=np.float32(0)), "reward must hold one row per step"),
    "integer rows of actions": (
        change(action=np.zeros((5, 3), np.int64)),
        r"action must be float32 \[T, act_dim\] for Box or int64 \[T\] for Discrete; got int64 of shape \(2, 3\)",
    ),
    "text actions": (change(action=np.array(["a"] * 5)), "action must be float32 .* or int64 .*; got str32"),
    "int terminated": (change(terminated=np.array([1, 0])), "terminated must be bool"),
    "float lengths": (change(lengths=np.array([2.0, 3.0])), "lengths must be int64"),
    "metadata not JSON": (change(metadata=np.asarray("{task")), "metadata must be a JSON text"),
    "metadata too deep": (change(metadata=np.asarray("[" * 9000 + "]" * 9000)), "metadata must be a JSON text"),
    "expert in words": (told('{"expert_return": "good"}'), "expert_return must be a finite number; got 'good'"),
    "endless expert": (told('{"expert_return": Infinity}'), "expert_return must be a finite number; got inf"),
    "huge random": (told('{"random_return": 1%s}' % ("0" * 400)), "random_return must be a finite number; got 1000"),
    "returns in words": (told('{"returns": ["a", {}]}'), "returns must be finite numbers"),
    "metadata not an object": (change(metadata=np.asarray("[1]")), "JSON text that holds an object"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_arrays(tmp_path: Path, case: str) -> None:
    arrays, message = MALFORMED[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        Demonstrations.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_sound_arrays_load(tmp_path: Path) -> None:
    np.savez(tmp_path / "sound.npz", **change())
    assert [t.length for t in Demonstrations.load(tmp_path / "sound.npz").trajectories] == [2, 3]


@pytest.mark.parametrize("action", [np.zeros((5, 1)), np.arange(5, dtype=np.uint8)])
def test_numbers_of_another_precision_are_converted(tmp_path: Path, action: np.ndarray) -> None:
    others = change(obs=np.ones((7, 2)), action=action, reward=np.arange(5), lengths=np.array([2, 3], np.int32))
    np.savez(tmp_path / "others.npz", **others)
    first, second = Demonstrations.load(tmp_path / "others.npz").trajectories
    assert (first.obs.dtype, first.reward.dtype) == (np.float32, np.float32)
    assert first.action.dtype == (np.float32 if action.ndim == 2 else np.int64)
    np.testing.assert_array_equal(np.concatenate([first.action, second.action]), action)
    assert second.reward.tolist() == [2, 3, 4]


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    demonstrations().save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[60:200] = bytes(140)
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.npz").write_bytes(damaged)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("obs,action\n1,2\n")
    for name in ("single.npy", "half.npz", "damaged.npz", "empty.npz", "text.npz", "."):
        with pytest.raises(InputError, match="cannot read demonstrations .* expected a whole .npz file"):
            Demonstrations.load(tmp_path / name)
    with pytest.raises(InputError, match="no demonstrations at .*absent.npz.*record some"):
        Demonstrations.load(tmp_path / "absent.npz")


def test_every_truncation_is_caught(tmp_path: Path) -> None:
    demonstrations().save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(InputError):
            Demonstrations.load(tmp_path / "cut.npz")


def test_save_refuses_an_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write demonstrations to"):
        demonstrations().save(tmp_path / "file" / "toy.npz")
    (tmp_path / "folder.npz" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write demonstrations to"):
        demonstrations().save(tmp_path / "folder.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.npz"]


def test_thinned(tmp_path: Path) -> None:
    """Trajectories of 5, 3 and 7 steps by 4, from 1, 2 and 0; then a file, and a selection of every 8th pair."""
    dice: Any = Dice(chosen=[2, 0], offsets=[1, 2, 0, 1, 0])
    thinned = demonstrations().subsample(4, dice)
    assert dice.bounds == [4, 3, 4]  # the offset of a trajectory shorter than 4 stays inside it
    assert [t.obs[:, 1].tolist() for t in thinned.trajectories] == [[-1], [-2], [0, -4]]
    np.testing.assert_allclose([t.action[0, 0] for t in thinned.trajectories], [0.01, 0.12, 0.2], rtol=1e-6)
    assert thinned.returns.tolist() == demonstrations().returns.tolist() == [10, 6, 35]
    thinned.save(tmp_path / "thinned.npz")
    loaded = Demonstrations.load(tmp_path / "thinned.npz")
    assert (loaded.thinned, loaded.returns.tolist()) == (4, [10, 6, 35])
    for ours, theirs in zip(thinned.trajectories, loaded.trajectories, strict=True):
        np.testing.assert_array_equal(ours.obs, theirs.obs, strict=True)
        np.testing.assert_array_equal(ours.action, theirs.action, strict=True)
    pairs = loaded.select(2, 8, BOX, dice)  # every second of the pairs held: one from each
    np.testing.assert_array_equal(pairs.obs, np.array([[204, -4], [1, -1]], dtype=np.float32))
    with pytest.raises(InputError, match="--every 6 asked for, but .* hold every 4th pair: ask for a multiple of 4"):
        loaded.select(1, 6, BOX, dice)
    with pytest.raises(InputError, match="cannot thin demonstrations by 2 that are thinned by 4"):
        loaded.subsample(2, dice)
    assert np.isnan(dataclasses.replace(loaded, metadata={}).returns).all()
    assert demonstrations().subsample(1, dice).thinned == 1


def test_made_in_memory() -> None:
    with pytest.raises(InputError, match="at least one trajectory"):
        Demonstrations(())
    with pytest.raises(InputError, match="of one task: .* in trajectory 0 and .*int64 in trajectory 1"):
        Demonstrations((trajectory(0), trajectory(1, discrete=True)))
    with pytest.raises(InputError, match="got 5 actions, 5 rewards and 4 observations"):
        Trajectory(trajectory(0).obs[:-2], trajectory(0).action, trajectory(0).reward, False)
    pairs = Trajectory(trajectory(0).obs[:-1], trajectory(0).action, trajectory(0).reward, False)
    with pytest.raises(InputError, match="5 actions and 5 observations; a whole trajectory has one observation more"):
        Demonstrations((pairs,))
    with pytest.raises(InputError, match="5 actions and 6 observations; a thinned one has as many"):
        Demonstrations((trajectory(0),), thinned=2)
    with pytest.raises(InputError, match="thinned must be at least 1; got 0"):
        Demonstrations((pairs,), thinned=0)
    with pytest.raises(InputError, match="as many observations as actions"):
        ExpertPairs(np.zeros((2, 2), np.float32), np.zeros((1, 1), np.float32))


BUNDLED = [task for task in TASKS.values() if task.demos is not None]


@pytest.mark.parametrize("task", BUNDLED, ids=lambda task: task.id)
def test_bundled_provenance(task: Any) -> None:
    demos = Demonstrations.load(task.demos)
    about = demos.metadata
    assert about["task"] == task.id
    assert set(about["versions"]) == {"gymnasium", "mujoco", "numpy", "torch", "sb3-contrib"}
    assert set(about["expert"]) >= {"algorithm", "settings", "seed", "steps"}
    assert about["deterministic"] is True
    assert about["expert"]["command"].startswith(f"dyna-ail expert train --task {task.id} ")
    assert about["command"].startswith(f"dyna-ail demos record --task {task.id} ")
    assert about["random_return"] == pytest.approx(task.random)
    assert about["random_episodes"] == about["expert_episodes"] == 100
    assert about["expert_return"] == pytest.approx(task.expert, abs=1e-3)
    if demos.thinned == 1:
        np.testing.assert_allclose([t.return_ for t in demos.trajectories], about["returns"], atol=0.01)
    spread = about["expert_std"] / np.sqrt(len(about["returns"]))
    assert np.mean(about["returns"]) == pytest.approx(about["expert_return"], abs=max(3 * spread, 0.01))
    assert len(set(about["reset_seeds"])) == len(about["returns"]) == len(demos.trajectories)


# Where the observation has the forward speed, and the least that it must be, in m/s. Standing still is paid too: 1 a
# step, 5 in Humanoid, whose expert walks slowly.
SPEEDS = {
    "Hopper-v5": (5, 1.0),
    "Walker2d-v5": (8, 1.0),
    "HalfCheetah-v5": (8, 1.0),
    "Ant-v5": (13, 1.0),
    "Humanoid-v5": (22, 0.3),
}


@pytest.mark.parametrize("task", [task for task in BUNDLED if task.id in SPEEDS], ids=lambda task: task.id)
def test_bundled_runners_run(task: Any) -> None:
    trajectories = Demonstrations.load(task.demos).trajectories
    where, least = SPEEDS[task.id]
    assert np.median([float(t.obs[:, where].mean()) for t in trajectories]) > least


def test_bundled_hopper_hops() -> None:
    hopper = Demonstrations.load(TASKS["Hopper-v5"].demos or "")
    assert [t.length for t in hopper.trajectories] == [1000] * 25
    assert not any(t.terminated for t in hopper.trajectories)
    assert np.mean([t.return_ for t in hopper.trajectories]) >= 3400
    assert min(float(t.obs[:, 5].mean()) for t in hopper.trajectories) > 1.9


def test_bundled_cartpole_is_perfect() -> None:
    cartpole = Demonstrations.load(TASKS["CartPole-v1"].demos or "")
    assert [(t.length, t.return_, t.terminated) for t in cartpole.trajectories] == [(500, 500.0, False)] * 10
