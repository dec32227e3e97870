"""How good a policy is: the returns of deterministic episodes in environments of their own.

Their steps are not counted as interactions. The results go into the run's tables and figures, never into the learner.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail.config.run import RunConfig, SafetyConfig
from dyna_ail.errors import EnvironmentFailure, NonFiniteError
from dyna_ail.guard import LONGEST, Guard
from dyna_ail.learning.randomness import find_generators, seed_all

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
    """One environment per episode, all in this process and stepped together.

    Args:
        task: Gymnasium id (or ``module:id``), or a function that makes the environment.
        episodes: how many.
        step_timeout: seconds that a step or a reset may take.

    Raises:
        InputError: the environment cannot be made.
    """
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from dyna_ail.envs.tasks import make_env

    def make() -> gymnasium.Env:
        return Monitor(Guard(make_env(task) if isinstance(task, str) else task(), step_timeout, LONGEST))

    return DummyVecEnv([make] * episodes)


def evaluation_seed(seed: int, interactions: int) -> int:
    """Seed of the evaluation after ``interactions`` steps of a run with this ``seed``.

    It depends on nothing else, so a resumed run repeats its evaluations without any saved state.
    """
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
        EnvironmentFailure: an environment raised, hung, or returned what its space does not allow.
        NonFiniteError: an observation or a return is NaN or infinite.
    """
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecEnv

    environments = task if isinstance(task, VecEnv) else make_environments(task, episodes)
    environments.seed(seed)
    for number, env in enumerate(environments.envs):
        _seed_generators(env, seed + number)
    before = [len(rewards) for rewards in environments.env_method("get_episode_rewards")]
    try:
        evaluate_policy(_FiniteInput(policy), environments, episodes, deterministic=True)
        # Not what it returns: Monitor rounds that to six decimals, and some tasks pay less than that.
        returns, lengths = (
            _first_episodes(environments.env_method(f"get_episode_{what}"), before, episodes)
            for what in ("rewards", "lengths")
        )
    finally:
        if environments is not task:
            environments.close()
    if not np.isfinite(returns).all():
        raise NonFiniteError("the return of an evaluation episode became NaN or infinite.")
    return Evaluation(np.asarray(returns, dtype=np.float64), np.asarray(lengths, dtype=np.int64))


def odd_starts(environments: DummyVecEnv, seed: int) -> str:
    """What is odd about how episodes begin: other starts for equal seeds, or equal starts for other seeds; empty if all
    is well.

    Each environment is reset once, the first twice.

    Raises:
        EnvironmentFailure: as :func:`evaluate`.
    """

    def start(env: gymnasium.Env, seed: int) -> np.ndarray:
        _seed_generators(env, seed)
        return np.asarray(env.reset(seed=seed)[0])

    starts = [start(env, seed + number) for number, env in enumerate(environments.envs)]
    if not np.array_equal(starts[0], start(environments.envs[0], seed), equal_nan=True):
        return (
            "the environment begins differently each time it is reset with the same seed, so evaluations cannot be "
            "compared. Draw the start from self.np_random, or make the environment anew from the seed."
        )
    if len(starts) > 1 and all(np.array_equal(starts[0], other, equal_nan=True) for other in starts[1:]):
        return (
            f"all {len(starts)} evaluation episodes begin with the same observation, whatever the seed. If the task "
            "has more than one start, draw it from self.np_random in reset."
        )
    return ""


def _seed_generators(env: gymnasium.Env, seed: int) -> None:
    """Seed what wrappers and environments draw from, too: a seeded reset may leave it alone."""
    seed_all(find_generators(env), seed)


def _first_episodes(told: Sequence[Sequence[float]], before: Sequence[int], episodes: int) -> list[float]:
    """What each environment tells of the first episodes since ``before``, as many in each as SB3 counts there."""
    shares = [(episodes + number) // len(told) for number in range(len(told))]
    return [
        value for values, start, share in zip(told, before, shares, strict=True) for value in values[start:][:share]
    ]


class _FiniteInput:
    """A policy that refuses NaN and infinite observations."""

    def __init__(self, policy: BasePolicy) -> None:
        self.policy = policy

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        if not np.isfinite(observation).all():
            raise NonFiniteError("an observation of an evaluation environment became NaN or infinite.")
        return self.policy.predict(observation, *args, **kwargs)


def normalised_score(return_mean: float, random: float | None, expert: float | None) -> float:
    """``(R - R_random) / (R_expert - R_random)``: 0 for the random policy, 1 for the expert; NaN without references."""
    if random is None or expert is None or expert <= random:
        return float("nan")
    return (return_mean - random) / (expert - random)


class Evaluator:
    """The evaluations of a run: when they are due, their environments and their scores.

    Args:
        config: the run's.
        references: returns of the ``random`` policy and of the ``expert``; None where unknown.
        evaluated_at: interactions at the last evaluation of a resumed run, if it had one.

    Attributes:
        evaluated_at: interactions at the last evaluation whose row is written; None before the first.

    Raises:
        InputError: the environment cannot be made.
    """

    def __init__(self, config: RunConfig, references: dict[str, float | None], evaluated_at: int | None = None) -> None:
        self.config, self.references, self.evaluated_at = config, references, evaluated_at
        self.environments = make_environments(config.task, config.evaluation.episodes, config.safety.step_timeout)

    def is_due(self, interactions: int) -> bool:
        """Whether to evaluate now: at the start, when another interval has passed, and at the end."""
        if self.evaluated_at is None or interactions == self.evaluated_at:
            return self.evaluated_at is None
        every = self.config.evaluation.every
        return interactions // every > self.evaluated_at // every or interactions >= self.config.learner.interactions

    def evaluate(self, policy: BasePolicy, interactions: int) -> tuple[Evaluation, float]:
        """The returns of the policy after ``interactions``, and its score (NaN without references).

        Raises:
            EnvironmentFailure, NonFiniteError: as :func:`evaluate`.
        """
        seed = evaluation_seed(self.config.learner.seed, interactions)
        try:
            if self.evaluated_at is None and (odd := odd_starts(self.environments, seed)):
                print(f"warning: {odd}", file=sys.stderr)
            result = evaluate(policy, self.environments, self.config.evaluation.episodes, seed)
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"in the evaluation at {interactions:,} interactions {error}") from error
        return result, normalised_score(result.mean, self.references["random"], self.references["expert"])

    def close(self) -> None:
        """Close the environments."""
        self.environments.close()
