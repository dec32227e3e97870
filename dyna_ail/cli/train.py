"""``dyna-ail train`` and ``dyna-ail evaluate``: one run, and what its policy earns."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail.cli.common import OptionalPath, at_least, check_seed
from dyna_ail.config import RunConfig, make_run_config
from dyna_ail.errors import InputError, number


@dataclass
class Train:
    """Train a policy from demonstrations, and write everything about the run into a folder.

    The defaults shown are those of the given --preset and --task. Presets: dyna-ail, dyna-mgail and dyna-trpo (as in
    the paper's figures), mgail and gail (no planner), model-free and model-based (one phase of dyna-ail alone), bc
    (behavioural cloning, no interaction).
    """

    config: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)
    out: OptionalPath = None
    """Folder of the run. It must not exist yet; by default it is results/runs/TASK-PRESET-SEED-TIME."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite the run in --out; other files in that folder stay. If a run to be resumed has no checkpoint, start it
    over."""
    progress: bool = True
    """Show a progress bar; where the output is not a terminal, one line per evaluation."""
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write TensorBoard event files into the folder."""
    resume: OptionalPath = None
    """Continue the interrupted run in this folder, with its own configuration; by default none. No settings may be
    given beside it."""

    def run(self) -> None:
        """Train.

        Raises:
            InputError: --resume is given with settings that differ from the run's, or with --out.
        """
        from dyna_ail.records.reading import read_config
        from dyna_ail.runs import resume, train

        if self.resume is None:
            train(self.config, self.out, self.force, self.progress, self.tensorboard)
            return
        if self.config != read_config(self.resume) or self.out:
            raise InputError(
                "a run is resumed with its own configuration: besides --resume give only --progress, --tensorboard or "
                "--force."
            )
        resume(self.resume, self.progress, self.tensorboard, self.force)


@dataclass
class Evaluate:
    """Evaluate the policy of a finished or stopped run, and print its return and score."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="run", metavar="RUN")]
    """Folder of the run."""
    episodes: int = 10
    """Deterministic episodes."""
    seed: int = 0
    """Seed of the environments."""

    def run(self) -> None:
        """Print the mean return, its standard deviation and the score."""
        from dyna_ail.records.reading import read_config
        from dyna_ail.runs.evaluation import evaluate, make_environments, normalised_score
        from dyna_ail.runs.policy import load_policy
        from dyna_ail.runs.sources import kept_references

        at_least("--episodes", self.episodes, 1)
        check_seed(self.seed)
        config, policy = read_config(self.run_folder), load_policy(self.run_folder)
        with closing(make_environments(config.task, self.episodes, config.safety.step_timeout)) as environments:
            result = evaluate(policy, environments, self.episodes, self.seed)
        score = normalised_score(result.mean, **kept_references(self.run_folder, config.task))
        line = f"return {number(result.mean)} ± {number(result.std)} over {self.episodes} deterministic episodes"
        print(line + (f", {score:.0%} of the expert" if score == score else ""))


def train_defaults(arguments: list[str]) -> RunConfig:
    """The configuration of the given --preset and --task, or of the run to --resume, before the other options."""
    from dyna_ail.envs.tasks import get_task

    found = {}
    for option in ("task", "preset", "resume"):
        for i, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if name == f"--{option}" and (equals or i + 1 < len(arguments)):
                found[option] = value if equals else arguments[i + 1]
    if "resume" in found:
        from dyna_ail.records.reading import read_config

        return read_config(Path(found["resume"]))
    task = get_task(found.get("task", RunConfig.task))
    return make_run_config(found.get("preset", RunConfig.preset), task.run_defaults, task=task.id)
