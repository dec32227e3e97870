"""Small valid files of every format, as the libraries write them; two test modules share them.

``tests/data/imitation-cartpole`` was written by `imitation` 1.0.1 (datasets 5.2.0, pyarrow 26.0.1), which cannot be
installed beside this package: ``serialize.save`` of :func:`cartpole` as ``TrajectoryWithRew``.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pyarrow as pa

from dyna_ail.demos import Demonstrations, Trajectory

REAL_IMITATION = Path(__file__).parent / "data/imitation-cartpole"

BOX = "Pendulum-v1"
"""Three observations, one action within [-2, 2], 200 steps."""


def cartpole(steps: int = 12) -> Demonstrations:
    """Three episodes from seeds 0, 1, 2: a controller, one that pushes right and falls, the controller again."""
    env = gymnasium.make("CartPole-v1")
    trajectories = []
    for seed in range(3):
        obs, actions, terminated = [env.reset(seed=seed)[0]], [], False
        while len(actions) < steps and not terminated:
            actions.append(1 if seed == 1 else int(obs[-1][2] + 0.3 * obs[-1][3] > 0))
            new, _, terminated, _, _ = env.step(actions[-1])
            obs.append(new)
        reward = np.ones(len(actions), np.float32)
        trajectories.append(Trajectory(np.array(obs, np.float32), np.array(actions), reward, terminated))
    return Demonstrations(tuple(trajectories), {"task": "CartPole-v1"})


def pendulum(lengths: tuple[int, ...] = (4, 6)) -> Demonstrations:
    """Made-up episodes that fit Pendulum-v1; the last one terminates."""
    rng = np.random.default_rng(0)
    trajectories = tuple(
        Trajectory(
            rng.normal(size=(n + 1, 3)).astype(np.float32),
            rng.uniform(-2, 2, (n, 1)).astype(np.float32),
            rng.normal(size=n).astype(np.float32),
            index == len(lengths) - 1,
        )
        for index, n in enumerate(lengths)
    )
    return Demonstrations(trajectories, {"task": BOX})


def write_minari(id: str, demos: Demonstrations, **settings: Any) -> Any:
    """A dataset below MINARI_DATASETS_PATH, with infos and seeds, made by minari itself."""
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            seed=index,
            observations=t.obs,
            actions=t.action,
            rewards=t.reward.tolist(),
            terminations=[False] * (t.length - 1) + [t.terminated],
            truncations=[False] * (t.length - 1) + [not t.terminated],
            infos={"text": ["note"] * (t.length + 1), "number": np.zeros(t.length + 1)},
        )
        for index, t in enumerate(demos.trajectories)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(id, buffers, **{"env": demos.metadata["task"], **settings})


def d4rl_arrays(demos: Demonstrations) -> dict[str, Any]:
    """The arrays of a D4RL file, with ``next_observations`` and ``timeouts``."""
    trajectories = demos.trajectories
    last = np.concatenate([np.arange(1, t.length + 1) == t.length for t in trajectories])
    terminated = np.concatenate([np.full(t.length, t.terminated) for t in trajectories])
    return {
        "observations": np.concatenate([t.obs[:-1] for t in trajectories]),
        "next_observations": np.concatenate([t.obs[1:] for t in trajectories]),
        "actions": np.concatenate([t.action for t in trajectories]),
        "rewards": np.concatenate([t.reward for t in trajectories]),
        "terminals": last & terminated,
        "timeouts": last & ~terminated,
    }


def write_hdf5(path: Path, arrays: dict[str, Any]) -> Path:
    """Compressed, with some of D4RL's further entries."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, compression="gzip")
        file["infos/qpos"] = np.zeros((3, 2))
        file["metadata/algorithm"] = np.bytes_("SAC")
        file["metadata/iteration"] = 3
    return path


def imitation_columns(demos: Demonstrations) -> dict[str, list[Any]]:
    """The columns of an `imitation` folder, one entry a trajectory."""
    trajectories = demos.trajectories
    return {
        "obs": [t.obs.tolist() for t in trajectories],
        "acts": [t.action.tolist() for t in trajectories],
        "infos": [["{}"] * t.length for t in trajectories],
        "terminal": [t.terminated for t in trajectories],
        "rews": [t.reward.astype(float).tolist() for t in trajectories],
    }


def write_imitation(folder: Path, *shards: dict[str, list[Any]], schema: pa.Schema | None = None) -> Path:
    """What Hugging Face's ``Dataset.save_to_disk`` leaves, one file a shard; in double without a ``schema``."""
    folder.mkdir()
    names = [f"data-{index:05d}-of-{len(shards):05d}.arrow" for index in range(len(shards))]
    for name, columns in zip(names, shards, strict=True):
        table = pa.table(columns) if schema is None else pa.table(columns, schema=schema)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def real_schema() -> pa.Schema:
    """Of the columns of the real folder."""
    with pa.memory_map(str(next(REAL_IMITATION.glob("*.arrow")))) as file:
        return pa.ipc.open_stream(file).schema.remove_metadata()


def imitation_arrays(demos: Demonstrations) -> dict[str, Any]:
    """The arrays of `imitation`'s older npz, which its ``save`` passed to ``numpy.savez_compressed``."""
    trajectories = demos.trajectories
    return {
        "obs": np.concatenate([t.obs for t in trajectories]),
        "acts": np.concatenate([t.action for t in trajectories]),
        "infos": np.concatenate([np.full(t.length, {}) for t in trajectories]),
        "terminal": np.array([t.terminated for t in trajectories]),
        "indices": np.cumsum([t.length for t in trajectories[:-1]]),
        "rews": np.concatenate([t.reward for t in trajectories]).astype(np.float64),
    }


def write_sb3(path: Path) -> Any:
    """An untrained policy for CartPole-v1, saved by SB3; returns the model."""
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [4]})
    model.save(path)
    return model
