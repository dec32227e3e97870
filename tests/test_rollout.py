"""Real trajectories: what is recorded of a scripted environment, step by step."""

from __future__ import annotations

import io
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from dyna_ail.learning.rollout import RealRollout

OBS = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Script(gymnasium.Env):
    """Observation = 100 * episode + step; episodes end as told: 't'erminated, 'c'ut or 'b'oth, after so many steps."""

    def __init__(self, action_space: spaces.Space, *ends: tuple[int, str]) -> None:
        self.observation_space, self.action_space, self.ends = OBS, action_space, ends
        self.episode, self.seeds, self.received = -1, [], []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.episode, self.time = self.episode + 1, 0
        self.seeds.append(seed)
        self.buffer = np.array([100 * self.episode], np.float32)
        return self.buffer, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.received.append(action)
        self.time += 1
        self.buffer += 1  # some environments hand out the same array again and again
        length, how = self.ends[self.episode]
        over = self.time == length
        return self.buffer, 1e9, over and how in "tb", over and how in "cb", {}


class Echo:
    """A policy whose action is its noise: known, and often out of bounds."""

    def __init__(self, discrete: bool) -> None:
        self.discrete, self.encoded_dim = discrete, 3 if discrete else 2

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return 2 * torch.randn(*shape, self.encoded_dim, generator=generator)

    def reparameterise(self, obs: Tensor, noise: Tensor) -> Tensor:
        return torch.eye(3)[noise.argmax(-1)] if self.discrete else noise


def _rollout(env: Script, discrete: bool, judge: Any = None, lost_after: int = 0) -> RealRollout:
    generator = torch.Generator().manual_seed(0)
    return RealRollout(env, Echo(discrete), judge, lost_after, 11, generator)  # type: ignore[arg-type]


def test_records_what_happened():
    env = Script(spaces.Discrete(3), (2, "t"), (3, "c"), (1, "b"), (9, "c"))
    rollout = _rollout(env, discrete=True)
    got = rollout.collect(7)
    real = got.transitions
    assert real.obs.flatten().tolist() == [0, 1, 100, 101, 102, 200, 300]
    assert real.next_obs.flatten().tolist() == [1, 2, 101, 102, 103, 201, 301], "the last state, not the reset's"
    assert real.terminated.tolist() == [False, True, False, False, False, True, False]
    assert real.truncated.tolist() == [False, False, False, False, True, False, False], (
        "over is over, also at the limit"
    )
    assert got.episode_start.tolist() == [True, False, True, False, False, True, True]
    assert env.seeds == [11, None, None, None]
    assert rollout.interactions == 7 == len(env.received)
    assert torch.equal(got.drawn, real.action)
    assert env.received == real.action.argmax(-1).tolist()


def test_takes_up_the_episode_where_it_was_left():
    env = Script(spaces.Discrete(3), (5, "c"), (9, "c"))
    rollout = _rollout(env, discrete=True)
    rollout.collect(3)
    second = rollout.collect(4)
    assert second.transitions.obs.flatten().tolist() == [3, 4, 100, 101]
    assert second.episode_start.tolist() == [False, False, True, False]
    assert rollout.interactions == 7 and env.seeds == [11, None]


def test_box_actions_are_clipped_for_the_environment_alone():
    space = spaces.Box(np.array([-2, 0], np.float32), np.array([1, 4], np.float32))
    env = Script(space, (99, "c"))
    got = _rollout(env, discrete=False).collect(50)
    assert (got.drawn != got.transitions.action).any()
    np.testing.assert_array_equal(got.transitions.action, np.clip(got.drawn.numpy(), space.low, space.high))
    np.testing.assert_array_equal(np.stack(env.received), got.transitions.action)
    assert all(space.contains(action) for action in env.received)


@pytest.mark.parametrize("before", [1, 3])  # within the segment, and at its start
def test_an_exception_in_the_midst_of_a_step_ends_the_episode(before: int):
    """As when the user of a notebook presses stop: the environment has moved, but nobody has seen where to."""
    env = Script(spaces.Discrete(3), (9, "c"), (9, "c"))
    rollout = _rollout(env, discrete=True)
    rollout.collect(2)
    step = env.step

    def interrupted(action: Any) -> Any:
        if len(env.received) == before + 1:
            env.step = step
            step(action)
            raise KeyboardInterrupt
        return step(action)

    env.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        rollout.collect(4)
    got = rollout.collect(4)
    assert got.transitions.obs.flatten().tolist() == ([100, 101, 102, 103] if before == 1 else [2, 3, 100, 101])
    assert got.episode_start.nonzero().flatten().tolist() == [0 if before == 1 else 2]
    assert got.transitions.truncated.nonzero().flatten().tolist() == ([] if before == 1 else [1])
    assert rollout.interactions == 6


def test_an_exception_after_a_step_ends_the_episode():
    """It is counted, but what it led to has been lost."""
    env, asked = Script(spaces.Discrete(3), (9, "c"), (9, "c")), []

    def judge(obs: Tensor, action: Tensor) -> Tensor:
        asked.append(obs.item())
        if len(asked) == 3:
            raise KeyboardInterrupt
        return torch.zeros(1)

    rollout = _rollout(env, True, judge, 2)
    with pytest.raises(KeyboardInterrupt):
        rollout.collect(4)
    got = rollout.collect(4)
    assert got.transitions.obs.flatten().tolist() == [0, 1, 100, 101]
    assert got.transitions.truncated.nonzero().flatten().tolist() == [1]
    assert rollout.interactions == 5 == len(env.received)


def test_an_episode_of_which_d_is_sure_is_cut():
    """By the mean of the newest three of its own pairs; not where the environment ends it itself."""
    judged = {0: 0.9, 1: 0.9, 2: 1.0, 3: 0.99, 100: 1.0, 101: 1.0, 200: 1.0, 201: 1.0, 202: 1.0, 300: 0.95}
    env = Script(spaces.Discrete(3), (9, "c"), (2, "t"), (3, "t"), (9, "c"))
    rollout = _rollout(env, True, lambda obs, action: torch.tensor([judged.get(int(obs), 0.95)]), 3)
    got = rollout.collect(12)
    real = got.transitions
    assert real.obs.flatten().tolist() == [0, 1, 2, 3, 100, 101, 200, 201, 202, 300, 301, 302]
    assert real.truncated.nonzero().tolist() == [[3]] and real.terminated.nonzero().flatten().tolist() == [5, 8]
    assert got.episode_start.nonzero().flatten().tolist() == [0, 4, 6, 9]
    assert rollout.lost == 1


def test_d_judges_the_actions_that_the_environment_received():
    space, seen = spaces.Box(-np.ones(2, np.float32), np.ones(2, np.float32)), []

    def judge(obs: Tensor, action: Tensor) -> Tensor:
        seen.append((obs, action))
        return torch.zeros(len(obs))

    real = _rollout(Script(space, (99, "c")), False, judge, 5).collect(20).transitions
    assert torch.equal(torch.cat([obs for obs, _ in seen]), real.obs)
    assert torch.equal(torch.cat([action for _, action in seen]), real.action)


class Dice(gymnasium.Env):
    """Everything is drawn from Gymnasium's generator: where an episode starts, how it goes, when it ends."""

    observation_space, action_space = OBS, spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.total = self.np_random.normal()
        return np.array([self.total], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.total += action * self.np_random.normal()
        return np.array([self.total], np.float32), 0.0, self.np_random.random() < 0.2, self.np_random.random() < 0.1, {}


class Foreign(Dice):
    """Dice with a generator of another kind, whose state holds arrays."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self.np_random = np.random.Generator(np.random.MT19937(seed))
        return super().reset()


class Hidden(Dice):
    """Dice with a generator where nobody finds it, in a function."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            generator = np.random.Generator(np.random.MT19937(seed))
            self.find = lambda: generator
        return super().reset()

    @property
    def np_random(self) -> np.random.Generator:
        return self.find()


class Interrupted(Exception):
    """Raised before a step."""


def _interrupted(env: gymnasium.Env, at: int) -> tuple[dict[str, Any], Tensor]:
    """The state of a rollout of segments of 20 steps before step ``at``, read back from a file; that of its draws."""

    def interrupt() -> None:
        if rollout.interactions == at:
            raise Interrupted

    rollout = _rollout(env, discrete=True)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        list(map(rollout.collect, [20] * 9, [interrupt] * 9))
    file = io.BytesIO()
    torch.save(rollout.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True), rollout.generator.get_state()


def _collect(world: type[gymnasium.Env], stops: list[int]) -> list[Tensor]:
    """Three segments of 20 steps, by as many rollouts one after the other as it takes with these interruptions."""
    state, draws, segments = None, torch.empty(0), []
    for stop in [*stops, None]:
        # D is sure of two in three pairs; three of these in a row and the episode is lost.
        rollout = _rollout(world(), True, lambda obs, _: (10 * obs[:, 0]).int() % 3 != 0, 3)  # type: ignore[arg-type]
        if state is not None:
            assert rollout.load_state_dict(state)
            rollout.generator.set_state(draws)

        def interrupt(rollout: RealRollout = rollout, stop: int | None = stop) -> None:
            if rollout.interactions == stop:
                raise Interrupted

        try:
            while len(segments) < 3:
                segments.append(rollout.collect(20, interrupt))
        except Interrupted:
            state, draws = rollout.state_dict(), rollout.generator.get_state()
    assert rollout.interactions == 60, "repeated steps are not counted again"
    parts = [(*vars(segment.transitions).values(), segment.drawn, segment.episode_start) for segment in segments]
    return [*(torch.cat(column) for column in zip(*parts, strict=True)), torch.tensor(rollout.lost)]


@pytest.mark.parametrize("world", [Dice, Foreign])
def test_a_rollout_goes_on_from_any_step_as_if_nothing_had_been(world: type[gymnasium.Env]):
    whole = _collect(world, [])
    assert whole[3].sum() > 5 and whole[4].sum() > whole[-1] > 2, "too few episodes to tell"
    for stops in [[i] for i in range(60)] + [list(range(60)), [0, 0, 1, 1, 20, 20, 41]]:
        for column, expected in zip(_collect(world, stops), whole, strict=True):
            assert torch.equal(column, expected), stops


class Strict(Script):
    """Takes no step after an episode's end; an episode is shorter than the one before."""

    def __init__(self) -> None:
        super().__init__(spaces.Discrete(3), *((length, "t") for length in range(9, 0, -1)), *[(5, "t")] * 9)
        self.over = True

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.over = False
        return super().reset(**options)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert not self.over, "stepped after the end"
        obs, reward, self.over, truncated, info = super().step(action)
        return obs, reward, self.over, truncated, info


@pytest.mark.parametrize("done", [5, 20, 32])
def test_an_episode_that_goes_otherwise_is_cut(done: int):
    """Its last step counts as cut by a time limit, and the next one opens an episode."""
    state, draws = _interrupted(Strict(), done)
    env = Strict()
    for _ in range(6):  # so that its next episodes end before the actions do
        env.reset()
    again = _rollout(env, discrete=True)
    assert not again.load_state_dict(state)
    again.generator.set_state(draws)
    assert again.interactions == done
    got, before = again.collect(20), done % 20
    assert again.interactions == done - before + 20
    assert got.episode_start[before]
    if before:
        assert got.transitions.truncated[before - 1] and not got.transitions.terminated[before - 1]


def test_a_generator_that_is_not_found_is_left_alone():
    """The first episode, which begins with the seed, can be repeated; a later one cannot."""
    exact = [_rollout(Hidden(), discrete=True).load_state_dict(_interrupted(Hidden(), at)[0]) for at in range(40)]  # type: ignore[arg-type]
    end = exact.index(False)
    assert end > 1 and not any(exact[end:])


class Nervous(Dice):
    """Counts its steps, and draws from its generator as often as nobody can tell."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.total = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.total += 1
        self.np_random.random(np.random.default_rng().integers(1 << 20))
        return np.array([self.total], np.float32), 0.0, False, False, {}


def test_a_generator_that_is_elsewhere_is_seen():
    """It looks as before, but will not go on as before."""
    state, _ = _interrupted(Nervous(), 7)
    assert not _rollout(Nervous(), discrete=True).load_state_dict(state)  # type: ignore[arg-type]
