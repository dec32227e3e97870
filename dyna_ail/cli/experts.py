"""``dyna-ail expert train``: a demonstrator for a task that has none."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import tyro

from dyna_ail.cli.common import OptionalPath, check_seed, expert_folder, refuse_existing
from dyna_ail.errors import number


@dataclass
class ExpertTrain:
    """Train an expert on the task's own reward, with the task's recipe, and keep the best evaluated policy."""

    task: str = "Hopper-v5"
    """Gymnasium id, or module:id to import the module first."""
    out: OptionalPath = None
    """Folder of the expert; by default results/runs/expert-TASK."""
    timesteps: int | None = None
    """Training steps; by default those of the task's recipe."""
    seed: int = 0
    """Seed of the network, its noise and the environments."""
    progress: bool = True
    """Show a progress bar."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Continue the training in --out from its last evaluation. --timesteps may be larger than before."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite the expert in --out."""

    def run(self) -> None:
        """Train, and print where the expert is."""
        from dyna_ail.envs.experts import train_expert
        from dyna_ail.envs.tasks import get_task

        get_task(self.task)  # before its name is part of a path
        check_seed(self.seed)
        out = self.out or expert_folder(self.task)
        refuse_existing(out, self.force or self.resume)
        expert = train_expert(self.task, out, self.timesteps, self.seed, self.resume, self.progress)
        print(f"return {number(expert['evaluation_return'])}; expert in {out}")
        print(f"record it: dyna-ail demos record --task {self.task} --expert {shlex.quote(str(out))}")
