"""How good a policy is: the returns of deterministic episodes in environments of their own, not counted.

Used for the plot and the record only: nothing here reaches the learner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail.config import SafetyConfig
from dyna_ail.errors import NonFiniteError

if TYPE_CHECKING:
    import gymnasium
    from stable_baselines3.common.policies import BasePolicy
    from stable_baselines3.common.vec_env import DummyVecEnv


@dataclass(frozen=True)
class Evaluation:
    """What some evaluation episodes earned, in the environment's own reward.

    Attributes:
        returns: sums of rewards, [episodes].
        lengths: numbers of steps, [episodes].
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the return over the episodes."""
        return float(self.returns.std())


def make_environments(
    task: str | Callable[[], gymnasium.Env], episodes: int, step_timeout: float = SafetyConfig.step_timeout
) -> DummyVecEnv:
    """One environment per episode, in this process, stepped in lock-step.

    Args:
        task: Gymnasium id (or ``module:id``), or a function that makes the environment.
        episodes: how many.
        step_timeout: seconds that a step or a reset may take.

    Raises:
        InputError: the environment cannot be made.
    """
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from dyna_ail.envs.guard import LONGEST, Guard
    from dyna_ail.envs.tasks import make_env

    def make() -> gymnasium.Env:
        return Monitor(Guard(make_env(task) if isinstance(task, str) else task(), step_timeout, LONGEST))

    return DummyVecEnv([make] * episodes)


def evaluation_seed(seed: int, interactions: int) -> int:
    """Seed of the evaluation after ``interactions`` steps of the run ``seed``: evaluation needs no state of its own."""
    return int(np.random.SeedSequence([seed, interactions]).generate_state(1)[0])


def evaluate(
    policy: BasePolicy, task: str | Callable[[], gymnasium.Env] | DummyVecEnv, episodes: int, seed: int
) -> Evaluation:
    """Returns of deterministic episodes. Draws nothing from any global random generator.

    Args:
        policy: anything with SB3's ``predict``.
        task: as :func:`make_environments`, or what it returned, to use the environments again.
        episodes: number of episodes.
        seed: environment i is reset with ``seed + i``.

    Raises:
        InputError: the environment cannot be made.
        EnvironmentFailure: an environment raised, hung, or returned something else than its space says.
        NonFiniteError: an observation or a return is NaN or infinite.
    """
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecEnv

    environments = task if isinstance(task, VecEnv) else make_environments(task, episodes)
    environments.seed(seed)
    try:
        returns, lengths = evaluate_policy(
            _FiniteInput(policy), environments, episodes, deterministic=True, return_episode_rewards=True
        )
    finally:
        if environments is not task:
            environments.close()
    if not np.isfinite(returns).all():
        raise NonFiniteError("the return of an evaluation episode became NaN or infinite.")
    return Evaluation(np.asarray(returns, dtype=np.float64), np.asarray(lengths, dtype=np.int64))


class _FiniteInput:
    """A policy that refuses observations from a simulation that has blown up."""

    def __init__(self, policy: BasePolicy) -> None:
        self.policy = policy

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        if not np.isfinite(observation).all():
            raise NonFiniteError("an observation of an evaluation environment became NaN or infinite.")
        return self.policy.predict(observation, *args, **kwargs)


def normalised_score(return_mean: float, random: float | None, expert: float | None) -> float:
    """``(R - R_random) / (R_expert - R_random)``: 0 for the random policy, 1 for the expert; NaN without references."""
    if random is None or expert is None or random == expert:
        return float("nan")
    return (return_mean - random) / (expert - random)
