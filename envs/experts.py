"""Experts: policies trained on the true reward, with the recipe of their task. The best policy of a training is kept.

An expert is a folder with ``policy.pth`` (the weights that act) and ``expert.json`` (provenance and the observation
statistics by which the policy's inputs are normalised). Both are rewritten whenever an evaluation beats all earlier
ones. Beside them lies the training's state (``last.zip`` as SB3 saves it, ``last.json`` and for off-policy algorithms
``replay.npz``), from which an interrupted training goes on.
"""

from __future__ import annotations

import json
import shlex
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import sb3_contrib
import torch
from gymnasium.wrappers import DtypeObservation, TransformObservation
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize, sync_envs_normalization

from dyna_ail.envs.sb3_policy import acting
from dyna_ail.envs.tasks import make_env, versions
from dyna_ail.errors import InputError, number
from dyna_ail.files import replacing
from dyna_ail.guard import LONGEST, Guard
from dyna_ail.spaces import check_spaces

if TYPE_CHECKING:
    from io import BufferedIOBase

    import gymnasium
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.running_mean_std import RunningMeanStd
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Recipe:
    """How the expert of a task is trained."""

    algorithm: str
    """TRPO or TQC (both sb3-contrib)."""
    timesteps: int
    """Steps of the environment."""
    n_envs: int
    """Environments stepped in turn."""
    settings: dict[str, Any]
    """Arguments of the algorithm."""
    normalise: bool
    """Whether VecNormalize normalises observations and rewards."""
    evaluate_every: int
    """Steps between evaluations."""
    seen: int | None = None
    """The policy sees this many components of the observation, from the first; the others are zero to it. None: all."""


TRPO: dict[str, Any] = {
    "n_steps": 1024,
    "batch_size": 128,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "cg_damping": 0.1,
    "cg_max_steps": 25,
    "n_critic_updates": 20,
    "learning_rate": 1e-3,
}
TRPO_CLASSIC: dict[str, Any] = {**TRPO, "n_steps": 512, "batch_size": 512, "gae_lambda": 0.98}
# One gradient step for every two steps of the environment: half the published ratio, at half the time per step.
TQC: dict[str, Any] = {
    "learning_rate": 5e-4,
    "learning_starts": 10_000,
    "train_freq": 1,
    "gradient_steps": 2,
    "buffer_size": 1_000_000,
}


def _trpo(timesteps: int, settings: dict[str, Any] = TRPO) -> Recipe:
    return Recipe("TRPO", timesteps, 2, settings, normalise=True, evaluate_every=10_000)


def _tqc(timesteps: int) -> Recipe:
    return Recipe("TQC", timesteps, 4, TQC, normalise=False, evaluate_every=20_000)


RECIPES: dict[str, Recipe] = {
    "CartPole-v1": _trpo(50_000, TRPO_CLASSIC),
    "MountainCar-v0": _trpo(1_000_000, TRPO_CLASSIC),
    "Acrobot-v1": _trpo(200_000, TRPO_CLASSIC),
    "Hopper-v5": _trpo(300_000),
    "Walker2d-v5": _trpo(2_000_000),
    "HalfCheetah-v5": _trpo(3_200_000),
    # With SB3's standard deviation of 1 the actions cost more than staying alive pays, and it learned to fall: 11 after
    # 250,000 steps. Seeing the 78 contact forces, it stood still after 300,000 (910); without them it was at 2,400.
    "Ant-v5": Recipe(
        "TRPO",
        3_000_000,
        2,
        {**TRPO, "policy_kwargs": {"log_std_init": -1.0}},
        normalise=True,
        evaluate_every=20_000,
        seen=27,
    ),
    "Humanoid-v5": _tqc(1_000_000),
}
OTHERS = _trpo(1_000_000)
"""The recipe of any other task, for actions of both kinds."""

EVALUATION_EPISODES = 20
BLIND = 1e300
"""The variance of an observation that an expert does not see."""


def train_expert(
    task: str,
    out: Path,
    timesteps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train on the task's own reward and keep the best evaluated policy in the folder ``out``.

    The policy is evaluated regularly over 20 deterministic episodes. TRPO rises and then collapses, so the last policy
    is often not the best. An interrupted training leaves the best policy so far. It can be resumed from its last
    evaluation, with new noise and new episodes.

    Args:
        task: Gymnasium id, or module:id.
        out: folder of the expert. It is made if it is missing; files in it are replaced.
        timesteps: training steps; the recipe's if None.
        seed: seed of the network, its noise and the environments.
        resume: continue the training in ``out``; ``timesteps`` may be larger than before.
        progress: show a progress bar; without, one line per evaluation.

    Returns:
        The contents of ``expert.json``.

    Raises:
        InputError: the task is unknown, timesteps are below 1, the folder cannot be written, or it holds no training of
            this task to resume.
        EnvironmentFailure: the environment raised, hung, or returned what its space does not allow.
    """
    recipe = RECIPES.get(task, OTHERS)
    steps = recipe.timesteps if timesteps is None else timesteps
    if steps < 1:
        raise InputError(f"--timesteps must be at least 1; got {steps}.")
    torch.set_num_threads(1)  # results differ between thread counts
    env = make_env(task)
    check_spaces(env.observation_space, env.action_space)
    env.close()
    last = _read_last(out, task, seed) if resume else Last(task, seed)
    next_seed = (seed + last.steps) % 2**32
    train_envs = _envs(task, recipe, recipe.n_envs, next_seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume:
            for file in ("last.json", "expert.json"):
                (out / file).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the expert's folder {str(out)!r}: {error.strerror}") from error
    about = {
        "task": task,
        "algorithm": f"{recipe.algorithm} (sb3-contrib){', VecNormalize' if recipe.normalise else ''}, "
        "best of the evaluated policies",
        "settings": {"n_envs": recipe.n_envs, **({"seen": recipe.seen} if recipe.seen else {}), **recipe.settings},
        "seed": seed,
        "steps": steps,
        "versions": versions(),
        "command": f"dyna-ail expert train --task {task} --timesteps {steps} --seed {seed} "
        f"--out {shlex.quote(str(out))}",
    }
    test_envs = _envs(task, recipe, EVALUATION_EPISODES, (seed + 10_000) % 2**32, training=False)
    try:
        algorithm: type[BaseAlgorithm] = getattr(sb3_contrib, recipe.algorithm)
        model = algorithm("MlpPolicy", train_envs, seed=next_seed, device="cpu", **recipe.settings)
        if resume:
            _restore(model, out, last)
            last.resumed_at.append(last.steps)
        keeper = _Keeper(out, about, last, test_envs, min(steps, recipe.evaluate_every), not progress)
        model.learn(max(0, steps - last.steps), keeper, progress_bar=progress, reset_num_timesteps=not resume)
    finally:
        train_envs.close()
        test_envs.close()
    expert: dict[str, Any] = json.loads((out / "expert.json").read_text())
    return expert


@dataclass
class Last:
    """The state of a training, written to ``last.json``."""

    task: str
    seed: int
    steps: int = 0
    """Done so far."""
    best: float = -np.inf
    """Mean return of the best evaluation."""
    seconds: float = 0.0
    """Wall time so far."""
    resumed_at: list[int] = field(default_factory=list)
    """Steps at which it went on after an interruption."""
    normaliser: dict[str, Any] = field(default_factory=dict)
    """VecNormalize's running means, variances and counts, of observations and of returns."""


class _Keeper(BaseCallback):
    """Evaluates regularly, writes the expert if it is the best so far, and writes the training's state."""

    def __init__(
        self, out: Path, about: dict[str, Any], last: Last, test_envs: VecEnv, every: int, verbose: bool
    ) -> None:
        super().__init__(int(verbose))
        self.out, self.about, self.last, self.test_envs, self.every = out, about, last, test_envs, every
        self.seen = about["settings"].get("seen")
        self.since = time.monotonic() - last.seconds

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.last.steps + self.every:
            self._keep()
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self.last.steps:
            self._keep()

    def _keep(self) -> None:
        normaliser = self.model.get_vec_normalize_env()
        if normaliser is not None:
            sync_envs_normalization(normaliser, self.test_envs)
        mean, _ = evaluate_policy(self.model, self.test_envs, EVALUATION_EPISODES)
        assert isinstance(mean, float)
        last = self.last
        last.steps, last.seconds = self.num_timesteps, time.monotonic() - self.since
        last.normaliser = {
            name: {"mean": kept.mean.tolist(), "var": kept.var.tolist(), "count": kept.count}
            for name, kept in _statistics(normaliser).items()
        }
        if mean > last.best:
            last.best = mean
            with replacing(self.out / "policy.pth") as file:
                torch.save(acting(self.model.policy.state_dict()), file)
            best = {**self.about, "best_at": last.steps, "resumed_at": last.resumed_at}
            best |= {"minutes": last.seconds / 60, "evaluation_return": mean}
            obs = last.normaliser.get("obs", {})
            best |= {"observation_mean": obs.get("mean"), "observation_variance": obs.get("var")}
            if self.seen is not None:  # divided by so large a number they are zero
                best["observation_variance"][self.seen :] = [BLIND] * (len(best["observation_mean"]) - self.seen)
            _write_json(best, self.out / "expert.json")
        with replacing(self.out / "last.zip") as file:
            self.model.save(cast("BufferedIOBase", file))
        if isinstance(self.model, OffPolicyAlgorithm):
            with replacing(self.out / "replay.npz") as file:
                buffer = _buffer(self.model)
                rows = {name: getattr(buffer, name)[: buffer.size()] for name in _REPLAY}
                np.savez(file, pos=buffer.pos, full=buffer.full, **rows)
        _write_json(asdict(last), self.out / "last.json")
        if self.verbose:
            minutes = last.seconds / 60
            print(
                f"{last.steps:,} steps, {minutes:.1f} min: return {number(mean)}, best {number(last.best)}", flush=True
            )


def _write_json(values: dict[str, Any], path: Path) -> None:
    with replacing(path) as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")


def _read_last(out: Path, task: str, seed: int) -> Last:
    try:
        last = Last(**json.loads((out / "last.json").read_text()))
    except FileNotFoundError as error:
        raise InputError(f"no training to resume in {str(out)!r}: start one without --resume.") from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"the training in {str(out)!r} cannot be resumed: last.json is damaged; {error}") from error
    if (last.task, last.seed) != (task, seed):
        raise InputError(
            f"{str(out)!r} holds a training of {last.task} with seed {last.seed}, not of {task} with {seed}."
        )
    with suppress(OSError, ValueError, KeyError):  # an expert newer than this: the training was killed in between
        last.best = max(last.best, json.loads((out / "expert.json").read_text())["evaluation_return"])
    return last


_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def _buffer(model: OffPolicyAlgorithm) -> ReplayBuffer:
    assert model.replay_buffer is not None
    return model.replay_buffer


def _statistics(normaliser: VecNormalize | None) -> dict[str, RunningMeanStd]:
    """The running statistics of observations and of returns; SB3's annotation leaves the first one's type out."""
    if normaliser is None:
        return {}
    return {"obs": cast("RunningMeanStd", normaliser.obs_rms), "returns": normaliser.ret_rms}


def _restore(model: BaseAlgorithm, out: Path, last: Last) -> None:
    """Restore weights, optimisers, observation statistics and replay buffer. Runs no pickle, unlike SB3's ``load``."""
    try:
        _, parameters, variables = load_from_zip_file(out / "last.zip", device="cpu", load_data=False)
        model.set_parameters(parameters, device="cpu")
        for name, value in (variables or {}).items():
            getattr(model, name).data = value.data
        for name, statistics in _statistics(model.get_vec_normalize_env()).items():
            values = last.normaliser[name]
            statistics.mean, statistics.var = np.asarray(values["mean"]), np.asarray(values["var"])
            statistics.count = values["count"]
        if isinstance(model, OffPolicyAlgorithm):
            buffer = _buffer(model)
            with np.load(out / "replay.npz", allow_pickle=False) as kept:
                buffer.pos, buffer.full = int(kept["pos"]), bool(kept["full"])
                for name in _REPLAY:
                    rows = kept[name]
                    getattr(buffer, name)[: len(rows)] = rows
    except Exception as error:  # a damaged archive fails in torch, zipfile or numpy, each in its own way
        raise InputError(f"the training in {str(out)!r} cannot be resumed: {error!r}") from error
    model.num_timesteps = last.steps


def _envs(task: str, recipe: Recipe, n_envs: int, seed: int, training: bool = True) -> VecEnv:
    def make() -> gymnasium.Env[Any, Any]:
        env: gymnasium.Env[Any, Any] = Guard(make_env(task), longest=LONGEST)
        if recipe.seen is not None:
            kept = np.arange(env.observation_space.shape[0]) < recipe.seen  # type: ignore[index]
            env = TransformObservation(env, lambda obs: obs * kept, None)
        # Without VecNormalize the replay buffer takes the observations as they are: float32 halves it.
        return env if recipe.normalise else DtypeObservation(env, np.float32)

    envs = make_vec_env(make, n_envs=n_envs, seed=seed)
    if not recipe.normalise:
        return envs
    return VecNormalize(envs, training=training, norm_reward=training, gamma=recipe.settings["gamma"])
