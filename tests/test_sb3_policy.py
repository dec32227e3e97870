"""Policies of Stable-Baselines3: what is built from the weights alone acts as SB3's own ``predict``."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from dyna_ail.envs.sb3_policy import Settings, acting, actor, read_policy
from dyna_ail.errors import InputError

BOX, DISCRETE = "Pendulum-v1", "CartPole-v1"
SMALL: dict[str, Any] = {"net_arch": [8, 8]}
CASES = [
    ("PPO", BOX, SMALL),
    ("PPO", DISCRETE, {"net_arch": {"pi": [16, 8, 4], "vf": [3]}, "activation_fn": nn.ReLU}),
    ("TRPO", BOX, {**SMALL, "activation_fn": nn.ELU}),
    ("A2C", DISCRETE, SMALL),
    ("SAC", BOX, SMALL),
    ("SAC", BOX, {**SMALL, "use_sde": True}),
    ("SAC", BOX, {**SMALL, "use_sde": True, "clip_mean": 1.5}),
    ("PPO", BOX, {**SMALL, "use_sde": True}),
    ("PPO", BOX, {**SMALL, "use_sde": True, "squash_output": True}),
    ("A2C", BOX, {**SMALL, "use_sde": True, "squash_output": True, "activation_fn": nn.SiLU}),
    ("TQC", BOX, {**SMALL, "activation_fn": nn.Tanh}),
    ("TD3", BOX, SMALL),
    ("DDPG", BOX, {"net_arch": [8]}),
    ("DQN", DISCRETE, SMALL),
]


def model(name: str, task: str, policy_kwargs: dict[str, Any]) -> Any:
    kind = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
    network = "MlpLstmPolicy" if name == "RecurrentPPO" else "MlpPolicy"
    kwargs = dict(policy_kwargs)
    outer = {"use_sde": kwargs.pop("use_sde")} if "use_sde" in kwargs else {}
    small = {"buffer_size": 10} if hasattr(kind, "train") and name in ("SAC", "TQC", "TD3", "DDPG", "DQN") else {}
    return kind(network, gymnasium.make(task), policy_kwargs=kwargs, device="cpu", seed=3, **outer, **small)


@pytest.mark.parametrize(("name", "task", "policy_kwargs"), CASES)
def test_acts_as_predict_does(name: str, task: str, policy_kwargs: dict[str, Any], tmp_path: Path) -> None:
    theirs = model(name, task, policy_kwargs)
    with torch.no_grad():
        for parameter in theirs.policy.parameters():
            parameter.mul_(3.0)  # larger than at the start, so that bounds and squashing matter
    theirs.save(tmp_path / "policy.zip")
    env = gymnasium.make(task)
    ours = read_policy(tmp_path / "policy.zip", env.observation_space, env.action_space)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        obs = rng.normal(scale=2.0, size=env.observation_space.shape).astype(np.float32)
        expected, _ = theirs.predict(obs, deterministic=True)
        action = ours(obs)
        np.testing.assert_allclose(action, expected, rtol=1e-6, atol=1e-6)
        assert env.action_space.contains(action if task == BOX else int(action))
        seen.add(float(np.asarray(action).ravel()[0]))
    assert len(seen) > 1
    space = env.action_space
    if isinstance(space, Box):  # of double precision: demonstrations are of single precision all the same
        double = Box(space.low.astype(np.float64), space.high.astype(np.float64), dtype=np.float64)
        same = read_policy(tmp_path / "policy.zip", env.observation_space, double)(obs)
        assert same.dtype == np.float32 and (same == action).all()


def test_the_acting_weights_are_enough_and_few() -> None:
    theirs = model("TQC", BOX, {})
    env = gymnasium.make(BOX)
    weights = acting(theirs.policy.state_dict())
    assert {name.split(".")[0] for name in weights} == {"actor"}
    assert sum(w.numel() for w in weights.values()) == (3 * 256 + 256) + (256 * 256 + 256) + (256 + 1)
    obs = np.ones(3, dtype=np.float32)
    ours = actor(weights, Settings(), env.observation_space, env.action_space)
    np.testing.assert_array_equal(ours(obs), theirs.predict(obs, deterministic=True)[0])


@pytest.mark.parametrize(
    ("name", "task", "other", "message"),
    [
        ("SAC", BOX, "MountainCarContinuous-v0", "maps 3 numbers to 1; the task needs 2 to 1"),
        ("SAC", BOX, DISCRETE, "policy of SAC, TQC; the task has Discrete actions"),
        ("DQN", DISCRETE, BOX, "policy of DQN; the task has Box actions"),
        ("PPO", BOX, DISCRETE, "maps 3 numbers to 1; the task needs 4 to 2"),
        ("CrossQ", BOX, BOX, "not a plain MLP policy of PPO"),
        ("RecurrentPPO", BOX, BOX, "not a plain MLP policy of PPO|class of|maps 256 numbers"),
    ],
)
def test_other_policies_are_refused(name: str, task: str, other: str, message: str, tmp_path: Path) -> None:
    model(name, task, SMALL).save(tmp_path / "policy.zip")
    env = gymnasium.make(other)
    with pytest.raises(InputError, match=message):
        read_policy(tmp_path / "policy.zip", env.observation_space, env.action_space)


class Touch:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_in_an_archive_is_run(tmp_path: Path) -> None:
    """A payload in the weights is refused; one in ``data``, which SB3's own load would run, is not looked at."""
    env = gymnasium.make(BOX)
    trace, path = tmp_path / "trace", tmp_path / "policy.zip"
    theirs = model("SAC", BOX, SMALL)
    theirs.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def write(**changed: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (members | changed).items():
                archive.writestr(name, content)

    payload = io.BytesIO()
    torch.save({"actor.mu.weight": Touch(trace)}, payload)
    for hostile in (payload.getvalue(), pickle.dumps(Touch(trace)), b""):
        write(**{"policy.pth": hostile})
        with pytest.raises(InputError, match="cannot read the policy|cannot be used"):
            read_policy(path, env.observation_space, env.action_space)
    import base64

    data = json.loads(members["data"])
    data["policy_class"][":serialized:"] = base64.b64encode(pickle.dumps(Touch(trace))).decode()
    write(data=json.dumps(data).encode())
    obs = np.ones(3, dtype=np.float32)
    ours = read_policy(path, env.observation_space, env.action_space)
    np.testing.assert_allclose(ours(obs), theirs.predict(obs, deterministic=True)[0])
    assert not trace.exists()
    pickle.loads(pickle.dumps(Touch(trace)))
    assert trace.exists()  # the payload would have worked


def test_what_is_no_archive(tmp_path: Path) -> None:
    env = gymnasium.make(BOX)
    with pytest.raises(InputError, match="no policy at"):
        read_policy(tmp_path / "absent.zip", env.observation_space, env.action_space)
    (tmp_path / "text.zip").write_text("PK")
    with pytest.raises(InputError, match="is damaged: File is not a zip file"):
        read_policy(tmp_path / "text.zip", env.observation_space, env.action_space)
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("policy.pth", "w") as f,
    ):
        for _ in range(300):
            f.write(bytes(1 << 20))
    with pytest.raises(InputError, match="unpacks to more than 64 MiB"):
        read_policy(tmp_path / "bomb.zip", env.observation_space, env.action_space)


class Doubling(FlattenExtractor):
    """An extractor without weights: nothing in them tells of it."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(observations)


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        (
            {"features_extractor_class": Doubling},
            "features_extractor_class=.*Doubling.*, which is not understood",
        ),
        ({"activation_fn": nn.Softsign}, "its activation is 'Softsign'"),
        ({"activation_fn": Doubling}, "its activation is .*Doubling"),
    ],
)
def test_settings_that_change_the_actions_are_refused(
    policy_kwargs: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = model("PPO", BOX, SMALL)
    theirs.policy_kwargs = {**SMALL, **policy_kwargs}
    theirs.save(tmp_path / "policy.zip")
    env = gymnasium.make(BOX)
    with pytest.raises(InputError, match=message):
        read_policy(tmp_path / "policy.zip", env.observation_space, env.action_space)


def test_a_policy_of_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    theirs = model("PPO", BOX, SMALL)
    theirs.policy_class = type("Mine", (theirs.policy_class,), {"__module__": __name__})
    theirs.save(tmp_path / "policy.zip")
    env = gymnasium.make(BOX)
    with pytest.raises(InputError, match=f"its policy is a class of {__name__}"):
        read_policy(tmp_path / "policy.zip", env.observation_space, env.action_space)
