"""Fly one episode with a learned policy: ``python use.py RUN``, where RUN is the folder of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium

from dyna_ail.runs import load_policy


def main(run: Path) -> None:
    """Load the policy, step it in the environment, and say how it went."""
    policy = load_policy(run)
    env = gymnasium.make("orbit:Orbit-v0")
    obs, _ = env.reset(seed=0)
    total, ended = 0.0, False
    while not ended:
        action, _ = policy.predict(obs, deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        ended = terminated or truncated
    print(f"return {total:.1f}: {'lost the orbit' if terminated else 'still on the orbit at the time limit'}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
