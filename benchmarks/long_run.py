"""Memory and open files of a long run: 500,000 interactions of CartPole with small networks and few updates.

    python benchmarks/long_run.py [INTERACTIONS]

Prints a row every tenth of the run. The buffer holds a fifth of it, so that it is full from then on.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from dyna_ail.config import make_run_config
from dyna_ail.envs.tasks import TASKS
from dyna_ail.runs import train

SMALL = {
    "steps_per_iteration": 1000,
    "discriminator.updates": 2,
    "forward_model.min_updates": 2,
    "forward_model.max_updates": 2,
    "planner.updates": 2,
    "trpo.critic_epochs": 1,
    "evaluation.episodes": 2,
    "safety.checkpoint_minutes": 0.5,
}


def memory() -> float:
    """Resident memory of this process, MiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files() -> int:
    """Open file handles of this process (Linux)."""
    return len(os.listdir("/proc/self/fd"))


def main(interactions: int) -> None:
    """Train, and print the table."""
    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.runs.session import Session

    after_iteration = Session.after_iteration
    print("| interactions | memory, MiB | open files |\n| --- | --- | --- |")
    told = 0

    def measured(self: Session, learner: DynaAIL) -> None:
        nonlocal told
        after_iteration(self, learner)
        if learner.interactions >= told:
            print(f"| {learner.interactions:,} | {memory():.0f} | {open_files()} |", flush=True)
            told += interactions // 10

    Session.after_iteration = measured  # type: ignore[method-assign]
    sizes = {"interactions": interactions, "replay_capacity": interactions // 5, "evaluation.every": interactions // 10}
    config = make_run_config("dyna-ail", TASKS["CartPole-v1"].run_defaults, SMALL, sizes, task="CartPole-v1")
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", progress=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
