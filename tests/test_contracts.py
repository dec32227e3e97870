"""Careless environments, policies and data: arrays are copied, types checked, rewards and starts told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from cartpole import record, tiny_options
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv

from dyna_ail.algorithm import DynaAIL
from dyna_ail.cli import main
from dyna_ail.config import make_config
from dyna_ail.demos import Demonstrations, ExpertPairs, Trajectory
from dyna_ail.envs.recording import record_episodes
from dyna_ail.errors import EnvironmentFailure, InputError
from dyna_ail.guard import Guard
from dyna_ail.runs.display import worse_than_start
from dyna_ail.runs.evaluation import evaluate, make_environments, odd_starts
from dyna_ail.spaces import check_spaces


class InPlace(gymnasium.Wrapper):
    """Pendulum that doubles its action in place, and gives the same array of observations again and again."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.buffer = np.zeros(3, np.float32)

    def reset(self, **keywords: Any) -> Any:
        self.buffer[:], info = self.env.reset(**keywords)
        return self.buffer, info

    def step(self, action: np.ndarray) -> Any:
        action *= 2.0
        self.buffer[:], *rest = self.env.step(action)
        return (self.buffer, *rest)


class Declared(gymnasium.Wrapper):
    """CartPole whose space declares the type ``dtype``, and whose observations are ``value`` if that is given."""

    def __init__(self, env: gymnasium.Env, dtype: type, value: float | None = None) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 100, (4,), dtype)
        self.value = value

    def reset(self, **keywords: Any) -> Any:
        obs, info = self.env.reset(**keywords)
        return (obs if self.value is None else np.full(4, self.value)), info


class Paid(gymnasium.Wrapper):
    """CartPole that pays ``pay`` for every step, and begins as ``start`` says."""

    def __init__(self, env: gymnasium.Env, pay: float = 1.0, start: str = "by the seed") -> None:
        super().__init__(env)
        self.pay, self.start = pay, start
        self.made = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        obs, info = self.env.reset(seed=0 if self.start == "one" else seed)
        if self.start == "anywhere":
            self.env.unwrapped.state = tuple(0.05 * np.random.default_rng().normal(size=4))
            obs = np.array(self.env.unwrapped.state, np.float32)
        if self.start == "by its own generator":
            self.env.unwrapped.state = tuple(0.05 * self.made.normal(size=4))
            obs = np.array(self.env.unwrapped.state, np.float32)
        return obs, info

    def step(self, action: Any) -> Any:
        obs, _, *rest = self.env.step(action)
        return (obs, self.pay, *rest)


gymnasium.register("InPlace-v0", lambda **_: InPlace(PendulumEnv()), max_episode_steps=50)
gymnasium.register("TinilyPaid-v0", lambda **_: Paid(CartPoleEnv(), 1e-7), max_episode_steps=500)


# Arrays that others write to


def test_what_an_environment_writes_to_reaches_nobody():
    env = gymnasium.make("InPlace-v0")
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(50, 3)).astype(np.float32), rng.uniform(-1, 1, (50, 1)).astype(np.float32)
    learner = DynaAIL(env, ExpertPairs(obs, action), make_config("gail", steps_per_iteration=100)).learn(100)
    stored = learner.replay.data
    assert stored.action.abs().max() <= 1 and len(stored.action.unique()) > 50
    assert len(stored.obs.unique(dim=0)) == 100, "each observation is kept, not the array that the next one overwrites"
    assert (stored.next_obs[:-1] == stored.obs[1:]).all(-1).sum() == 98, "two episodes follow on within themselves"
    pairs = learner.expert[0].clone()
    obs[:] = 7
    assert (learner.expert[0] == pairs).all(), "the caller's arrays are the caller's"


def test_recorded_actions_are_those_of_the_policy():
    buffer = np.zeros(1, np.float32)

    def policy(obs: np.ndarray) -> np.ndarray:
        """Gives the same array every time, and writes over what it is given."""
        buffer[0] = 0.5 if obs[2] > 0 else -0.5
        obs[:] = 9
        return buffer

    (trajectory,), _ = record_episodes("InPlace-v0", policy, episodes=1, seed=0)
    assert set(np.unique(trajectory.action)) == {-0.5, 0.5}
    np.testing.assert_array_equal(trajectory.action[:, 0], np.where(trajectory.obs[:-1, 2] > 0, 0.5, -0.5))
    assert not (trajectory.obs == 9).any()


def test_a_trajectory_keeps_its_own_arrays():
    obs, action, reward = np.zeros((3, 4), np.float32), np.zeros(2, np.int64), np.zeros(2, np.float32)
    trajectory = Trajectory(obs, action, reward, False)
    obs[:], action[:], reward[:] = 1, 1, 1
    assert not (trajectory.obs.any() or trajectory.action.any() or trajectory.reward.any())


# Types that the space declares


@pytest.mark.parametrize(
    ("dtype", "value", "told"),
    [
        (np.int32, None, "which the type of its space, int32, changes to 0"),
        (np.int32, 0.5, "returned the observation 0.5, which the type of its space, int32, changes to 0"),
        (np.uint8, -1.0, "returned the observation -1.0, which the type of its space, uint8, changes to 255"),
        (np.uint8, 300.0, "returned the observation 300.0, which the type of its space, uint8, changes to 44"),
        (np.float32, 1e300, "returned the observation 1e\\+300, which the type of its space, float32, changes to inf"),
    ],
)
def test_values_that_the_declared_type_changes_are_refused(dtype: type, value: float | None, told: str):
    env = Guard(Declared(CartPoleEnv(), dtype, value))
    with pytest.raises(EnvironmentFailure, match=f"{told}.*Declare the space with a type that holds"):
        env.reset(seed=0)


@pytest.mark.parametrize("value", [3, 3.0, np.float64(3)])
def test_values_that_it_holds_come_in_the_declared_type(value: float):
    obs, _ = Guard(Declared(CartPoleEnv(), np.int32, value)).reset(seed=0)
    assert obs.dtype == np.int32 and (obs == 3).all()


# Rewards and references, which nothing learns from


def demonstrations(rewards: str, path: Path) -> Path:
    """CartPole's, with rewards that are ``good``, ``bad``, ``zero`` or ``absent``."""
    good = record()
    factor = {"good": 1.0, "bad": 0.01, "zero": 0.0, "absent": 0.0}[rewards]
    told = {"rewards": "none in the source; read as 0"} if rewards == "absent" else {}
    trajectories = tuple(Trajectory(t.obs, t.action, factor * t.reward, t.terminated) for t in good.trajectories)
    returns = {} if rewards in ("zero", "absent") else {"expert_return": 60 * factor}
    Demonstrations(trajectories, {"random_return": 20.0, **returns, **told}).save(path)
    return path


@pytest.mark.parametrize(
    ("rewards", "told"),
    [
        ("good", ""),
        ("bad", "the demonstrator's return, 0.6, is not above that of random actions, 20.0: there are no scores."),
        ("zero", "the return of the demonstrator is not known, since all recorded rewards are 0: there are no scores."),
        ("absent", "the return of the demonstrator is not known, since no rewards were recorded: there are no scores."),
    ],
)
def test_references_never_stop_a_training(rewards: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    gymnasium.register("Poled-v0", CartPoleEnv, max_episode_steps=500) if "Poled-v0" not in gymnasium.registry else None
    demos = demonstrations(rewards, tmp_path / "demos.npz")
    options = tiny_options(task="Poled-v0", interactions=0, demos=demos, out=tmp_path / "run")
    assert main(["train", *options, "--no-progress"]) == 0
    said = capsys.readouterr().err
    assert (told in said) if told else "scores" not in said
    with (tmp_path / "run" / "progress.csv").open(newline="") as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    assert np.isfinite(scores).all() == (rewards == "good")


@pytest.mark.parametrize(
    ("rewards", "level", "told"),
    [
        ("good", "ok", "Mean return 60.0"),
        ("bad", "error", "Worse than random: mean return 0.6"),
        ("zero", "ok", "All recorded rewards are 0"),
        ("absent", "ok", "No rewards were recorded"),
    ],
)
def test_a_check_tells_zero_absent_and_worse_than_random_apart(rewards: str, level: str, told: str, tmp_path: Path):
    from dyna_ail.checks import check_demonstrations

    found = Demonstrations.load(demonstrations(rewards, tmp_path / "demos.npz"))
    cut = tuple(Trajectory(t.obs, t.action, t.reward, True) for t in found.trajectories)  # whole episodes
    findings = check_demonstrations(Demonstrations(cut, found.metadata), "CartPole-v1")
    assert [f.level for f in findings if told in f.what] == [level], [f.what for f in findings]


def test_small_rewards_are_not_rounded_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from dyna_ail.formats import load

    env = make_environments("TinilyPaid-v0", 2)

    class Leaning:
        def predict(self, obs: np.ndarray, *_: Any, **__: Any) -> Any:
            return (obs[:, 2] > 0).astype(np.int64), None

    result = evaluate(Leaning(), env, episodes=2, seed=0)
    np.testing.assert_allclose(result.returns, 1e-7 * result.lengths, rtol=1e-6)

    def balance(obs: np.ndarray) -> np.ndarray:
        return np.array(int(obs[2] + 0.3 * obs[3] > 0))

    episodes, _ = record_episodes("TinilyPaid-v0", balance, episodes=2, seed=0)
    Demonstrations(episodes, {"random_return": 2e-6}).save(tmp_path / "demos.npz")
    found = load(tmp_path / "demos.npz", "TinilyPaid-v0", 1, 0)
    assert found.returns.mean() == pytest.approx(5e-5)
    options = tiny_options(task="TinilyPaid-v0", interactions=0, demos=tmp_path / "demos.npz", out=tmp_path / "run")
    assert main(["train", *options, "--no-progress"]) == 0
    assert "e-0" in capsys.readouterr().out, "the return is told in digits that show it"


# Starts that no seed decides, and results below the start


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("by the seed", ""),
        ("by its own generator", ""),  # which evaluations seed
        ("anywhere", "begins differently each time it is reset with the same seed"),
        ("one", "all 3 evaluation episodes begin with the same observation"),
    ],
)
def test_starts_that_no_seed_decides_are_told(start: str, told: str):
    environments = make_environments(lambda: Paid(CartPoleEnv(), start=start), 3)
    said = odd_starts(environments, seed=5)
    assert told in said and bool(told) == bool(said)


def test_a_result_below_the_start_is_told():
    def progress(*means: float) -> dict[str, np.ndarray]:
        return {"return_mean": np.array(means), "return_std": np.full(len(means), 10.0)}

    assert worse_than_start(progress(100.0, 95.0), episodes=10) == "", "within chance: 2 sqrt(2 * 100 / 10) = 8.9"
    assert worse_than_start(progress(100.0, 120.0), episodes=10) == ""
    assert worse_than_start(progress(100.0, 0.0), episodes=1) == "", "one episode tells nothing of chance"
    said = worse_than_start(progress(100.0, 300.0, 90.0), episodes=10)
    assert said.startswith("the result is worse than the start: return 90.0, and 100.0 at 0 interactions.")


# Bounds of actions, numbers and arguments of other kinds


@pytest.mark.parametrize(
    ("low", "high"), [(-3.4e38, 3.4e38), (-1e300, 1e300), (1e6, 1e6 + 0.01), (0.0, 1e-44)], ids=str
)
def test_bounds_that_single_precision_does_not_resolve_are_refused(low: float, high: float):
    space = spaces.Box(low, high, (1,), np.float64)
    with pytest.raises(InputError, match="component 0 of the actions goes from .*single precision"):
        check_spaces(spaces.Box(-1, 1, (2,)), space)


@pytest.mark.parametrize(("low", "high"), [(-1e6, 1e6), (-1e-3, 1e-3), (0.0, 5.0), (-1e30, 1e30), (1e6, 1e6 + 100)])
def test_bounds_that_it_resolves_are_taken(low: float, high: float):
    check_spaces(spaces.Box(-1, 1, (2,)), spaces.Box(low, high, (1,), np.float64))


def pairs() -> ExpertPairs:
    rng = np.random.default_rng(0)
    return ExpertPairs(rng.normal(size=(30, 4)), np.eye(2)[rng.integers(2, size=30)])


@pytest.mark.parametrize("answer", [False, np.False_, np.array(False), np.mean([1.0]) < 0], ids=repr)
def test_any_false_of_a_callback_stops(answer: Any):
    learner = DynaAIL(gymnasium.make("CartPole-v1"), pairs(), make_config("gail", steps_per_iteration=50))
    assert learner.learn(200, lambda _: answer).interactions == 0


@pytest.mark.parametrize("answer", [None, True, np.True_, 0, "", np.array(1.0)], ids=repr)
def test_nothing_else_does(answer: Any):
    learner = DynaAIL(gymnasium.make("CartPole-v1"), pairs(), make_config("gail", steps_per_iteration=50))
    assert learner.learn(100, lambda _: answer).interactions == 100


def test_numpy_numbers_and_lists_are_settings():
    plain = make_config(seed=3, **{"policy.hidden": (8, 8), "discount": 0.5, "planner.tail": False})
    assert plain == make_config(
        seed=np.int64(3), **{"policy.hidden": [np.int32(8), 8], "discount": np.float64(0.5), "planner.tail": np.False_}
    )
    assert type(plain.seed) is int
    with pytest.raises(InputError, match="must be whole; got 12.5"):
        DynaAIL(gymnasium.make("CartPole-v1"), pairs(), make_config()).learn(12.5)


@pytest.mark.parametrize(
    ("env", "data", "told"),
    [
        ("CartPole-v1", pairs, "env must be a gymnasium.Env; got 'CartPole-v1'. Make one first: gymnasium.make"),
        (lambda: gymnasium.make_vec("CartPole-v1", 2), pairs, "got the vector environment"),
        (
            lambda: gymnasium.make("CartPole-v1"),
            lambda: "demos.npz",
            r"Read the file: Demonstrations.load\('demos.npz'\)",
        ),
        (lambda: gymnasium.make("CartPole-v1"), lambda: Path("demos.npz"), "Demonstrations.load"),
    ],
)
def test_what_is_often_given_instead_is_told(env: Any, data: Any, told: str):
    with pytest.raises(InputError, match=told):
        DynaAIL(env() if callable(env) else env, data())


def test_a_learner_says_what_it_is():
    learner = DynaAIL(gymnasium.make("CartPole-v1"), pairs(), make_config())
    assert repr(learner) == "<DynaAIL: TRPOStep, MGAILPlanner; 0 of 30,000 interactions, 0 iterations>"
