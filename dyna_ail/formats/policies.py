"""Trained policies, recorded in the task: an archive of Stable-Baselines3, or the folder of an expert of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dyna_ail.demos import Demonstrations
from dyna_ail.formats.episodes import Room
from dyna_ail.formats.source import Format, Source, provenance

if TYPE_CHECKING:
    from dyna_ail.envs.sb3_policy import Policy

SB3 = "Stable-Baselines3"
EXPERT = "expert"


def _is_sb3(source: Source) -> bool:
    return source.is_zip and bool({"policy.pth", "_stable_baselines3_version"} & source.members)


def _is_expert(source: Source) -> bool:
    return source.is_folder and "expert.json" in source.members


def _load_sb3(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Record deterministic episodes of the policy in an archive. Only its weights are read.

    Raises:
        InputError: the archive is damaged, too large or not an MLP policy for the task's spaces, or nothing can be
            recorded.
    """
    from dyna_ail.envs.sb3_policy import read_policy

    room = Room.of(task)
    policy = read_policy(source.path, room.observation_space, room.action_space)
    entry = {"source": provenance(source, SB3, source.path)}
    return _recorded(task, policy, episodes, seed, entry)


def _load_expert(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Record deterministic episodes of an expert, with the observation statistics it was trained with.

    Raises:
        InputError: the expert is missing, damaged or of another task, or nothing can be recorded.
    """
    from dyna_ail.envs.recording import PROVENANCE, read_expert

    about, policy = read_expert(task, source.path)
    known = {key: about[key] for key in PROVENANCE if key in about}
    return _recorded(task, policy, episodes, seed, {"expert": known, "source": provenance(source, EXPERT)})


def _recorded(task: str, policy: Policy, episodes: int, seed: int, metadata: dict[str, Any]) -> Demonstrations:
    from dyna_ail.envs.recording import record_episodes

    trajectories, reset_seeds = record_episodes(task, policy, episodes, seed)
    returns = [trajectory.return_ for trajectory in trajectories]
    about = {
        "task": task,
        "seed": seed,
        "reset_seeds": reset_seeds,
        "returns": returns,
        "expert_return": sum(returns) / len(returns),
        "deterministic": True,
    }
    return Demonstrations(trajectories, {**about, **metadata})


ARCHIVE = Format(SB3, "a policy saved by Stable-Baselines3 (.zip)", _is_sb3, _load_sb3)
FOLDER = Format(EXPERT, "the folder of an expert, from `dyna-ail expert train`", _is_expert, _load_expert)
