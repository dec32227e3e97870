"""Every format on files as its library writes them, and one clear error for every kind of bad source."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
from format_files import (
    BOX,
    REAL_IMITATION,
    cartpole,
    d4rl_arrays,
    imitation_arrays,
    imitation_columns,
    pendulum,
    real_schema,
    write_hdf5,
    write_imitation,
    write_minari,
    write_sb3,
)

from dyna_ail import formats
from dyna_ail.demos import Demonstrations
from dyna_ail.envs.tasks import BUNDLED
from dyna_ail.errors import InputError
from dyna_ail.files import allowance, check_archive
from dyna_ail.formats import isolated, minari


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the local Minari datasets, empty."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


def load(source: object, task: str = "CartPole-v1") -> Demonstrations:
    return formats.load(str(source), task, episodes=2, seed=0)


def assert_equal(ours: Demonstrations, theirs: Demonstrations) -> None:
    assert len(ours.trajectories) == len(theirs.trajectories)
    for a, b in zip(ours.trajectories, theirs.trajectories, strict=True):
        assert a.terminated == b.terminated
        for name in ("obs", "action", "reward"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


# Our own file


def test_npz(tmp_path: Path) -> None:
    cartpole().save(tmp_path / "demos.bin")
    assert formats.recognise(tmp_path / "demos.bin").name == "npz"
    found = load(tmp_path / "demos.bin")
    assert_equal(found, cartpole())
    assert found.metadata["task"] == "CartPole-v1"
    assert found.metadata["source"]["path"].endswith("demos.bin") and len(found.metadata["source"]["sha256"]) == 64
    formats.save(found, tmp_path / "again.npz", "CartPole-v1")
    assert load(tmp_path / "again.npz").metadata["source"]["source"] == found.metadata["source"]


# Minari


@pytest.mark.parametrize("data", [cartpole(), pendulum()], ids=["Discrete", "Box"])
def test_minari_by_id_and_by_path(datasets: Path, data: Demonstrations) -> None:
    write_minari("toys/test-v0", data, algorithm_name="by hand", author="us")
    folder = datasets / "toys/test-v0"
    task = data.metadata["task"]
    for source in ("toys/test-v0", folder, folder / "data", folder / "data/main_data.hdf5"):
        assert formats.recognise(source).name == "Minari"
        assert_equal(load(source, task), data)
    about = load("toys/test-v0", task).metadata
    assert about["minari"]["dataset_id"] == "toys/test-v0"
    assert about["minari"]["algorithm_name"] == "by hand" and about["minari"]["author"] == ["us"]
    assert about["minari"]["environment"] == task
    assert about["expert_return"] == pytest.approx(np.mean(data.returns), abs=1e-3)


def test_minari_under_another_name_and_in_float64(datasets: Path, tmp_path: Path) -> None:
    data = pendulum()
    with h5py.File(tmp_path / "moved.h5", "w") as file:
        for index, t in enumerate(data.trajectories):
            group = file.create_group(f"episode_{index}")
            group["observations"], group["actions"] = t.obs.astype(float), t.action.astype(float)
            group["rewards"] = t.reward.astype(float)
            group["terminations"] = np.arange(1, t.length + 1) == t.length * t.terminated
            group["truncations"] = ~group["terminations"][:]
    assert_equal(load(tmp_path / "moved.h5", BOX), data)


def test_minari_episodes_are_in_the_order_of_their_numbers(datasets: Path) -> None:
    data = pendulum(tuple(range(2, 14)))
    write_minari("toys/many-v0", data)
    assert [t.length for t in load("toys/many-v0", BOX).trajectories] == list(range(2, 14))


def test_minari_is_not_asked_to_build_an_environment(datasets: Path, tmp_path: Path) -> None:
    """Minari itself runs this: metadata without spaces make it build the environment that they describe."""
    write_minari("toys/evil-v0", cartpole())
    path = datasets / "toys/evil-v0/data/metadata.json"
    touch = f"open({str(tmp_path / 'touched')!r}, 'w')"
    spec = {"id": "Evil-v0", "entry_point": "builtins:exec", "kwargs": {"source": touch}}
    path.write_text(json.dumps({"data_format": "hdf5", "env_spec": json.dumps(spec), "total_episodes": 3}))
    assert_equal(load("toys/evil-v0"), cartpole())
    assert not (tmp_path / "touched").exists()


def test_missing_minari_dataset_says_what_is_there(datasets: Path) -> None:
    with pytest.raises(InputError, match=r"no Minari dataset of that name .* has none.*minari download toys/b-v0"):
        load("toys/b-v0")
    write_minari("toys/test-v0", cartpole())
    with pytest.raises(InputError, match=r"which has toys/test-v0\."):
        load("toys/test-v1")


def test_minari_refuses_what_it_does_not_read(datasets: Path) -> None:
    spaces = gymnasium.spaces
    space = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "y": spaces.Box(-1, 1, (1,))})
    import minari as theirs
    from minari.data_collector import EpisodeBuffer

    observations = {"x": np.zeros((3, 2), np.float32), "y": np.zeros((3, 1), np.float32)}
    buffer = EpisodeBuffer(None, 0, None, observations, np.zeros(2, int), [0.0] * 2, [False] * 2, [False] * 2, {})
    with pytest.warns(UserWarning, match=".*"):
        theirs.create_dataset_from_buffers(
            "toys/dict-v0", [buffer], observation_space=space, action_space=spaces.Discrete(2)
        )
    with pytest.raises(InputError, match=r"observations is a group of arrays \(a Dict or Tuple space\): flatten"):
        load("toys/dict-v0")
    write_minari("toys/arrow-v0", cartpole(), data_format="arrow")
    with pytest.raises(InputError, match="has no main_data.hdf5: only data_format 'hdf5' is read"):
        load("toys/arrow-v0")


# D4RL


def test_d4rl_with_next_observations(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "hopper.hdf5", d4rl_arrays(pendulum()))
    assert formats.recognise(path).name == "D4RL"
    found = load(path, BOX)
    assert_equal(found, pendulum())
    assert found.metadata["source"]["format"] == "D4RL" and "dropped" not in found.metadata
    assert found.metadata["expert_return"] == pytest.approx(np.mean(pendulum().returns), abs=1e-3)


def test_d4rl_without_next_observations_loses_each_last_step(tmp_path: Path) -> None:
    found = load(write_hdf5(tmp_path / "a", {**d4rl_arrays(pendulum()), "next_observations": None}), BOX)
    for ours, whole in zip(found.trajectories, pendulum().trajectories, strict=True):
        assert not ours.terminated and ours.length == whole.length - 1
        np.testing.assert_array_equal(ours.obs, whole.obs[:-1])
        np.testing.assert_array_equal(ours.action, whole.action[:-1])
        np.testing.assert_array_equal(ours.reward, whole.reward[:-1])
    assert "last step" in found.metadata["dropped"]
    assert found.metadata["expert_return"] == pytest.approx(np.mean(pendulum().returns), abs=1e-3)


def test_d4rl_leaves_out_an_unfinished_last_episode(tmp_path: Path) -> None:
    arrays = d4rl_arrays(pendulum((4, 6, 5)))
    arrays["terminals"][-1] = False
    assert [t.length for t in load(write_hdf5(tmp_path / "a", arrays), BOX).trajectories] == [4, 6]
    arrays["timeouts"][:] = False
    (only,) = load(write_hdf5(tmp_path / "b", arrays), BOX).trajectories
    assert only.length == 15 and not only.terminated


def test_d4rl_without_timeouts_is_cut_at_the_time_limit(tmp_path: Path) -> None:
    """A terminal after 5 steps, 200 to the limit, 3 to a terminal, 200 to the limit, and 10 that have not ended."""
    arrays = {**d4rl_arrays(pendulum((5 + 200 + 3 + 200 + 10,))), "timeouts": None}
    arrays["terminals"][:] = False
    arrays["terminals"][[4, 207]] = True
    found = load(write_hdf5(tmp_path / "a", arrays), BOX).trajectories
    assert [(t.length, t.terminated) for t in found] == [(5, True), (200, False), (3, True), (200, False)]
    np.testing.assert_array_equal(found[2].obs[-1], arrays["next_observations"][207])


def test_d4rl_mends_what_is_unambiguous(tmp_path: Path) -> None:
    arrays = d4rl_arrays(pendulum())
    for name in ("observations", "next_observations", "rewards"):
        arrays[name] = arrays[name].astype(float)
    for name in ("rewards", "terminals", "timeouts"):
        arrays[name] = arrays[name].astype(float)[:, None]
    arrays["actions"] = arrays["actions"][:, 0]
    assert_equal(load(write_hdf5(tmp_path / "box", arrays), BOX), pendulum())
    arrays = d4rl_arrays(cartpole())
    arrays["actions"] = arrays["actions"].astype(np.int32)[:, None]
    assert_equal(load(write_hdf5(tmp_path / "discrete", arrays)), cartpole())


# imitation


def test_imitation_folder_written_by_imitation() -> None:
    assert formats.recognise(REAL_IMITATION).name == "imitation"
    found, simulated = load(REAL_IMITATION), cartpole()
    assert [(t.length, t.terminated) for t in found.trajectories] == [(12, False), (9, True), (12, False)]
    for ours, again in zip(found.trajectories, simulated.trajectories, strict=True):
        np.testing.assert_allclose(ours.obs, again.obs, rtol=1e-6)
        np.testing.assert_array_equal(ours.action, again.action, strict=True)
        np.testing.assert_array_equal(ours.reward, again.reward, strict=True)
    assert found.metadata["expert_return"] == 11.0 and len(found.metadata["source"]["sha256"]) == 64


def test_our_imitation_folder_is_like_a_real_one(tmp_path: Path) -> None:
    folder = write_imitation(tmp_path / "a", imitation_columns(cartpole()), schema=real_schema())
    assert {p.name for p in folder.iterdir()} == {p.name for p in REAL_IMITATION.iterdir()}
    assert set(json.loads((folder / "state.json").read_text())) <= set(
        json.loads((REAL_IMITATION / "state.json").read_text())
    )
    assert_equal(load(folder), cartpole())


def test_imitation_folder_of_several_files_in_double(tmp_path: Path) -> None:
    shards = [imitation_columns(Demonstrations((t,))) for t in pendulum().trajectories]
    assert_equal(load(write_imitation(tmp_path / "a", *shards), BOX), pendulum())
    for shard in shards:
        del shard["rews"]
    found = load(write_imitation(tmp_path / "b", *shards), BOX)
    assert not found.returns.any() and "expert_return" not in found.metadata
    assert found.metadata["rewards"] == "none in the source; read as 0"


def test_imitation_full_length_is_a_time_limit(tmp_path: Path) -> None:
    """`imitation` says terminal for any end; only an episode of Pendulum's 200 steps was cut."""
    columns = imitation_columns(pendulum((200, 150)))
    columns["terminal"] = [True, True]
    found = load(write_imitation(tmp_path / "a", columns), BOX)
    assert [t.terminated for t in found.trajectories] == [False, True]


@pytest.mark.parametrize("data", [cartpole(), pendulum(), pendulum((5,))], ids=["Discrete", "Box", "one"])
def test_imitation_npz(tmp_path: Path, data: Demonstrations) -> None:
    np.savez_compressed(tmp_path / "old.npz", **imitation_arrays(data))
    assert formats.recognise(tmp_path / "old.npz").name == "imitation"
    assert_equal(load(tmp_path / "old.npz", data.metadata["task"]), data)


# Policies


def test_sb3_policy_is_rolled_out_as_sb3_would(tmp_path: Path) -> None:
    model = write_sb3(tmp_path / "policy.zip")
    assert formats.recognise(tmp_path / "policy.zip").name == "Stable-Baselines3"
    found = load(tmp_path / "policy.zip")
    assert len(found.trajectories) == 2 and len(set(found.metadata["reset_seeds"])) == 2
    for trajectory in found.trajectories:
        predicted, _ = model.predict(trajectory.obs[:-1], deterministic=True)
        np.testing.assert_array_equal(trajectory.action, predicted)
    assert found.metadata["expert_return"] == pytest.approx(np.mean(found.returns))
    assert_equal(load(tmp_path / "policy.zip"), found)  # the same seed, the same episodes
    with pytest.raises(InputError, match="it is a policy|it maps 4 numbers to 2"):
        load(tmp_path / "policy.zip", BOX)


def test_expert_folder() -> None:
    folder = BUNDLED / "CartPole-v1"
    assert formats.recognise(folder).name == "expert"
    found = load(folder)
    assert found.returns.tolist() == [500.0, 500.0]
    assert found.metadata["expert"]["algorithm"] and found.metadata["source"]["format"] == "expert"
    with pytest.raises(InputError, match="was trained on CartPole-v1, not on Acrobot-v1"):
        load(folder, "Acrobot-v1")


# What is refused: how to make it from a folder, the task, and the message


def d4rl(task_data: Demonstrations, **changes: Any) -> Callable[[Path], Path]:
    return lambda folder: write_hdf5(folder / "bad.hdf5", {**d4rl_arrays(task_data), **changes})


def old_npz(**changes: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        arrays = {**imitation_arrays(cartpole()), **changes}
        np.savez(folder / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
        return folder / "bad.npz"

    return write


def imitation_folder(data: Demonstrations, **changes: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        columns = {**imitation_columns(data), **changes}
        return write_imitation(folder / "bad", {name: c for name, c in columns.items() if c is not None})

    return write


def written(content: bytes, name: str = "bad") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def changed(change: Callable[[h5py.File], None]) -> Callable[[Path], Path]:
    """A Minari file after ``change``."""

    def write(folder: Path) -> Path:
        write_minari("toys/bad-v0", cartpole())
        path = folder / "datasets/toys/bad-v0/data/main_data.hdf5"
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return write


def replace(file: h5py.File, name: str, data: Any) -> None:
    del file[name]
    file[name] = data


def external(file: h5py.File) -> None:
    del file["episode_0/observations"]
    file["episode_0/observations"] = h5py.ExternalLink("other.hdf5", "observations")


def with_archive(members: dict[str, bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "bad.zip", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return folder / "bad.zip"

    return write


def empty_folder(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad/notes.txt").write_text("")
    return folder / "bad"


def splits(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad/dataset_dict.json").write_text("{}")
    return folder / "bad"


def outside(folder: Path) -> Path:
    bad = write_imitation(folder / "bad", imitation_columns(cartpole()))
    (folder / "other.arrow").write_bytes(next(bad.glob("*.arrow")).read_bytes())
    (bad / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../other.arrow"}]}))
    return bad


def expert_with(**changes: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        shutil.copytree(BUNDLED / "CartPole-v1", folder / "bad")
        about = json.loads((folder / "bad/expert.json").read_text())
        (folder / "bad/expert.json").write_text(json.dumps({**about, **changes}))
        return folder / "bad"

    return write


def nan_at(array: Any, row: int) -> Any:
    array = array.copy()
    array[row] = np.nan
    return array


C, P = cartpole(), pendulum()
N = sum(t.length for t in C.trajectories)
M = sum(t.length for t in P.trajectories)
obs = [t.obs.tolist() for t in C.trajectories]

BAD: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "nothing there": (lambda folder: folder / "absent", "CartPole-v1", "no file, folder or Minari dataset.*Understood"),
    "empty file": (
        written(b""),
        "CartPole-v1",
        "is empty. Understood are: .*imitation.*Minari.*D4RL",
    ),
    "text": (written(b"obs,action\n1,2\n"), "CartPole-v1", "is no demonstrations. Understood are"),
    "pickle": (written(pickle.dumps([1, 2])), "CartPole-v1", "is a pickle, which could run code"),
    "empty folder": (empty_folder, "CartPole-v1", "the folder .* holds no demonstrations: notes.txt"),
    "several splits": (splits, "CartPole-v1", "has several splits: name the folder of one"),
    "half a zip": (written(b"PK\x03\x04" + bytes(60)), "CartPole-v1", "damaged zip archive"),
    "foreign zip": (with_archive({"a.txt": b"", "../b": b""}), "CartPole-v1", "neither .* it holds ../b, a.txt"),
    "foreign npz": (
        with_archive({"observations.npy": b""}),
        "CartPole-v1",
        "it holds observations.npy. .* an npz with obs, action, reward, lengths, terminated, metadata",
    ),
    "SB3 zip without weights": (
        with_archive({"_stable_baselines3_version": b"2", "data": b"{}"}),
        "CartPole-v1",
        "policy",
    ),
    "expert of another width": (
        expert_with(observation_mean=[0.0] * 7),
        "CartPole-v1",
        r"observation_mean and observation_variance must hold \(4,\) numbers; got \(7,\)",
    ),
    "expert of words": (expert_with(observation_variance=["a"] * 4), "CartPole-v1", "the expert in .* cannot be read"),
    "half an HDF5 file": (written(b"\x89HDF\r\n\x1a\n" + bytes(90)), "CartPole-v1", "cannot read .* as D4RL data: "),
    "foreign HDF5": (
        lambda folder: write_hdf5(folder / "bad", {"a": np.zeros(3)}),
        "CartPole-v1",
        "expected observations, actions.*found a, infos, metadata",
    ),
    "D4RL without rewards": (d4rl(C, rewards=None), "CartPole-v1", "missing from it: rewards"),
    "D4RL with too many rewards": (d4rl(C, rewards=np.zeros(99)), "CartPole-v1", "same number of rows.*'rewards': 99"),
    "D4RL of no steps": (
        d4rl(C, **{name: array[:0] for name, array in d4rl_arrays(C).items()}),
        "CartPole-v1",
        "at least one",
    ),
    "D4RL texts": (d4rl(C, actions=np.full(N, b"left")), "CartPole-v1", "actions of the file must be an array of num"),
    "D4RL terminals are no flags": (d4rl(C, terminals=np.arange(N)), "CartPole-v1", "terminals must be 0 or 1"),
    "D4RL other next observations": (
        d4rl(C, next_observations=np.zeros((N, 3))),
        "CartPole-v1",
        "have different shapes",
    ),
    "NaN observation": (
        d4rl(P, observations=nan_at(d4rl_arrays(P)["observations"], 5)),
        BOX,
        "episode 1: obs must be finite; got NaN or infinity at row 1",
    ),
    "too large for float32": (d4rl(P, actions=np.full((M, 1), 1e300)), BOX, "episode 0: action must be finite"),
    "NaN reward": (d4rl(P, rewards=np.full(M, np.nan)), BOX, "rewards must be finite"),
    "integer actions for Box": (
        d4rl(P, actions=np.zeros((M, 1), int)),
        BOX,
        "are int64, Pendulum-v1 has 1 real",
    ),
    "float actions for Discrete": (d4rl(C, actions=np.zeros(N)), "CartPole-v1", "are float.* 2 discrete ones"),
    "one-hot actions": (
        d4rl(C, actions=np.eye(2)[np.zeros(N, int)]),
        "CartPole-v1",
        "argmax if they are one-hot",
    ),
    "wide actions for Discrete": (
        d4rl(C, actions=np.zeros((N, 2), int)),
        "CartPole-v1",
        r"actions must be one number a step; got int64 of shape \(12, 2\)",
    ),
    "other width of actions": (d4rl(P, actions=np.zeros((M, 2))), BOX, r"rows of shape \(2,\), .* rows of 1 numbers"),
    "other width of observations": (d4rl(C), "Acrobot-v1", r"rows of shape \(4,\), Acrobot-v1 has rows of 6"),
    "images": (
        d4rl(C, observations=np.zeros((N, 4, 4, 3)), next_observations=None),
        "CartPole-v1",
        r"rows of shape \(4, 4, 3\).* flatten",
    ),
    "Minari without actions": (
        changed(lambda file: file.__delitem__("episode_1/actions")),
        "CartPole-v1",
        "missing from it: actions of episode_1",
    ),
    "Minari ragged": (
        changed(lambda file: replace(file, "episode_1/rewards", np.zeros(3))),
        "CartPole-v1",
        "episode 1: a trajectory of T >= 1 steps .* 3 rewards",
    ),
    "Minari without the last observation": (
        changed(lambda file: replace(file, "episode_1/observations", C.trajectories[1].obs[:-1])),
        "CartPole-v1",
        "trajectory 1 has 9 actions and 9 observations",
    ),
    "Minari of two widths": (
        changed(lambda file: replace(file, "episode_1/observations", np.zeros((10, 3)))),
        "CartPole-v1",
        r"float32 rows of shape \(4,\) in episode 0 and float32 rows of shape \(3,\) in episode 1",
    ),
    "Minari with a link": (changed(external), "CartPole-v1", "observations is a link"),
    "imitation without acts": (imitation_folder(C, acts=None), "CartPole-v1", "missing from it: acts"),
    "imitation ragged": (
        imitation_folder(C, obs=[o[:-1] for o in obs]),
        "CartPole-v1",
        "trajectory 0 has 12 actions",
    ),
    "imitation ragged rows": (
        imitation_folder(C, obs=[[row[: 1 + i] for i, row in enumerate(o[:4])] for o in obs]),
        "CartPole-v1",
        "obs has ragged rows, of 1 to 4",
    ),
    "imitation with gaps": (imitation_folder(C, acts=[None, [0], [1]]), "CartPole-v1", "acts must be lists of numbers"),
    "imitation texts": (imitation_folder(C, acts=[["a"]] * 3), "CartPole-v1", "acts must be numbers, none missing"),
    "imitation file outside": (outside, "CartPole-v1", "must hold the files that its state.json lists: ../other"),
    "imitation npz of objects": (
        old_npz(acts=np.array([{}] * N, dtype=object)),
        "CartPole-v1",
        "Object arrays cannot be loaded",
    ),
    "imitation npz without obs": (old_npz(obs=None), "CartPole-v1", "missing from it: obs"),
    "imitation npz with bad indices": (old_npz(indices=np.array([12, 5])), "CartPole-v1", "got lengths .12, -7, 28."),
    "imitation npz without indices": (old_npz(indices=np.array([12])), "CartPole-v1", "indices one less"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sources(tmp_path: Path, case: str) -> None:
    write, task, message = BAD[case]
    source = write(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load(source, task)
    assert str(source) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("h5py", r'D4RL data needs h5py: pip install "dyna-ail\[d4rl\]"'),
        ("pyarrow", r'imitation data needs pyarrow: pip install "dyna-ail\[imitation\]"'),
        ("minari", r'writing Minari datasets needs minari: pip install "dyna-ail\[minari\]"'),
    ],
)
def test_missing_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, message: str) -> None:
    find = isolated.importlib.util.find_spec
    monkeypatch.setattr(isolated.importlib.util, "find_spec", lambda name: None if name == library else find(name))
    hdf5 = write_hdf5(tmp_path / "a", d4rl_arrays(cartpole()))
    uses = {
        "h5py": lambda: load(hdf5),
        "pyarrow": lambda: load(REAL_IMITATION),
        "minari": lambda: formats.save(cartpole(), "toys/a-v0", "CartPole-v1"),
    }
    with pytest.raises(InputError, match=message):
        uses[library]()


def test_a_reader_that_crashes_or_hangs_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a", d4rl_arrays(cartpole()))
    for code, message in (
        ("import os; os.abort()", "the library crashed on it"),
        ("import time; time.sleep(60)", "took more than 1 s"),
    ):
        (tmp_path / "reader.py").write_text(code)
        monkeypatch.setattr(isolated.reader, "__file__", str(tmp_path / "reader.py"))
        with (tmp_path / "out").open("wb") as out:
            status, found = isolated.run_reader("hdf5", 1 << 20, [str(path)], 1, out)
        assert status != 0 and message in found


# Formats out


@pytest.mark.parametrize("data", [cartpole(), pendulum()], ids=["Discrete", "Box"])
def test_npz_to_minari_and_back(tmp_path: Path, datasets: Path, data: Demonstrations) -> None:
    task = data.metadata["task"]
    data.save(tmp_path / "a.npz")
    folder = formats.save(load(tmp_path / "a.npz", task), "toys/saved-v0", task)
    assert folder == datasets / "toys/saved-v0"
    formats.save(load("toys/saved-v0", task), tmp_path / "b.npz", task)
    assert_equal(load(tmp_path / "b.npz", task), data)


def test_minari_reads_what_we_write(datasets: Path) -> None:
    import minari as theirs

    data = Demonstrations(cartpole().trajectories, {"task": "CartPole-v1", "expert": {"algorithm": "by hand"}})
    formats.save(data, "toys/saved-v0", "CartPole-v1")
    dataset = theirs.load_dataset("toys/saved-v0")
    assert dataset.total_episodes == 3 and dataset.total_steps == N
    assert dataset.env_spec.id == "CartPole-v1"
    assert dataset.storage.metadata["algorithm_name"] == "by hand"
    for episode, trajectory in zip(dataset.iterate_episodes(), data.trajectories, strict=True):
        np.testing.assert_array_equal(episode.observations, trajectory.obs, strict=True)
        np.testing.assert_array_equal(episode.actions, trajectory.action, strict=True)
        assert (episode.terminations[-1], episode.truncations[-1]) == (trajectory.terminated, not trajectory.terminated)
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
    assert load("toys/saved-v0").metadata["expert"] == {"algorithm": "by hand"}


def test_save_refuses(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats.save(cartpole(), "toys/saved-v0", "CartPole-v1")
    with pytest.raises(InputError, match="'toys/saved-v0' exists .* choose another"):
        formats.save(cartpole(), "toys/saved-v0", "CartPole-v1")
    with pytest.raises(InputError, match="thinned demonstrations cannot be a Minari dataset"):
        formats.save(cartpole().subsample(2, np.random.default_rng(0)), "toys/thin-v0", "CartPole-v1")
    with pytest.raises(InputError, match=r"observations of shape \(4,\), the task has \(3,\)"):
        formats.save(cartpole(), "toys/other-v0", BOX)
    with pytest.raises(InputError, match="cannot tell the format of 'demos.hdf5'"):
        formats.save(cartpole(), "demos.hdf5", "CartPole-v1")

    def fail(*args: object, **kwargs: object) -> None:
        (datasets / "toys/half-v0/data").mkdir(parents=True)
        raise OSError("no space left")

    monkeypatch.setattr("minari.create_dataset_from_buffers", fail)
    with pytest.raises(InputError, match="cannot write the Minari dataset .*no space left"):
        formats.save(cartpole(), "toys/half-v0", "CartPole-v1")
    assert not (datasets / "toys/half-v0").exists()


# Bounds


def test_allowance() -> None:
    assert allowance(1000) == 64 << 20
    assert allowance(1 << 20) == 200 << 20
    assert allowance(1 << 40) == 4 << 30


def test_archives_that_claim_too_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("obs.npy", bytes(65 << 20))
    with pytest.raises(InputError, match="unpacks to more than 64 MiB"):
        check_archive(tmp_path / "bomb.npz")
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 4)}
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive, archive.open("obs.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(InputError, match="obs.npy claims more than it holds"):
        check_archive(tmp_path / "claim.npz")


def test_every_format_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs/demonstrations.md").read_text(encoding="utf-8")
    for format in formats.FORMATS:
        assert format.name in text


def test_reading_takes_neither_torch_nor_minari() -> None:
    code = f"""
import sys
from dyna_ail import formats
formats.load({str(REAL_IMITATION)!r}, "CartPole-v1", 1, 0)
print(*{{"torch", "minari", "pyarrow", "h5py"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert minari.is_id("D4RL/door/human-v2") and not minari.is_id("../door-v2") and not minari.is_id("a/b.npz")
