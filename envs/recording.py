"""Recording episodes: deterministic demonstrations of a policy, and the returns of random actions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.demos import Demonstrations, Trajectory, check_place
from dyna_ail.envs.sb3_policy import Policy, Settings, actor
from dyna_ail.envs.tasks import BUNDLED, make_env, versions
from dyna_ail.errors import InputError, one_line
from dyna_ail.files import load_weights
from dyna_ail.guard import LONGEST, Guard

REFERENCE_EPISODES = 100
"""Episodes from which the returns of score 0 (random actions) and score 1 (expert) are measured."""
PROVENANCE = ("algorithm", "settings", "seed", "steps", "best_at", "command")
"""Entries of the expert's ``expert.json`` that the demonstrations keep, if they are there."""


def record_episodes(task: str, policy: Policy, episodes: int, seed: int) -> tuple[tuple[Trajectory, ...], list[int]]:
    """Full episodes of a policy.

    Args:
        task: Gymnasium id, or module:id.
        policy: gives the action for one observation [obs_dim].
        episodes: how many.
        seed: seed from which the episodes' reset seeds are drawn.

    Returns:
        The trajectories, and the seed of each one's reset.

    Raises:
        InputError: unknown task, fewer than one episode, or NaN or infinite values in an episode.
        EnvironmentFailure: the environment raised, hung, or returned what its spaces do not allow.
    """
    if episodes < 1:
        raise InputError(f"--episodes must be at least 1; got {episodes}.")
    env = Guard(make_env(task), longest=LONGEST)
    reset_seeds = _reset_seeds(seed, episodes)
    trajectories = []
    for reset_seed in reset_seeds:
        obs, _ = env.reset(seed=reset_seed)
        observations, actions, rewards, ended = [obs], [], [], False
        while not ended:
            action = np.array(policy(obs.copy()))  # copies: a policy may write over what it is given, and gives
            obs, reward, terminated, truncated, _ = env.step(action)
            observations.append(obs)
            actions.append(action)
            rewards.append(reward)
            ended = terminated or truncated
        trajectories.append(
            Trajectory(
                obs=np.asarray(observations, dtype=np.float32),
                action=np.asarray(actions),
                reward=np.asarray(rewards, dtype=np.float32),
                terminated=bool(terminated),
            )
        )
    env.close()
    return tuple(trajectories), reset_seeds


def read_expert(task: str, folder: Path) -> tuple[dict[str, Any], Policy]:
    """What is known about an expert (``expert.json``), and its deterministic policy. Runs no code from its files.

    Args:
        task: the task it must have been trained on.
        folder: written by :func:`dyna_ail.envs.experts.train_expert`.

    Raises:
        InputError: a missing or damaged expert, or one of another task.
    """
    try:
        about = json.loads((folder / "expert.json").read_text())
        if about["task"] != task:
            raise InputError(f"the expert in {str(folder)!r} was trained on {about['task']}, not on {task}.")
        env = make_env(task)
        with (folder / "policy.pth").open("rb") as file:
            weights = load_weights(file)
        policy = actor(weights, Settings(), env.observation_space, env.action_space)
        env.close()
        if about["observation_mean"] is None:
            return about, policy
        mean, variance = (np.asarray(about[f"observation_{name}"], dtype=np.float64) for name in ("mean", "variance"))
        if mean.shape != env.observation_space.shape or variance.shape != mean.shape:
            raise InputError(
                f"the expert in {str(folder)!r} cannot be used: observation_mean and observation_variance must hold "
                f"{env.observation_space.shape} numbers; got {mean.shape} and {variance.shape}."
            )
        scale = np.sqrt(variance + 1e-8)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"no expert in {str(folder)!r} ({error.filename} is missing): make one with `dyna-ail expert train`."
        ) from error
    except Exception as error:  # a damaged archive fails in torch, zipfile or pickle, each in its own way
        raise InputError(f"the expert in {str(folder)!r} cannot be read: {one_line(error)}") from error

    def normalised(obs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return policy(np.clip((obs - mean) / scale, -10.0, 10.0).astype(np.float32))  # as VecNormalize does

    return about, normalised


def record_demonstrations(
    task: str, expert: Path | None, out: Path, episodes: int = 25, seed: int = 0, thinned: int = 1
) -> Demonstrations:
    """Record full deterministic episodes of a trained expert and save them with their provenance.

    At least 100 episodes are played, even if fewer are to be kept. Their mean return is the return of score 1.

    Args:
        task: Gymnasium id, or module:id.
        expert: folder written by :func:`dyna_ail.envs.experts.train_expert`; the task's bundled one if None.
        out: the demonstration file (.npz) to write; an existing one is replaced.
        episodes: number of trajectories.
        seed: seed from which the episodes' reset seeds are drawn.
        thinned: keep every k-th pair of each episode; 1 keeps all.

    Returns:
        What was saved.

    Raises:
        InputError: unknown task, an expert that is missing or of another task, episodes or thinned below 1, or a file
            that cannot be written.
        EnvironmentFailure: as :func:`record_episodes`.
    """
    about, policy = read_expert(task, BUNDLED / task if expert is None else expert)
    if episodes < 1:
        raise InputError(f"--episodes must be at least 1; got {episodes}.")
    if thinned < 1:
        raise InputError(f"--thinned must be at least 1; got {thinned}.")
    check_place(out)
    played, reset_seeds = record_episodes(task, policy, max(episodes, REFERENCE_EPISODES), seed)
    returns = [trajectory.return_ for trajectory in played]
    random_mean, _ = random_return(task)
    given = "" if expert is None else f" --expert {shlex.quote(str(expert))}"
    metadata = {
        "task": task,
        "versions": versions(),
        "expert": {key: about[key] for key in PROVENANCE if key in about},
        "seed": seed,
        "reset_seeds": reset_seeds[:episodes],
        "returns": returns[:episodes],
        "expert_return": float(np.mean(returns)),
        "expert_std": float(np.std(returns)),
        "expert_episodes": len(returns),
        "random_return": random_mean,
        "random_episodes": REFERENCE_EPISODES,
        "deterministic": True,
        "command": f"dyna-ail demos record --task {task}{given} --episodes {episodes} --thinned {thinned} --seed {seed}"
        f" --out {shlex.quote(str(out))}",
    }
    demonstrations = Demonstrations(played[:episodes], metadata).subsample(thinned, np.random.default_rng(seed))
    demonstrations.save(out)
    return demonstrations


def random_return(task: str, episodes: int = REFERENCE_EPISODES, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the returns of uniformly random actions.

    Raises:
        InputError: unknown task.
        EnvironmentFailure: as :func:`record_episodes`.
    """
    env = Guard(make_env(task), longest=LONGEST)
    env.action_space.seed(seed)
    returns = []
    for reset_seed in _reset_seeds(seed, episodes):
        env.reset(seed=reset_seed)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    env.close()
    return float(np.mean(returns)), float(np.std(returns))


def _reset_seeds(seed: int, episodes: int) -> list[int]:
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(episodes)]
