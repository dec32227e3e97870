"""The policy in a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dyna_ail.errors import InputError
from dyna_ail.records.folder import POLICY
from dyna_ail.records.reading import interactions_done, read_config

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy


def load_policy(folder: Path) -> ActorCriticPolicy:
    """The policy in a run's folder. No code from the file runs: its weights are read into a newly built policy.

    Raises:
        InputError: there is no run or no policy, or the policy is damaged or does not fit the run's configuration.
    """
    from dyna_ail.envs.tasks import make_env
    from dyna_ail.learning import policy

    config, path = read_config(folder), folder / POLICY
    if not path.exists():
        started = interactions_done(folder) is not None
        why = "it was not kept with the run's tables" if started else "its run stopped before the first evaluation"
        raise InputError(f"{folder} has no {POLICY}: {why}. Train it: dyna-ail train.")
    env = make_env(config.task)
    spaces = env.observation_space, env.action_space
    env.close()
    return policy.load_policy(path, *spaces, config.learner)
