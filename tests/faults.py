"""Faults that demonstrations have in practice, to be injected into sound ones; and sound ones of many tasks.

``python tests/faults.py`` prints how many of them ``dyna-ail demos check`` detects, and how often it is wrong about
sound data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from dyna_ail.checks import check_demonstrations
from dyna_ail.demos import Demonstrations, Trajectory
from dyna_ail.envs.tasks import TASKS

Policy = Callable[[np.ndarray], Any]
Change = Callable[[Trajectory], Trajectory]


def play(task: str, policy: Policy, seeds: Sequence[int], steps: int | None = None) -> Demonstrations:
    """Episodes of ``policy``, cut after ``steps``."""
    env, trajectories = gymnasium.make(task), []
    for seed in seeds:
        obs, action, reward, ended = [env.reset(seed=seed)[0]], [], [], False
        while not ended and len(action) != steps:
            action.append(policy(obs[-1]))
            next_obs, paid, terminated, truncated, _ = env.step(action[-1])
            obs, reward, ended = [*obs, next_obs], [*reward, paid], terminated or truncated
        actions = np.array(action, dtype=np.int64 if isinstance(action[0], int) else np.float32)
        arrays = np.array(obs, np.float32), actions, np.array(reward, np.float32)
        trajectories.append(Trajectory(*arrays, bool(terminated)))
    return Demonstrations(tuple(trajectories), {"task": task, "reset_seeds": list(seeds)})


def each(demos: Demonstrations, change: Change) -> Demonstrations:
    """Every trajectory changed."""
    return replace(demos, trajectories=tuple(change(trajectory) for trajectory in demos.trajectories))


def cut(trajectory: Trajectory, start: int, stop: int) -> Trajectory:
    """Steps ``start`` to ``stop``, as a piece of the episode."""
    stop = min(stop, trajectory.length)
    obs, steps = trajectory.obs[start : stop + 1], slice(start, stop)
    ends = trajectory.terminated and stop == trajectory.length
    return Trajectory(obs, trajectory.action[steps], trajectory.reward[steps], ends)


def without(trajectory: Trajectory, rows: slice) -> Trajectory:
    """Some steps left out."""
    kept = np.delete(np.arange(trajectory.length), rows)
    obs = trajectory.obs[[*kept, trajectory.length]]
    return Trajectory(obs, trajectory.action[kept], trajectory.reward[kept], trajectory.terminated)


def joined(a: Trajectory, b: Trajectory) -> Trajectory:
    """Two episodes as if they were one."""
    pairs = ((a.obs[:-1], b.obs), (a.action, b.action), (a.reward, b.reward))
    return Trajectory(*(np.concatenate(pair) for pair in pairs), b.terminated)


def late(trajectory: Trajectory) -> Trajectory:
    """Each row holds the action before."""
    return replace(trajectory, action=np.concatenate([trajectory.action[:1], trajectory.action[:-1]]))


def early(trajectory: Trajectory) -> Trajectory:
    """Each row holds the action after."""
    return replace(trajectory, action=np.concatenate([trajectory.action[1:], trajectory.action[-1:]]))


def times(factor: float, bound: float = np.inf) -> Change:
    """Actions multiplied, and clipped."""
    return lambda t: replace(t, action=np.clip(t.action * np.float32(factor), -bound, bound).astype(np.float32))


def standardised(demos: Demonstrations, seed: int | None = None) -> Demonstrations:
    """Observations by their own mean and deviation; with a seed, by those that another policy might have had."""
    obs = np.concatenate([trajectory.obs for trajectory in demos.trajectories])
    mean, std = obs.mean(0), obs.std(0) + 1e-8
    if seed is not None:
        rng = np.random.default_rng(seed)
        mean, std = mean + 0.7 * std * rng.normal(size=mean.shape), std * rng.uniform(0.5, 2, std.shape)
    return each(demos, lambda t: replace(t, obs=np.clip((t.obs - mean) / std, -10, 10).astype(np.float32)))


def columns(names: tuple[int, ...], value: float = 0.0) -> Change:
    """Components of the observation lost."""

    def lose(trajectory: Trajectory) -> Trajectory:
        obs = trajectory.obs.copy()
        obs[:, names] = value
        return replace(trajectory, obs=obs)

    return lose


def plus(demos: Demonstrations, *more: Trajectory) -> Demonstrations:
    """Further trajectories."""
    return replace(demos, trajectories=(*demos.trajectories, *more), metadata={})


@dataclass(frozen=True)
class Fault:
    """How sound demonstrations are spoilt, and what is found then."""

    inject: Callable[[Demonstrations], Demonstrations]
    level: str
    found: str
    """Part of the finding's text."""
    box: bool = False
    """Whether it takes continuous actions."""


FAULTS = {
    "late actions": Fault(lambda d: each(d, late), "error", "one row too late"),
    "early actions": Fault(lambda d: each(d, early), "error", "one row too early"),
    "halved actions": Fault(lambda d: each(d, times(0.5)), "error", "The actions are ", box=True),
    "tenth of the actions": Fault(lambda d: each(d, times(0.1)), "error", "The actions are ", box=True),
    "negated actions": Fault(lambda d: each(d, times(-1)), "error", "The actions are ", box=True),
    "standardised observations": Fault(standardised, "error", "look standardised"),
    "normalised observations": Fault(lambda d: standardised(d, seed=0), "error", "look standardised"),
    "reversed components": Fault(
        lambda d: each(d, lambda t: replace(t, obs=t.obs[:, ::-1])), "error", "does not follow the task's dynamics"
    ),
    "every second step": Fault(
        lambda d: each(d, lambda t: without(t, slice(1, None, 2))), "error", "does not follow the task's dynamics"
    ),
    "missing rows": Fault(
        lambda d: each(d, lambda t: without(t, slice(t.length // 2, t.length // 2 + 5))), "error", "observation jumps"
    ),
    "joined episodes": Fault(
        lambda d: replace(d, trajectories=(joined(*d.trajectories[:2]), *d.trajectories[2:]), metadata={}),
        "error",
        "observation jumps",
    ),
}
"""Those that can be told from observations and actions alone, in most tasks."""


def network(task: str, noise: float = 0.0) -> Policy:
    """A random network's actions; in most tasks a bad policy, but one that answers to what it observes."""
    env, rng = gymnasium.make(task), np.random.default_rng(0)
    low, high, width = env.action_space.low, env.action_space.high, env.observation_space.shape[0]
    first, second = rng.normal(size=(32, width)) / np.sqrt(width), rng.normal(size=(len(low), 32)) / 4

    def act(obs: np.ndarray) -> np.ndarray:
        mean = np.tanh(second @ np.tanh(first @ np.clip(obs, -10, 10) + 0.3))
        return np.clip(high * (mean + noise * rng.normal(size=mean.shape)), low, high).astype(np.float32)

    return act


def swing_up(obs: np.ndarray) -> np.ndarray:
    """Pendulum: gains energy, then holds."""
    cos, sin, speed = obs
    energy = speed**2 / 6 + 5 * (cos - 1)
    torque = -12 * np.arctan2(sin, cos) - 3 * speed if cos > 0.9 else -2 * np.sign(energy * speed)
    return np.clip([torque], -2, 2).astype(np.float32)


def reach(obs: np.ndarray) -> np.ndarray:
    """Reacher: pulls the fingertip to the target. The task's state cannot be restored from its observation."""
    cos_1, cos_2, sin_1, sin_2, _, _, speed_1, speed_2, dx, dy = obs
    angle = np.arctan2(sin_1, cos_1) + np.arctan2(sin_2, cos_2)
    outer = 0.11 * np.array([-np.sin(angle), np.cos(angle)])
    inner = outer + 0.1 * np.array([-sin_1, cos_1])
    torque = -20 * np.array([inner @ (dx, dy), outer @ (dx, dy)]) - 0.05 * np.array([speed_1, speed_2])
    return np.clip(torque, -1, 1).astype(np.float32)


# Found by random search: it balances, and earns 1,000 in every episode without a step.
STANDING = (
    (0.8, 0.4, -0.3, 0.7, 0.1, -0.18, -0.12, 0.12, 0.0, -0.34, -0.1, 0.1),
    (0.2, 0.4, -0.8, -0.1, -0.4, 0.08, -0.12, -0.06, -0.06, -0.32, 0.38, 0.5),
    (0.2, -1.1, -0.7, 0.0, -1.9, -0.24, 0.1, -0.24, -0.04, -0.1, -0.16, -0.2),
)


def stand(obs: np.ndarray) -> np.ndarray:
    """Hopper: stands still."""
    return np.clip(np.array(STANDING) @ (*obs, 1.0), -1, 1).astype(np.float32)


def sound() -> dict[str, Demonstrations]:
    """Sound recordings: the bundled ones, and of scripted or random policies in other tasks."""
    found = {task.id: Demonstrations.load(task.demos) for task in TASKS.values() if task.demos is not None}
    found["Pendulum-v1"] = play("Pendulum-v1", swing_up, range(10))
    found["Reacher-v5"] = play("Reacher-v5", reach, range(20))
    for task in ("HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Swimmer-v5", "Pusher-v5"):
        found[f"{task}, a network"] = play(task, network(task), range(10), steps=200)
        found[f"{task}, a noisy one"] = play(task, network(task, 0.3), range(10), steps=200)
    return {name: demos for name, demos in found.items() if demos.thinned == 1}


# True of these recordings of bad policies and of pieces, whatever else is found.
TRUE = ("by default", "hardly moves forward", "expert", "episodes are cut", "Worse than random")


def draw(demos: Demonstrations, rng: np.random.Generator, pieces: bool = False) -> Demonstrations:
    """One or four of the trajectories, or pieces of 3 to 100 steps of them; without the seeds of their resets."""
    count = int(rng.choice([1, 4]))
    drawn = [demos.trajectories[index] for index in rng.choice(len(demos.trajectories), count, replace=False)]
    if pieces:
        starts = [int(rng.integers(max(1, t.length - 100))) for t in drawn]
        drawn = [cut(t, start, start + int(rng.integers(3, 100))) for t, start in zip(drawn, starts, strict=True)]
    return Demonstrations(tuple(drawn), {"task": demos.metadata["task"]})


def main(draws: int) -> None:
    """Print the rates."""
    rng = np.random.default_rng(0)
    detected = {name: [0, 0] for name in FAULTS}
    for name, demos in sound().items():
        task, wrong = demos.metadata["task"], []
        for turn in range(draws):
            for finding in check_demonstrations(draw(demos, rng, pieces=turn % 2 == 1), task):
                if finding.level != "ok" and not any(text in finding.what for text in TRUE):
                    wrong.append(finding.what)
        row = []
        for fault, case in FAULTS.items():
            if case.box and demos.trajectories[0].action.dtype == np.int64:
                continue
            spoilt = case.inject(Demonstrations(demos.trajectories[:4], {"task": task}))
            found = any(case.found in f.what for f in check_demonstrations(spoilt, task) if f.level == case.level)
            detected[fault][0] += found
            detected[fault][1] += 1
            row += [] if found else [fault]
        print(
            f"{name}: {len(wrong)} wrong findings in {draws} draws {wrong}; missed: {', '.join(row) or 'none'}",
            flush=True,
        )
    for name, (found, tried) in detected.items():
        print(f"{name}: {found} of {tried}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
