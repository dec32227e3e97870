"""A learner on disk, without a run: it goes on to the last bit, and what is no learner is refused and runs no code."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from test_algorithm import PARTS, TINY, _differences, _pairs

from dyna_ail.algorithm import DynaAIL
from dyna_ail.config import make_config
from dyna_ail.demos import Demonstrations
from dyna_ail.envs.tasks import TASKS
from dyna_ail.errors import InputError
from dyna_ail.learning.randomness import same

PRESETS: dict[str, dict[str, Any]] = {
    "dyna-ail": {"discriminator.final_learning_rate": 1e-5, "planner.final_learning_rate": 1e-5},
    "dyna-mgail": {"forward_model.architecture": "gru", "model_free.final_learning_rate": 1e-5},
    "dyna-trpo": {"lost_after": 3},
}


def _learner(task: str, preset: str = "dyna-ail", **values: Any) -> DynaAIL:
    env = gymnasium.make(task)
    config = make_config(preset, TINY, **{"interactions": 300, "steps_per_iteration": 50, **values})
    return DynaAIL(env, _pairs(env), config)


def _disturb() -> None:
    """What another process's generators would hold."""
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)


def _unequal(one: DynaAIL, other: DynaAIL) -> list[str]:
    """The parts of their states that differ, times and generators included."""
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    return _differences(one, other) + [key for key in a if not same(a[key], b[key])]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", ["CartPole-v1", "Hopper-v5"])
def test_a_learner_that_was_saved_goes_on_to_the_last_bit(task, preset, tmp_path):
    learner = _learner(task, preset, **PRESETS[preset]).learn(130)
    learner.save(tmp_path / "learner.zip")
    learner.learn(300)
    _disturb()
    again = DynaAIL.load(tmp_path / "learner.zip", gymnasium.make(task))
    assert again.interactions == 130 and again.iteration == 3 and again.config == learner.config
    assert again.learn(300).interactions == 300
    assert not _unequal(again, learner)


class Stop(Exception):
    """Raised before a real step."""


def _stop_at(learner: DynaAIL, interactions: int) -> DynaAIL:
    def before_step() -> None:
        if learner.interactions == interactions:
            raise Stop

    with pytest.raises(Stop):
        learner.learn(before_step=before_step)
    assert learner.collecting
    return learner


@pytest.mark.parametrize("at", [0, 1, 50, 130, 299])
def test_a_state_taken_before_any_step_is_enough(at):
    """Within a segment too, and before the first step, after cloning."""
    whole = _learner("CartPole-v1").learn()
    state = _stop_at(_learner("CartPole-v1"), at).state_dict()
    _disturb()
    again = _learner("CartPole-v1", seed=5) if at == 50 else _learner("CartPole-v1")
    if at == 50:
        with pytest.raises(InputError, match="made with other settings than the learner has"):
            again.load_state_dict(state)
        again = _learner("CartPole-v1")
    assert again.load_state_dict(state) is True
    assert not _unequal(again.learn(), whole)


def test_a_new_learner_is_saved_as_well(tmp_path):
    learner = _learner("CartPole-v1")
    learner.save(tmp_path / "new.zip")
    again = DynaAIL.load(tmp_path / "new.zip", gymnasium.make("CartPole-v1"))
    assert not again.started
    learner.learn(60)
    again = DynaAIL.load(tmp_path / "new.zip", gymnasium.make("CartPole-v1"))
    assert not _unequal(again.learn(60), learner)


def test_demonstrations_are_not_needed_again(tmp_path):
    """The pairs to imitate are part of the state, drawn once."""
    demos = Demonstrations.load(TASKS["CartPole-v1"].demos or "")
    config = make_config("dyna-ail", TINY, trajectories=3, every=7)
    learner = DynaAIL(gymnasium.make("CartPole-v1"), demos, config)
    learner.save(tmp_path / "learner.zip")
    again = DynaAIL.load(tmp_path / "learner.zip", gymnasium.make("CartPole-v1"))
    assert all(map(torch.equal, again.expert, learner.expert)) and len(again.expert[0]) > 20


def test_trpo_opens_a_saved_learner(tmp_path):
    learner = _learner("Hopper-v5").learn(60)
    learner.save(tmp_path / "learner.zip")
    learner.save_policy(tmp_path / "policy.zip")
    obs = np.random.default_rng(0).normal(size=(20, 11)).astype(np.float32)
    expected = learner.policy.predict(obs, deterministic=True)[0]
    for name in ("learner.zip", "policy.zip"):
        agent = TRPO.load(tmp_path / name)
        np.testing.assert_array_equal(agent.predict(obs, deterministic=True)[0], expected)
    assert not np.array_equal(learner.agent.policy.predict(obs, deterministic=True)[0], expected)


def test_a_name_without_an_ending_gets_one(tmp_path):
    """As in Stable-Baselines3."""
    learner = _learner("CartPole-v1")
    learner.save(tmp_path / "learner")
    assert [path.name for path in tmp_path.iterdir()] == ["learner.zip"]
    assert DynaAIL.load(tmp_path / "learner", gymnasium.make("CartPole-v1")).config == learner.config


def test_a_file_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path):
    learner = _learner("CartPole-v1")
    with pytest.raises(OSError, match="No such file or directory"):
        learner.save(tmp_path / "absent" / "learner.zip")
    (tmp_path / "learner.zip").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        learner.save(tmp_path / "learner.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["learner.zip"]


def test_parts_that_were_handed_in_are_handed_in_again(tmp_path):
    env = gymnasium.make("CartPole-v1")
    config = make_config("dyna-ail", TINY, interactions=300)
    learner = DynaAIL(env, _pairs(env), config, **PARTS).learn(130)
    learner.save(tmp_path / "learner.zip")
    learner.learn(300)
    again = DynaAIL.load(tmp_path / "learner.zip", gymnasium.make("CartPole-v1"), **PARTS)
    for name, kind in PARTS.items():
        assert type(getattr(again, name)) is kind
    assert not _unequal(again.learn(300), learner)


def test_where_the_environment_cannot_be_brought_back_a_new_episode_begins(tmp_path):
    """Another reset is another environment, as far as anyone can tell."""

    class Elsewhere(gymnasium.ObservationWrapper):
        def observation(self, obs: np.ndarray) -> np.ndarray:
            return obs + np.float32(1e-6)

    learner = _learner("CartPole-v1").learn(130)
    state = learner.state_dict()
    assert state["rollout"]["obs"] is not None, "130 is within an episode"
    again = DynaAIL(Elsewhere(gymnasium.make("CartPole-v1")), _pairs(learner.rollout.env), learner.config)
    assert again.load_state_dict(state) is False
    segment = again.rollout.collect(1)
    assert segment.episode_start.item() and again.interactions == 131


# --- what is refused ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "learner.zip"
    _learner("CartPole-v1").learn(60).save(path)
    return path


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _refused(path: Path, task: str = "CartPole-v1") -> str:
    """What is said about it."""
    with pytest.raises(InputError) as caught:
        DynaAIL.load(path, gymnasium.make(task))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_learner_is_refused(saved, tmp_path):
    assert "no learner at" in _refused(tmp_path / "absent.zip")
    assert "no learner at" in _refused(tmp_path / "absent")
    _learner("CartPole-v1").save_policy(tmp_path / "policy.zip")
    assert "holds a policy but no learner: DynaAIL.save writes one" in _refused(tmp_path / "policy.zip")
    (tmp_path / "text.zip").write_text("PK")
    (tmp_path / "empty.zip").write_bytes(b"")
    (tmp_path / "folder.zip").mkdir()
    for name in ("text.zip", "empty.zip", "folder.zip"):
        assert name in _refused(tmp_path / name)


def test_a_learner_of_another_environment_is_refused(saved, tmp_path):
    for task in ("Hopper-v5", "Acrobot-v1", "Pendulum-v1"):
        assert "does not hold a learner of this environment" in _refused(saved, task)
    hopper = tmp_path / "hopper.zip"
    _learner("Hopper-v5").learn(20).save(hopper)
    for task in ("CartPole-v1", "Walker2d-v5", "Swimmer-v5"):
        assert "does not hold a learner of this environment" in _refused(hopper, task)


def test_states_that_do_not_fit_are_refused_by_name(saved, tmp_path):
    members, wrong = _members(saved), []
    state = torch.load(io.BytesIO(members["learner.pt"]), weights_only=True)
    for change, part in (
        (lambda s: s["config"].update(colour="red"), "unknown setting 'colour'"),
        (lambda s: s["config"]["planner"].update(horizon=-1), "--planner.horizon must be at least 1"),
        (lambda s: s["config"]["planner"].update(method="mine"), "--planner.method must be one of"),
        (lambda s: s["config"]["policy"].update(hidden=(8,)), "its policy is not what"),
        (lambda s: s.pop("generator"), "state"),
        (lambda s: s["parts"].pop("planner"), "parts"),
        (lambda s: s["parts"]["planner"].update(imagined="many"), "planner.imagined"),
        (lambda s: s["parts"]["replay"].update(added=-1), "replay"),
        (lambda s: s["parts"]["replay"].update(obs=torch.zeros(3, 4)), "replay.obs"),
        (lambda s: s["parts"]["policy"].pop("action_net.bias"), "policy"),
        (lambda s: s["parts"]["discriminator"]["_extra_state"].pop("state"), "its "),
        (
            lambda s: s["parts"]["planner"]["optimizer"]["state"][0].update(exp_avg=torch.zeros(1)),
            "optimizer.0.exp_avg",
        ),
        (lambda s: s["parts"]["planner"].pop("critic"), "planner"),
        (lambda s: s.update(value_optimizer={}), "optimizer"),
        (lambda s: s["rollout"].update(actions=torch.zeros(3, 3)), "rollout."),
        (lambda s: s["rollout"].update(interactions="all"), "rollout.interactions"),
        (lambda s: s["rollout"].update(random={"0.x": None}, start=[]), "rollout.start"),
        (lambda s: s.update(expert=[torch.zeros(3, 4)]), ""),
        (lambda s: s.update(expert=[torch.zeros(3, 4), torch.zeros(3, 2)]), "one-hot"),
        (lambda s: s.update(expert=[torch.full((3, 4), torch.nan), torch.eye(2)[[0, 1, 0]]]), "finite"),
        (lambda s: s.update(iteration=1.5), "iteration"),
        (lambda s: s.update(random={}), "random"),
        (lambda s: s["random"].update(python=(3, (1,), None)), ""),
        (lambda s: s["random"]["torch"].zero_(), ""),
        (lambda s: s["generator"].zero_(), ""),
        (lambda s: s.update(format=1), "not a checkpoint of this version"),
    ):
        changed = pickle.loads(pickle.dumps(state))
        change(changed)
        file = io.BytesIO()
        torch.save(changed, file)
        try:
            said = _refused(_archive(tmp_path / "changed.zip", {**members, "learner.pt": file.getvalue()}))
            wrong += [] if part in said else [(part, said)]
        except Exception as error:
            wrong.append((part, repr(error)))
    assert not wrong


def test_damage_is_refused_or_does_no_harm(saved, tmp_path):
    """Cut short, with a bit flipped or a stretch zeroed, anywhere in the archive: it is refused in a line, or loads."""
    whole, rng, refusals = saved.read_bytes(), Random(4), []
    env, path = gymnasium.make("CartPole-v1"), tmp_path / "damaged.zip"
    start = whole.index(b"learner.pt")
    ends = len(whole) - 1500, len(whole)  # the archive's directory
    for case in range(250):
        data = bytearray(whole)
        at = rng.randrange(*ends) if case % 3 == 0 else rng.randrange(start - 30, len(whole))
        match case % 5:
            case 0:
                del data[at:]
            case 1:
                data[at : at + 64] = bytes(64)
            case _:
                data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            DynaAIL.load(path, env)
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not [said for said in refusals if "\n" in said]


class Touch:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_run(saved, tmp_path):
    trace, members = tmp_path / "trace", _members(saved)
    state = torch.load(io.BytesIO(members["learner.pt"]), weights_only=True)
    hostile = io.BytesIO()
    torch.save({**state, "iteration": Touch(trace)}, hostile)
    for content in (hostile.getvalue(), pickle.dumps(Touch(trace)), b""):
        assert "no checkpoint, or a damaged one" in _refused(
            _archive(tmp_path / "hostile.zip", {**members, "learner.pt": content})
        )
    # What SB3's own load would run is not looked at.
    path = _archive(tmp_path / "other.zip", {**members, "data": pickle.dumps(Touch(trace)), "policy.pth": b""})
    DynaAIL.load(path, gymnasium.make("CartPole-v1"))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Touch(trace)))
    assert trace.exists()  # the payload would have worked


def test_what_unpacks_to_too_much_is_refused(saved, tmp_path):
    members = {**_members(saved), "learner.pt": bytes(100 << 20)}
    path = _archive(tmp_path / "bomb.zip", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2 << 20
    assert "unpacks to more than" in _refused(path)
