"""Dyna-AIL learns CartPole from one demonstration, with the task's defaults, to the expert's level, on every seed."""

from __future__ import annotations

import pytest

from dyna_ail.algorithm import DynaAIL
from dyna_ail.config import make_config
from dyna_ail.demonstrations import Demonstrations
from dyna_ail.envs.tasks import get_task, make_env
from dyna_ail.evaluation import evaluate

TASK = get_task("CartPole-v1")
BUDGET = 6000
"""Real interactions. Ten seeds of ten hold the level from 4,000 on: the rest is room for other machines' rounding."""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_demonstration_teaches_cartpole(seed: int) -> None:
    assert TASK.demos is not None
    config = make_config("dyna-ail", TASK.defaults, task=TASK.id, seed=seed)
    assert config.cloning.updates == 0

    env = make_env(TASK.id)
    learner = DynaAIL(env, Demonstrations.load(TASK.demos), config)
    assert len(learner.expert_obs) == 25  # every 20th pair of one demonstration of 500
    learner.learn(BUDGET)
    env.close()

    assert learner.interactions == BUDGET
    assert evaluate(learner.policy, TASK.id, episodes=10, seed=seed).mean >= 475.0
