"""Experts: train one with TRPO on the true reward, and record its deterministic demonstrations.

An expert is a folder with ``policy.zip`` (SB3) and ``expert.json`` (provenance and the observation statistics by
which the policy's inputs are normalised). Both are rewritten whenever an evaluation beats all earlier ones.
"""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dyna_ail.demonstrations import Demonstrations, Trajectory
from dyna_ail.envs.tasks import make_env
from dyna_ail.errors import InputError
from dyna_ail.spaces import check_spaces

if TYPE_CHECKING:
    from sb3_contrib import TRPO
    from stable_baselines3.common.running_mean_std import RunningMeanStd
    from stable_baselines3.common.vec_env import VecNormalize

MUJOCO: dict[str, Any] = {
    "n_envs": 2,
    "n_steps": 1024,
    "batch_size": 128,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "cg_damping": 0.1,
    "cg_max_steps": 25,
    "n_critic_updates": 20,
    "learning_rate": 1e-3,
}
CLASSIC: dict[str, Any] = {**MUJOCO, "n_steps": 512, "batch_size": 512, "gae_lambda": 0.98}
"""TRPO's settings; ``n_envs`` is the number of training environments."""

SETTINGS: dict[str, dict[str, Any]] = {"CartPole-v1": CLASSIC, "MountainCar-v0": CLASSIC, "Acrobot-v1": CLASSIC}
"""Settings by task; MUJOCO for all others."""

TIMESTEPS: dict[str, int] = {
    "CartPole-v1": 50_000,
    "MountainCar-v0": 100_000,
    "Acrobot-v1": 100_000,
    "Hopper-v5": 300_000,
    "Walker2d-v5": 2_000_000,
}
"""Training steps by task; 1,000,000 for all others.

Seeds differ: on Hopper-v5 the best policies of seeds 0 to 3 returned about 3,270, 2,520, 3,630 and 3,060. The bundled
demonstrations are seed 2's, chosen because it alone passed 3,400.
"""

EVALUATE_EVERY = 10_000
EVALUATION_EPISODES = 20
RANDOM_EPISODES = 100


def train_expert(
    task: str, out: Path, timesteps: int | None = None, seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Train TRPO on the task's own reward and keep the best evaluated policy in the folder ``out``.

    The policy is evaluated every 10,000 steps over 20 deterministic episodes: TRPO rises and then collapses, so the
    last policy is often not the best. An interrupted training leaves the best so far.

    Args:
        task: Gymnasium id, or module:id.
        out: folder for ``policy.zip`` and ``expert.json``; made if missing, files in it are replaced.
        timesteps: training steps; the task's default if None.
        seed: seed of the network, its noise and the environments.
        progress: show a progress bar.

    Returns:
        The contents of ``expert.json``.

    Raises:
        InputError: unknown task, timesteps below 1, or a folder that cannot be written.
    """
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

    steps = TIMESTEPS.get(task, 1_000_000) if timesteps is None else timesteps
    if steps < 1:
        raise InputError(f"--timesteps must be at least 1; got {steps}.")
    settings = SETTINGS.get(task, MUJOCO)
    torch.set_num_threads(1)  # results differ between thread counts
    env = make_env(task)
    check_spaces(env.observation_space, env.action_space)
    env.close()
    train_envs = _normalised_envs(task, settings["n_envs"], seed, settings["gamma"])
    test_envs = _normalised_envs(task, EVALUATION_EPISODES, seed + 10_000, settings["gamma"], training=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "expert.json").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the expert's folder {str(out)!r}: {error.strerror}") from error
    command = f"dyna-ail expert train --task {task} --timesteps {steps} --seed {seed} --out {shlex.quote(str(out))}"

    class SaveBest(BaseCallback):
        """Write the expert each time EvalCallback finds a new best."""

        def _on_step(self) -> bool:
            assert isinstance(self.parent, EvalCallback)
            expert = {
                "task": task,
                "algorithm": "TRPO (sb3-contrib), VecNormalize, best of the evaluated policies",
                "settings": settings,
                "seed": seed,
                "steps": steps,
                "best_at": self.num_timesteps,
                "evaluation_return": self.parent.best_mean_reward,
                "versions": versions(),
                "command": command,
                "observation_mean": _statistics(train_envs).mean.tolist(),
                "observation_variance": _statistics(train_envs).var.tolist(),
            }
            self.model.save(out / "policy.zip")
            (out / "expert.json").write_text(json.dumps(expert, indent=1) + "\n")
            return True

    # EvalCallback counts its calls, one per n_envs steps; a short training is evaluated once, at its end
    every = max(1, min(steps, EVALUATE_EVERY) // settings["n_envs"])
    evaluate = EvalCallback(
        test_envs, SaveBest(), n_eval_episodes=EVALUATION_EPISODES, eval_freq=every, verbose=0 if progress else 1
    )
    try:
        model = TRPO("MlpPolicy", train_envs, seed=seed, device="cpu", **_trpo_settings(settings))
        model.learn(steps, callback=evaluate, progress_bar=progress)
    finally:
        train_envs.close()
        test_envs.close()
    expert: dict[str, Any] = json.loads((out / "expert.json").read_text())
    return expert


def record_demonstrations(task: str, expert: Path, out: Path, episodes: int = 25, seed: int = 0) -> Demonstrations:
    """Record full deterministic episodes of a trained expert and save them with their provenance.

    Args:
        task: Gymnasium id, or module:id.
        expert: folder written by :func:`train_expert`.
        out: the demonstration file (.npz) to write; an existing one is replaced.
        episodes: number of trajectories.
        seed: seed from which the episodes' reset seeds are drawn.

    Returns:
        What was saved.

    Raises:
        InputError: unknown task, an expert that is missing or of another task, or a file that cannot be written.
    """
    import torch

    if episodes < 1:
        raise InputError(f"--episodes must be at least 1; got {episodes}.")
    torch.set_num_threads(1)
    about, model, normaliser = _load_expert(task, expert)
    env = make_env(task)
    reset_seeds = _reset_seeds(seed, episodes)
    trajectories = []
    for reset_seed in reset_seeds:
        obs, _ = env.reset(seed=reset_seed)
        observations, actions, rewards, ended = [obs], [], [], False
        while not ended:
            action, _ = model.predict(normaliser.normalize_obs(obs), deterministic=True)
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
    returns = [round(trajectory.return_, 3) for trajectory in trajectories]
    random_mean, _ = random_return(task)
    metadata = {
        "task": task,
        "versions": versions(),
        "expert": {key: about[key] for key in ("algorithm", "settings", "seed", "steps", "best_at")},
        "seed": seed,
        "reset_seeds": reset_seeds,
        "returns": returns,
        "expert_return": float(np.mean(returns)),
        "random_return": random_mean,
        "random_episodes": RANDOM_EPISODES,
        "deterministic": True,
        "command": f"{about['command']} && dyna-ail demos record --task {task} --expert {shlex.quote(str(expert))}"
        f" --episodes {episodes} --seed {seed} --out {shlex.quote(str(out))}",
    }
    demonstrations = Demonstrations(tuple(trajectories), metadata)
    demonstrations.save(out)
    return demonstrations


def random_return(task: str, episodes: int = RANDOM_EPISODES, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the returns of uniformly random actions.

    Raises:
        InputError: unknown task.
    """
    env = make_env(task)
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
    return round(float(np.mean(returns)), 3), round(float(np.std(returns)), 3)


def versions() -> dict[str, str]:
    """Versions of the packages on which an episode depends."""
    return {name: version(name) for name in ("gymnasium", "mujoco", "numpy", "torch", "sb3-contrib")}


def _reset_seeds(seed: int, episodes: int) -> list[int]:
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(episodes)]


def _normalised_envs(task: str, n_envs: int, seed: int, gamma: float, training: bool = True) -> VecNormalize:
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    envs = make_vec_env(lambda: make_env(task), n_envs=n_envs, seed=seed)
    return VecNormalize(envs, training=training, norm_reward=training, gamma=gamma)


def _statistics(envs: VecNormalize) -> RunningMeanStd:
    """Mean and variance by which the observations are normalised; SB3's annotation leaves this type out."""
    return cast("RunningMeanStd", envs.obs_rms)


def _load_expert(task: str, folder: Path) -> tuple[dict[str, Any], TRPO, VecNormalize]:
    """Provenance, policy and observation normaliser of the expert in ``folder``. Runs no pickled code."""
    from sb3_contrib import TRPO

    try:
        about = json.loads((folder / "expert.json").read_text())
        if about["task"] == task:
            settings = about["settings"]
            envs = _normalised_envs(task, 1, seed=0, gamma=settings["gamma"], training=False)
            statistics = _statistics(envs)
            statistics.mean = np.asarray(about["observation_mean"])
            statistics.var = np.asarray(about["observation_variance"])
            model = TRPO("MlpPolicy", envs, device="cpu", **_trpo_settings(settings))
            model.set_parameters(str(folder / "policy.zip"), device="cpu")  # reads only weights, unlike TRPO.load
            return about, model, envs
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            f"no expert in {str(folder)!r} ({error.filename} is missing): make one with `dyna-ail expert train`."
        ) from error
    except Exception as error:  # a damaged archive fails in torch, zipfile or pickle, each in its own way
        raise InputError(f"the expert in {str(folder)!r} cannot be read: {error!r}") from error
    raise InputError(f"the expert in {str(folder)!r} was trained on {about['task']}, not on {task}.")


def _trpo_settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "n_envs"}
