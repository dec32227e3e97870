"""``dyna-ail demos record | convert | check | info``: demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail.cli.common import OptionalPath, at_least, check_seed, expert_folder, file_name, refuse_existing
from dyna_ail.errors import InputError, number, printable

Source = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="DEMOS", help="A file, a folder, a policy or the id of a Minari dataset."),
]


@dataclass
class DemosRecord:
    """Record full deterministic episodes of a trained expert, with their provenance."""

    task: str = "Hopper-v5"
    """Gymnasium id, or module:id to import the module first."""
    expert: OptionalPath = None
    """Folder written by `dyna-ail expert train`; by default the one bundled for the task."""
    out: OptionalPath = None
    """The file to write; by default results/runs/demos-TASK.npz."""
    episodes: int = 25
    """Episodes to record."""
    thinned: int = 1
    """Keep every k-th pair of each episode, from an offset drawn with the seed; 1 keeps all."""
    seed: int = 0
    """Seed of the environments."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite --out."""

    def run(self) -> None:
        """Record, and print what was recorded."""
        from dyna_ail.envs.recording import record_demonstrations
        from dyna_ail.envs.tasks import get_task

        get_task(self.task)  # before its name is part of a path
        check_seed(self.seed)
        out = self.out or expert_folder(self.task).with_name(f"demos-{file_name(self.task)}.npz")
        refuse_existing(out, self.force)
        record_demonstrations(self.task, self.expert, out, self.episodes, self.seed, self.thinned)
        DemosInfo(str(out)).run()


@dataclass
class DemosConvert:
    """Convert demonstrations of any known format to an npz file or a Minari dataset."""

    source: Source
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TARGET")]
    """A path that ends in .npz, or a Minari id, [namespace/]name-vN."""
    task: str
    """Gymnasium id, or module:id to import the module first."""
    thinned: int = 1
    """Keep every k-th pair of each episode, from an offset drawn with the seed; 1 keeps all."""
    episodes: int = 25
    """Episodes to record, if the source is a policy."""
    seed: int = 0
    """Seed of the episodes recorded from a policy, and of the offset of --thinned."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite TARGET if it is a file."""

    def run(self) -> None:
        """Convert, and print what was written."""
        import numpy as np

        from dyna_ail import formats
        from dyna_ail.formats.episodes import Room

        at_least("--episodes", self.episodes, 1)
        check_seed(self.seed)
        refuse_existing(Path(self.target), self.force)
        found = formats.load(self.source, self.task, self.episodes, self.seed)
        room = Room.of(self.task)
        found.check(room.observation_space, room.action_space)
        found = found.subsample(self.thinned, np.random.default_rng(self.seed))
        print(f"{len(found.trajectories)} trajectories in {formats.save(found, self.target, self.task)}")


@dataclass
class DemosCheck:
    """Check before any training whether demonstrations fit a task, and say how to mend what does not."""

    source: Source
    task: str
    """Gymnasium id, or module:id to import the module first."""

    def run(self) -> None:
        """Print what was found.

        Raises:
            InputError: a check found an error, with which training would fail or mislead.
        """
        from dyna_ail import formats
        from dyna_ail.checks import check_demonstrations, report
        from dyna_ail.config import make_config
        from dyna_ail.envs.tasks import get_task

        trajectories = make_config("dyna-ail", get_task(self.task).defaults).trajectories
        findings = check_demonstrations(formats.load(self.source, self.task, trajectories, seed=0), self.task)
        print(report(findings))
        if any(finding.level == "error" for finding in findings):
            raise InputError(f"{self.source} and {self.task} do not fit.")


@dataclass
class DemosInfo:
    """Print what demonstrations hold and where they come from."""

    source: Source
    task: str | None = None
    """Gymnasium id, or module:id; needed unless the source is an npz file of this package."""

    def run(self) -> None:
        """Print it."""
        import json

        from dyna_ail import formats
        from dyna_ail.demos import Demonstrations

        if self.task is None:
            try:
                found = Demonstrations.load(self.source)
            except InputError as error:
                raise InputError(f"{error} What is not an npz file of this package needs --task.") from error
        else:
            found = formats.load(self.source, self.task, episodes=1, seed=0)
        lengths = [trajectory.length for trajectory in found.trajectories]
        unit = "steps" if found.thinned == 1 else f"pairs, one in {found.thinned} of the episode's"
        first = found.trajectories[0]
        actions = "discrete" if first.action.ndim == 1 else f"{first.action.shape[1]} numbers"
        print(f"source        {self.source}")
        print(f"trajectories  {len(lengths)}, of {min(lengths)} to {max(lengths)} {unit}, {sum(lengths)} pairs in all")
        returns = found.returns
        print(f"returns       {number(returns.mean())} ± {number(returns.std())}, from {number(returns.min())}", end="")
        print(f" to {number(returns.max())}")
        print(f"observations  {first.obs.shape[1]} numbers")
        print(f"actions       {actions}")
        for key, value in found.metadata.items():
            if key not in ("returns", "reset_seeds"):
                print(printable(f"{key:<13} {value if isinstance(value, str) else json.dumps(value)}"))
