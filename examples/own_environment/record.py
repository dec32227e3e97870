"""Record demonstrations of a scripted controller: ``python record.py``. Any function of the observation will do."""

from __future__ import annotations

import sys

import numpy as np
from orbit import DRAG, ORBIT, SPEED, THRUST

from dyna_ail import Demonstrations
from dyna_ail.envs.recording import random_return, record_episodes

TASK = "orbit:Orbit-v0"


def controller(obs: np.ndarray) -> np.ndarray:
    """Steer the velocity to that of the orbit, and lean inwards against the centrifugal force.

    Args:
        obs: position and velocity, ``[4]``.

    Returns:
        The thrust, float32 ``[2]``, clipped to the bounds of the action space: demonstrations outside are refused.
    """
    position, velocity = obs[:2], obs[2:]
    radius = np.linalg.norm(position)
    outward = position / radius
    around = np.array([-outward[1], outward[0]])
    wanted = SPEED * around + 3 * (ORBIT - radius) * outward
    push = 4 * (wanted - velocity) + DRAG * velocity - SPEED**2 / ORBIT * outward
    return np.clip(push / THRUST, -1.0, 1.0).astype(np.float32)


def main(path: str) -> None:
    """Play 100 episodes, keep ten, and note the returns that are scores 0 and 1."""
    episodes, _ = record_episodes(TASK, controller, episodes=100, seed=0)
    expert_return = float(np.mean([episode.return_ for episode in episodes]))
    metadata = {"task": TASK, "expert_return": expert_return, "random_return": random_return(TASK)[0]}
    Demonstrations(episodes[:10], metadata).save(path)
    print(f"{path}: 10 demonstrations")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["orbit-demos.npz"]))
