"""The random generators of an environment and its wrappers: all are found, saved as plain values, and go on exactly."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from test_rollout import Dice, Interrupted, _rollout

from dyna_ail.algorithm import DynaAIL
from dyna_ail.config import make_config
from dyna_ail.demos import ExpertPairs
from dyna_ail.learning.randomness import LARGE, Generator, find_generators, same, set_states, states_of

KINDS: dict[str, tuple[Callable[[int], Generator], Callable[[Any], float]]] = {
    "PCG64": (np.random.default_rng, lambda g: g.normal()),
    "MT19937": (lambda seed: np.random.Generator(np.random.MT19937(seed)), lambda g: g.normal()),
    "Philox": (lambda seed: np.random.Generator(np.random.Philox(seed)), lambda g: g.normal()),
    "SFC64": (lambda seed: np.random.Generator(np.random.SFC64(seed)), lambda g: g.normal()),
    "RandomState": (np.random.RandomState, lambda g: g.normal()),
    "random": (random.Random, lambda g: g.gauss(0, 1)),
    "torch": (lambda seed: torch.Generator().manual_seed(seed), lambda g: torch.randn((), generator=g).item()),
}
"""How each kind of generator is made with a seed, and what it is asked for here."""


class Wrapped(gymnasium.Wrapper):
    """A wrapper with attributes of its own."""

    def __init__(self, env: gymnasium.Env, **attributes: Any) -> None:
        super().__init__(env)
        vars(self).update(attributes)


def _through_a_file(states: dict[str, Any]) -> dict[str, Any]:
    """The states as they come back from a checkpoint, which holds no code."""
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _restored(kind: str) -> str:
    """What is wrong with a generator of this kind that was saved after 3 draws."""
    make, draw = KINDS[kind]
    generator, other = make(1), make(2)
    for _ in range(3):  # an odd number: some keep half a draw for the next
        draw(generator)
    states = _through_a_file(states_of({"it": generator}))
    expected = [draw(generator) for _ in range(5)]
    if not set_states({"it": other}, states):
        return f"{kind} was refused"
    return "" if [draw(other) for _ in range(5)] == expected else f"{kind} goes on otherwise"


def test_every_kind_of_generator_goes_on_from_a_file():
    assert not [said for kind in KINDS if (said := _restored(kind))]


def test_generators_are_found_in_wrappers_and_in_what_they_hold():
    env = Wrapped(
        Wrapped(gymnasium.make("CartPole-v1"), outer=SimpleNamespace(noise=[{"deep": np.random.default_rng(0)}])),
        own=random.Random(0),
        several=(torch.Generator(), np.random.RandomState(0)),
        by_name={"skip": np.random.default_rng(1)},
        words="text",
        numbers=np.zeros(3),
    )
    env.reset(seed=0)
    ways = list(find_generators(env))
    assert {"0.own", "0.several.0", "0.several.1", "0.by_name.skip", "1.outer.noise.0.deep"} <= set(ways)
    depth = next(n for n, layer in enumerate(_layers(env)) if layer is env.unwrapped)
    assert f"{depth}._np_random" in ways
    assert find_generators(env)["0.own"] is env.own
    env.action_space.seed(3)
    assert any("action_space" in way for way in find_generators(env))


def _layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    return [env, *(_layers(env.env) if isinstance(env, gymnasium.Wrapper) else [])]


def test_what_is_not_looked_into():
    """Data, classes and what lies too deep; and each generator is found once, around a circle as well."""
    shared = np.random.default_rng(0)
    circle: dict[str, Any] = {"itself": None, "shared": shared}
    circle["itself"] = circle
    deep: Any = np.random.default_rng(1)
    for _ in range(6):
        deep = [deep]
    data = [np.random.default_rng(2)] * (LARGE + 1)
    kind = type("Kind", (), {"generator": np.random.default_rng(3)})
    env = Wrapped(Dice(), shared=shared, circle=circle, deep=deep, data=data, kind=kind, module=np.random)
    assert list(find_generators(env).values()) == [shared]


def test_states_that_do_not_fit_are_told():
    """Those that fit are restored all the same."""
    for states in (
        {},
        {"a": _state("PCG64")},
        {"a": _state("PCG64"), "b": _state("PCG64"), "c": _state("PCG64")},
        {"a": _state("PCG64"), "b": _state("MT19937")},
        {"a": _state("PCG64"), "b": _state("torch")},
        {"a": _state("PCG64"), "b": None},
        {"a": _state("PCG64"), "b": {}},
        {"a": _state("PCG64"), "b": {"bit_generator": "PCG64"}},
    ):
        found = {"a": np.random.default_rng(8), "b": np.random.default_rng(9)}
        assert not set_states(found, states), states
        if "a" in states:
            assert found["a"].random() == np.random.default_rng(5).random()
    wrong = []
    for kind, (make, _) in KINDS.items():
        for other in KINDS:
            if set_states({"it": make(0)}, {"it": _state(other)}) != (kind == other):
                wrong.append((kind, other))
    assert wrong == [("MT19937", "RandomState")], "whose bits are drawn in the same way"


def _state(kind: str) -> Any:
    return states_of({"it": KINDS[kind][0](5)})["it"]


def test_same():
    ones = torch.ones(2)
    equal = [
        (1, 1.0),
        ({"a": [ones, (1, None)]}, {"a": [torch.ones(2), (1, None)]}),
        ((), ()),
        ("text", "text"),
    ]
    other = [
        (1, 2),
        (ones, 1),
        (1, ones),
        (ones, torch.ones(3)),
        ([ones], [2 * ones]),
        ([ones], [ones, ones]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        (None, 0),
    ]
    assert not [pair for pair in equal if not same(*pair)]
    assert not [pair for pair in other if same(*pair)]


# --- of wrappers, in a rollout that is interrupted and goes on ---


class Skips(gymnasium.Wrapper):
    """Repeats an action once or twice, by its own generator, which no reset seeds again."""

    def __init__(self, env: gymnasium.Env, generator: Generator, draw: Callable[[Any], float]) -> None:
        super().__init__(env)
        self.generator, self.draw = generator, draw

    def step(self, action: Any) -> Any:
        found = self.env.step(action)
        over = found[2] or found[3]
        return self.env.step(action) if self.draw(self.generator) > 0 and not over else found


class Noisy(gymnasium.ObservationWrapper):
    """Adds noise to what is seen, from a generator within an object within a list."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.sensors = [SimpleNamespace(generator=np.random.default_rng(77))]

    def observation(self, obs: np.ndarray) -> np.ndarray:
        return obs + np.float32(self.sensors[0].generator.normal())


class Randomised(gymnasium.Wrapper):
    """Draws how strong actions are at each reset: domain randomisation."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.random, self.strength = random.Random(5), 1

    def reset(self, **options: Any) -> Any:
        self.strength = self.random.randrange(1, 4)
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        obs, *rest = self.env.step(action)
        return obs * np.float32(self.strength), *rest


class Quiet(gymnasium.Env):
    """Draws nothing: observation and end follow from the actions and their number."""

    observation_space, action_space = Dice.observation_space, spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.total, self.time = 0.0, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.total, self.time = self.total + action, self.time + 1
        return np.array([self.total], np.float32), 0.0, self.time >= 6, False, {}


WORLDS: dict[str, Callable[[], gymnasium.Env]] = {
    "skips": lambda: Skips(Quiet(), *_seeded("PCG64")),
    "skips by random": lambda: Skips(Dice(), *_seeded("random")),
    "skips by torch": lambda: Skips(Dice(), *_seeded("torch")),
    "skips by RandomState": lambda: Skips(Dice(), *_seeded("RandomState")),
    "noise": lambda: Noisy(Dice()),
    "domains": lambda: Randomised(Quiet()),
    "all": lambda: Noisy(Randomised(Skips(Dice(), *_seeded("MT19937")))),
}


def _seeded(kind: str) -> tuple[Generator, Callable[[Any], float]]:
    make, draw = KINDS[kind]
    return make(6), draw


def _observed(world: Callable[[], gymnasium.Env], stop: int | None) -> tuple[bool, list[float]]:
    """Whether a rollout that stopped there was exactly restored, and what it saw in 40 steps."""

    def interrupt() -> None:
        if rollout.interactions == stop:
            raise Interrupted

    exact, rollout = True, _rollout(world(), discrete=True)  # type: ignore[arg-type]
    try:
        got = rollout.collect(40, interrupt)
    except Interrupted:
        state = _through_a_file(rollout.state_dict())
        rollout = _rollout(world(), discrete=True)  # type: ignore[arg-type]
        exact = rollout.load_state_dict(state)
        got = rollout.collect(40)
    return exact, got.transitions.next_obs.flatten().tolist()


@pytest.mark.parametrize("name", WORLDS)
def test_a_wrapper_s_randomness_is_restored_between_and_within_episodes(name):
    world = WORLDS[name]
    _, whole = _observed(world, None)
    assert len(set(whole)) > 6
    assert not [stop for stop in range(40) if _observed(world, stop) != (True, whole)]


def normalised() -> DynaAIL:
    """A learner whose environment normalises observations by their running mean, over all episodes."""
    env = gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))
    rng = np.random.default_rng(0)
    pairs = ExpertPairs(rng.normal(size=(40, 4)), np.eye(2)[rng.integers(2, size=40)])
    return DynaAIL(env, pairs, make_config("gail", steps_per_iteration=50))


def test_running_means_of_wrappers_are_brought_back():
    between: list[int] = []
    whole = normalised()

    def watch() -> None:
        if whole.rollout.state_dict()["obs"] is None:
            between.append(whole.interactions)

    weights = whole.learn(150, before_step=watch).policy.state_dict()
    stops = [at for at in between if 0 < at < 150]
    assert len(stops) > 2
    for at in (stops[0], stops[0] + 3, stops[-1]):
        stopped, states = normalised(), []

        def stop(stopped: DynaAIL = stopped, states: list[Any] = states, at: int = at) -> None:
            if stopped.interactions == at:
                states.append(stopped.state_dict())
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stopped.learn(150, before_step=stop)
        resumed = normalised()
        assert resumed.load_state_dict(states[0])
        assert same(dict(resumed.learn(150).policy.state_dict()), dict(weights)), at
