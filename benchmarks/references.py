"""The table of docs/experts.md: what random actions and the bundled experts earn, over 100 episodes each.

    python benchmarks/references.py [TASK ...]

The numbers are those of ``dyna_ail.envs.tasks``. A few minutes for each of the MuJoCo tasks.
"""

from __future__ import annotations

import sys

import numpy as np

from dyna_ail.demos import Demonstrations
from dyna_ail.envs.recording import REFERENCE_EPISODES, random_return, read_expert, record_episodes
from dyna_ail.envs.tasks import BUNDLED, TASKS


def row(task: str) -> str:
    """One line of the table."""
    about, policy = read_expert(task, BUNDLED / task)
    trajectories, _ = record_episodes(task, policy, REFERENCE_EPISODES, seed=0)
    returns = np.array([trajectory.return_ for trajectory in trajectories])
    steps = np.array([trajectory.length for trajectory in trajectories])
    random_mean, random_std = random_return(task, REFERENCE_EPISODES)
    demos = TASKS[task].demos
    held = "none"
    if demos is not None:
        bundled = Demonstrations.load(demos)
        held = f"{len(bundled.trajectories)}" + (f", every {bundled.thinned}th pair" if bundled.thinned > 1 else "")
    return (
        f"| {task} | {random_mean:,.2f} ± {random_std:,.2f} | {returns.mean():,.2f} ± {returns.std():,.2f} "
        f"| {steps.mean():,.0f} | {about['algorithm'].split()[0]} | {about['best_at']:,} of {about['steps']:,} "
        f"| {about['minutes']:.1f} | {held} |"
    )


def main(tasks: list[str]) -> None:
    """Print the table."""
    print("| task | random | expert | its steps an episode | algorithm | steps | minutes | bundled trajectories |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for task in tasks:
        print(row(task), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TASKS))
