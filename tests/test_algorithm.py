"""The loop: counted interactions, equal bits from equal seeds, no reward, named failures, and a small task learned."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dyna_ail.algorithm
import dyna_ail.learning
import dyna_ail.model_free
import dyna_ail.planners
from dyna_ail.algorithm import DynaAIL
from dyna_ail.config import PRESETS, Config, make_config, make_run_config, with_values
from dyna_ail.demos import ExpertPairs
from dyna_ail.errors import EnvironmentFailure, InputError, NonFiniteError
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.randomness import same
from dyna_ail.model_free import MODEL_FREE
from dyna_ail.model_free.mgail import MGAILStep
from dyna_ail.planners import PLANNERS
from dyna_ail.planners.interface import NoPlanner
from dyna_ail.planners.mgail import MGAILPlanner
from dyna_ail.runs.evaluation import evaluate

TASKS = ["CartPole-v1", "Hopper-v5"]
TINY: dict[str, Any] = {
    "interactions": 120,
    "steps_per_iteration": 50,
    "policy.hidden": (16,),
    "discriminator.hidden": (16,),
    "discriminator.updates": 3,
    "forward_model.hidden": (16,),
    "forward_model.min_updates": 3,
    "forward_model.max_updates": 3,
    "forward_model.ensemble": 2,
    "planner.critic.hidden": (16,),
    "model_free.updates": 3,
    "model_free.batch_size": 16,
    "model_free.horizon": 4,
    "planner.updates": 3,
    "planner.batch_size": 16,
    "planner.horizon": 4,
    "discriminator.expert_noise": 0.1,
    "cloning.updates": 2,
}


class Spy(gymnasium.Wrapper):
    """Counts steps, and replaces the reward."""

    def __init__(self, env: gymnasium.Env, reward: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(env)
        self.steps, self.invent = 0, reward

    def step(self, action: Any) -> Any:
        self.steps += 1
        obs, _, terminated, truncated, info = self.env.step(action)
        return obs, self.invent(), terminated, truncated, info


def _pairs(env: gymnasium.Env) -> ExpertPairs:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(40, env.observation_space.shape[0])).astype(np.float32)
    if isinstance(env.action_space, spaces.Discrete):
        return ExpertPairs(obs, np.eye(int(env.action_space.n), dtype=np.float32)[rng.integers(2, size=40)])
    return ExpertPairs(obs, rng.uniform(-1, 1, size=(40, env.action_space.shape[0])).astype(np.float32))


def _learner(task: str, preset: str = "dyna-ail", reward: Callable[[], float] = lambda: 0.0, **values: Any) -> DynaAIL:
    env = Spy(gymnasium.make(task), reward)
    return DynaAIL(env, _pairs(env), make_config(preset, TINY, **{"steps_per_iteration": 50, **values}))


def _bits(learner: DynaAIL) -> dict[str, Any]:
    """Every weight, statistic and optimiser of every part, and the last metrics but for the times."""
    parts = {
        "policy": learner.agent.policy,
        "average": learner.policy,
        "D": learner.discriminator,
        "f": learner.forward_model,
        "model_free": learner.model_free,
        "planner": learner.planner,
    }
    critic = getattr(learner.planner, "critic", None)
    if critic is not None:
        parts["critic"] = critic
    bits = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    metrics = {name: value for name, value in learner.metrics.items() if not name.startswith("seconds/")}
    return bits | {name: torch.tensor(value, dtype=torch.float64).nan_to_num(7) for name, value in metrics.items()}


def _differences(one: DynaAIL, other: DynaAIL) -> list[str]:
    a, b = _bits(one), _bits(other)
    assert a.keys() == b.keys()
    return [name for name in a if not same(a[name], b[name])]


# --- seeds ---


@pytest.mark.parametrize("task", TASKS)
def test_equal_seeds_give_equal_bits(task):
    one, same, other = (_learner(task, seed=seed).learn() for seed in (3, 3, 4))
    assert not _differences(one, same)
    changed = _differences(one, other)
    for part in ("policy.", "D.net", "f.members", "critic.online"):
        assert [name for name in changed if name.startswith(part)], f"{part} does not depend on the seed"


@pytest.mark.parametrize("values", [{"forward_model.architecture": "gru"}, {"cost": "airl"}], ids=["gru", "airl"])
def test_options_repeat_too(values):
    assert not _differences(*(_learner("CartPole-v1", **values).learn() for _ in range(2)))


def test_evaluation_in_between_changes_nothing():
    def look(learner: DynaAIL) -> None:
        evaluate(learner.policy, "CartPole-v1", episodes=2, seed=learner.iteration)

    assert not _differences(_learner("CartPole-v1").learn(), _learner("CartPole-v1").learn(callback=look))


FADING = {
    f"{part}.{name}": rate
    for part in ("discriminator", "model_free", "planner")
    for name, rate in (("learning_rate", 1e-3), ("final_learning_rate", 1e-5))
}


@pytest.mark.parametrize(
    "values", [{}, FADING, {"model_free.method": "mgail", **FADING}], ids=["constant", "fading", "mgail"]
)
def test_learning_on_is_learning_at_once(values):
    """Rates that fade follow the whole budget, 120, however many calls spend it."""

    def note(learner: DynaAIL) -> None:
        parts = [
            part for part in (learner.discriminator, learner.model_free, learner.planner) if hasattr(part, "optimizer")
        ]
        rates.append([part.optimizer.param_groups[0]["lr"] for part in parts])

    rates: list[list[float]] = []
    parts = _learner("CartPole-v1", **values).learn(50, note).learn(100, note)
    assert parts.interactions == 100 and parts.iteration == 2
    assert not _differences(parts, _learner("CartPole-v1", **values).learn(100))
    parts.learn(300, note)
    assert len(rates) == 7, "before the first iteration, and after each one"
    for one in zip(*rates, strict=True):
        assert list(one) == sorted(one, reverse=True), "a rate never rises again"
        assert one[-1] == pytest.approx(1e-5 if values else 3e-4), "beyond the budget it stays where it ended"
    if values:
        assert rates[2][0] == pytest.approx(1e-3 + 100 / 120 * (1e-5 - 1e-3))


# --- what is counted ---


def test_result_is_the_moving_average_of_the_acting_policy():
    learner = _learner("Hopper-v5", "dyna-ail", **{"policy.averaging": 0.25})
    expected = [p.detach().clone() for p in learner.agent.policy.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(expected, learner.policy.parameters(), strict=True))

    def watch(learner: DynaAIL) -> None:
        rate = 0.25 if learner.iteration else 1.0  # it starts at the cloned policy
        for slow, fast in zip(expected, learner.agent.policy.parameters(), strict=True):
            slow.add_(rate * (fast.detach() - slow))

    learner.learn(callback=watch)
    assert learner.iteration > 1
    for average, by_hand in zip(learner.policy.parameters(), expected, strict=True):
        torch.testing.assert_close(average, by_hand)
    assert not torch.equal(learner.policy.action_net.weight, learner.agent.policy.action_net.weight)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", ["dyna-ail", "gail", "model-based"])
def test_every_real_step_is_counted_and_planning_takes_none(task, preset):
    learner = _learner(task, preset)
    during_planning: list[int] = []
    improve = learner.planner.improve

    def watched(*arguments: Any) -> dict[str, float]:
        before = learner.rollout.env.steps
        metrics = improve(*arguments)
        during_planning.append(learner.rollout.env.steps - before)
        return metrics

    learner.planner.improve = watched  # type: ignore[method-assign]
    learner.learn()
    # 120 is not a multiple of 50: the last iteration is shorter, and the budget is spent exactly.
    assert learner.rollout.env.steps == learner.interactions == 120 and learner.iteration == 3
    assert during_planning == [0, 0, 0]
    assert learner.imagined == (0 if preset == "gail" else 3 * 3 * 16 * 4)


@pytest.mark.parametrize(
    ("model_free", "planner"), [pair for pair in itertools.product(MODEL_FREE, PLANNERS) if pair != ("none", "none")]
)
def test_every_cell_of_the_grid_learns_without_a_step_of_its_own(model_free, planner):
    learner = _learner("Hopper-v5", **{"model_free.method": model_free, "planner.method": planner})
    steps, moved = [], []

    def watched(phase: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
        def watch(*arguments: Any) -> dict[str, float]:
            before, weights = learner.rollout.env.steps, learner.agent.policy.action_net.weight.detach().clone()
            metrics = phase(*arguments)
            steps.append(learner.rollout.env.steps - before)
            moved.append(not torch.equal(weights, learner.agent.policy.action_net.weight))
            return metrics

        return watch

    learner.model_free.update = watched(learner.model_free.update)  # type: ignore[method-assign]
    learner.planner.improve = watched(learner.planner.improve)  # type: ignore[method-assign]
    learner.learn(100)
    assert steps == [0] * 4 and moved == 2 * [model_free != "none", planner != "none"]
    assert learner.rollout.env.steps == 100


def test_the_lines_of_algorithm_1_come_in_their_order():
    learner, came = _learner("Hopper-v5"), []
    lines = [
        (learner.rollout, "collect"),
        (learner.replay, "add"),
        (learner.discriminator, "update"),
        (learner.model_free, "update"),
        (learner.forward_model, "fit"),
        (learner.planner, "improve"),
    ]

    def watched(number: int, line: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (came.append(number), line(*arguments))[1]  # type: ignore[func-returns-value]

    for number, (part, name) in enumerate(lines, start=3):
        setattr(part, name, watched(number, getattr(part, name)))
    learner.learn(100)
    assert came == 2 * [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("budget", [1, 51, 99])
def test_any_budget_is_spent_exactly(budget):
    for task in TASKS:
        assert _learner(task).learn(budget).rollout.env.steps == budget


def test_cloning_takes_no_step():
    learner = _learner("Hopper-v5", "bc", **{"cloning.updates": 5}).learn()
    assert learner.rollout.env.steps == learner.interactions == learner.imagined == 0
    assert "cloning/loss" in learner.metrics


def test_callback():
    seen: list[tuple[int, int]] = []
    _learner("CartPole-v1").learn(callback=lambda learner: seen.append((learner.iteration, learner.interactions)))
    assert seen == [(0, 0), (1, 50), (2, 100), (3, 120)]
    assert _learner("CartPole-v1").learn(callback=lambda learner: learner.iteration < 2).interactions == 100
    assert _learner("CartPole-v1").learn(callback=lambda _: False).interactions == 0


def test_metrics_of_every_part():
    metrics = _learner("Hopper-v5").learn().metrics
    for name in ("discriminator/loss", "model_free/kl", "model/loss", "model/error_1", "model/error_4", "planner/cost"):
        assert np.isfinite(metrics[name]), name
    assert not [
        name for name in _learner("Hopper-v5", "gail").learn().metrics if name.startswith(("model/", "planner"))
    ]


# --- parts that are handed in ---


class CountingD(Discriminator):
    """D, which keeps what it was built with and how often it learns."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.given, self.calls = given, 0

    def update(self, *given: Any) -> dict[str, float]:
        self.calls += 1
        return super().update(*given)


class CountingModel(ForwardModel):
    """f, likewise."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.given, self.calls = given, 0

    def fit(self, *given: Any) -> dict[str, float]:
        self.calls += 1
        return super().fit(*given)


class CountingPhase(MGAILStep):
    """A model-free phase, likewise."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.given, self.calls = given, 0

    def update(self, *given: Any) -> dict[str, float]:
        self.calls += 1
        return super().update(*given)


class CountingPlanner(MGAILPlanner):
    """A planner, likewise."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.given, self.calls = given, 0

    def improve(self, *given: Any) -> dict[str, float]:
        self.calls += 1
        return super().improve(*given)


PARTS = {
    "discriminator": CountingD,
    "forward_model": CountingModel,
    "model_free": CountingPhase,
    "planner": CountingPlanner,
}


def test_parts_are_handed_in():
    """Whatever the settings name; they learn in their turn, as the package's own do."""
    env = gymnasium.make("CartPole-v1")
    config = make_config("dyna-ail", TINY, **{"model_free.method": "trpo", "planner.method": "trpo"})
    learner = DynaAIL(env, _pairs(env), config, **PARTS)
    for name, kind in PARTS.items():
        assert type(getattr(learner, name)) is kind
    D, f = learner.discriminator, learner.forward_model
    assert D.given[1:] == (config.discriminator, "gail") and f.given == (D.given[0], config.forward_model)
    assert learner.model_free.given == (learner.agent, D, f, config)
    assert learner.planner.given == (learner.agent, D, f, D.given[0], config)
    assert learner.rollout.discriminator is D and learner.planner.forward_model is f
    learner.learn()
    assert [getattr(learner, name).calls for name in PARTS] == [3, 3, 3, 3]
    own = make_config("dyna-ail", TINY, **{"model_free.method": "mgail", "planner.method": "mgail"})
    assert not _differences(learner, DynaAIL(env, _pairs(env), own).learn())


def test_a_phase_that_is_handed_in_says_whether_it_needs_the_model():
    env = gymnasium.make("CartPole-v1")
    none = DynaAIL(env, _pairs(env), make_config("dyna-ail", TINY), planner=NoPlanner)
    assert not none.uses_model and not [name for name in none.learn().metrics if name.startswith("model/")]
    both = DynaAIL(env, _pairs(env), make_config("dyna-ail", TINY), planner=NoPlanner, model_free=MGAILStep)
    assert both.uses_model and "model/loss" in both.learn(50).metrics


# --- what may not be seen ---


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("reward", [lambda: float("nan"), np.random.default_rng(0).normal], ids=["nan", "random"])
def test_the_reward_never_reaches_the_learner(task, reward):
    assert not _differences(_learner(task).learn(), _learner(task, reward=reward).learn())


@pytest.mark.parametrize("preset", ["dyna-ail", "dyna-mgail", "dyna-trpo"])
def test_what_is_hidden_never_reaches_the_learner(preset):
    def learner(hide: float) -> DynaAIL:
        kept = np.where(np.arange(11) < 5, 1, hide)
        env = gymnasium.make("Hopper-v5")
        env = gymnasium.wrappers.TransformObservation(env, lambda obs: obs * kept, env.observation_space)
        pairs = _pairs(env)
        pairs = dataclasses.replace(pairs, obs=(pairs.obs * kept).astype(np.float32))
        return DynaAIL(env, pairs, make_config(preset, TINY, seen=5)).learn()

    shown, hidden = learner(1.0), learner(0.0)
    assert not _differences(shown, hidden)
    assert shown.interactions == 120 and shown.policy.predict(np.ones(11, np.float32))[0].shape == (3,)
    assert not torch.equal(shown.replay.data.obs, hidden.replay.data.obs)


def test_more_seen_than_there_is():
    env = gymnasium.make("Hopper-v5")
    with pytest.raises(InputError, match="--seen must be at most 11, .*; got 12"):
        DynaAIL(env, _pairs(env), make_config(seen=12))


def test_a_preset_is_only_values():
    """A learner's settings have no preset, and no part of it asks for one by name."""
    run = make_run_config("dyna-ail", TINY)
    assert with_values(run, {"preset": "anything"}).learner == run.learner == make_config("dyna-ail", TINY)
    assert "preset" not in {field.name for field in dataclasses.fields(Config)}
    packages = [dyna_ail.learning, dyna_ail.model_free, dyna_ail.planners]
    files = [path for package in packages for folder in package.__path__ for path in Path(folder).glob("*.py")]
    assert len(files) > 20
    for file in [*files, Path(inspect.getfile(dyna_ail.algorithm))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr == "preset"), file
            assert not (isinstance(node, ast.Constant) and node.value in ("preset", "dyna-ail", "gail")), file


def test_which_presets_use_the_model():
    used = {preset for preset in PRESETS if _learner("CartPole-v1", preset).uses_model}
    assert used == {"dyna-ail", "model-based", "mgail", "dyna-mgail", "dyna-trpo"}


# --- failures ---


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("discriminator", "discriminator"),
        ("forward_model", "forward model"),
        ("critic", "critic"),
        ("policy", "policy"),
    ],
)
def test_what_is_not_finite_is_named(task, part, named):
    learner = _learner(task)

    def break_it(learner: DynaAIL) -> None:
        nets = {
            "discriminator": learner.discriminator.net,
            "forward_model": learner.forward_model.members,
            "critic": learner.planner.critic.online,  # type: ignore[attr-defined]
            "policy": learner.agent.policy.action_net,
        }
        if learner.iteration == 1:
            with torch.no_grad():
                next(nets[part].parameters()).fill_(torch.nan)

    with pytest.raises(NonFiniteError, match=named):
        learner.learn(callback=break_it)
    assert learner.iteration == 1


def test_a_world_that_blows_up_is_named():
    class Broken(gymnasium.ObservationWrapper):
        def observation(self, obs: np.ndarray) -> np.ndarray:
            return obs if self.env.get_wrapper_attr("steps") < 60 else obs * np.nan

    env = Spy(gymnasium.make("CartPole-v1"))
    with pytest.raises(EnvironmentFailure, match="observation became nan after 59 steps"):
        DynaAIL(Broken(env), _pairs(env), make_config("dyna-ail", TINY)).learn()
    assert env.steps == 60


def test_bad_input():
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(InputError, match="at least 0; got -1"):
        DynaAIL(env, _pairs(env), make_config("dyna-ail", TINY)).learn(-1)
    for space, message in (
        (spaces.MultiDiscrete([2, 2]), "MultiDiscrete"),
        (spaces.Box(-1, 1, (2,), np.int64), "must be of floats, got Box.*int64.*: round them in a wrapper"),
    ):
        env.action_space = space
        with pytest.raises(InputError, match=message):
            DynaAIL(env, _pairs(gymnasium.make("CartPole-v1")), Config())


# --- a small task ---


class Point(gymnasium.Env):
    """A point on a line, moved by ``0.3 a``, for 20 steps. It gives no reward."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.time = self.np_random.uniform(-1, 1), 0
        return np.array([self.position], np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.position, self.time = self.position + 0.3 * float(action[0]), self.time + 1
        return np.array([self.position], np.float32), 0.0, False, self.time >= 20, {}


@pytest.mark.parametrize("planner", PLANNERS)
def test_an_iteration_leaves_the_policy_its_noise(planner):
    def std(least: float) -> torch.Tensor:
        settings = {"planner.method": planner, "policy.initial_std": 0.1, "policy.least_std": least}
        return _learner("Hopper-v5", **settings).learn().agent.policy.log_std.exp()

    assert (std(0.0) < 0.15).all()
    assert (std(0.2) > 0.2 - 1e-6).all()


def test_the_noise_that_stays_is_not_the_planner_s():
    settings = {"planner.method": "none", "policy.initial_std": 0.1, "policy.least_std": 0.2}
    assert _learner("Hopper-v5", **settings).learn().metrics["policy/planner_kl"] == 0


class Double(Point):
    """The same, with actions of double precision."""

    action_space = spaces.Box(-1, 1, (1,), np.float64)


@pytest.mark.parametrize("preset", PRESETS)
def test_actions_of_double_precision_change_nothing(preset):
    config = make_config(preset, TINY, **{"cloning.updates": 20})
    learners = [DynaAIL(env, _pairs(env), config).learn() for env in (Point(), Double())]
    assert not _differences(*learners)
    # Everything a checkpoint holds, too: it is read back as float32.
    rows = [learner.rollout.collect(3) for learner in learners]
    assert rows[0].drawn.dtype == rows[1].drawn.dtype == torch.float32


def _drive(position: np.ndarray) -> np.ndarray:
    """The expert: a linear controller to the origin."""
    return np.clip(-1.5 * position, -0.9, 0.9).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
def test_planning_imitates_a_controller(seed):
    env, obs, action = Point(), [], []
    for episode in range(10):
        position, _ = env.reset(seed=100 + episode)
        for _ in range(20):
            obs.append(position)
            action.append(_drive(position))
            position = env.step(action[-1])[0]
    config = make_config(
        "model-based",
        seed=seed,
        interactions=1000,
        steps_per_iteration=200,
        discount=0.95,
        **{
            "policy.hidden": (32, 32),
            "discriminator.hidden": (32, 32),
            "discriminator.batch_size": 64,
            "discriminator.learning_rate": 1e-3,
            "forward_model.hidden": (32, 32),
            "forward_model.batch_size": 64,
            "planner.critic.hidden": (32, 32),
            "planner.horizon": 5,
            "planner.batch_size": 64,
            "planner.learning_rate": 1e-3,
        },
    )

    def distances(learner: DynaAIL) -> tuple[float, float]:
        """Mean distance of the actions from the expert's, and of the end of an episode from the origin."""
        position = np.linspace(-1, 1, 41, dtype=np.float32)[:, None]
        actions = np.abs(learner.policy.predict(position, deterministic=True)[0] - _drive(position)).mean()
        for _ in range(20):
            position = position + np.float32(0.3) * learner.policy.predict(position, deterministic=True)[0]
        return float(actions), float(np.abs(position).mean())

    learner = DynaAIL(Point(), ExpertPairs(np.array(obs), np.array(action)), config)
    before = distances(learner)
    after = distances(learner.learn())
    assert before[0] > 0.5 and before[1] > 0.4, "it must have something to learn"
    assert after[0] < 0.25 and after[1] < 0.15


def test_pairs_of_another_task_are_refused():
    env = gymnasium.make("Hopper-v5")
    obs, action = np.zeros((5, 11), np.float32), np.zeros((5, 3), np.float32)
    for pairs, message in (
        (ExpertPairs(obs[:, :4], action), "widths"),
        (ExpertPairs(obs, action[:, :2]), "widths"),
        (ExpertPairs(obs, action + 9), "bounds"),
    ):
        with pytest.raises(InputError, match=message):
            DynaAIL(env, pairs, Config())
    soft = ExpertPairs(obs[:, :4], np.full((5, 2), 0.5, np.float32))
    with pytest.raises(InputError, match="one-hot"):
        DynaAIL(gymnasium.make("CartPole-v1"), soft, Config())


def test_a_budget_that_nothing_learns_from_is_refused():
    learner = _learner("CartPole-v1", "bc", interactions=0)
    with pytest.raises(InputError, match="nothing would learn from 100 interactions: --model_free.method is none"):
        learner.learn(100)
    with pytest.raises(InputError, match="at least 0"):
        learner.learn(-1)
    assert learner.interactions == 0
    still = {"model_free.method": "mgail", "model_free.updates": 0, "planner.updates": 0}
    learner = _learner("CartPole-v1", interactions=0, **still)
    said = (
        r"--model_free.method is mgail \(--model_free.updates 0\) and --planner.method is mgail \(--planner.updates 0\)"
    )
    with pytest.raises(InputError, match=f"nothing would learn from 100 interactions: {said}"):
        learner.learn(100)
    assert learner.interactions == 0 and not learner.started


def test_cloning_comes_once():
    learner = _learner("CartPole-v1", "dyna-ail", **{"cloning.updates": 2})
    cloned = learner.learn(0).metrics
    learner.learn(50)
    assert "cloning/loss" in cloned and "cloning/loss" not in learner.metrics and learner.iteration == 1
