"""The command line: one class a command, from ``dyna-ail train`` to ``dyna-ail demos info``.

On top of everything, and imported by nobody. Torch, Gymnasium and matplotlib are loaded by the commands that need them,
so that ``--help`` answers at once.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail import __version__
from dyna_ail.config import Config, make_config, nearest
from dyna_ail.errors import InputError, printable
from dyna_ail.exits import guarded

Source = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="DEMOS", help="A file, a folder, a policy or the id of a Minari dataset."),
]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]


@dataclass
class Train:
    """Train a policy from demonstrations, and keep everything about the run in a folder.

    The defaults shown are those of the given --preset and --task. Presets: dyna-ail, dyna-mgail and dyna-trpo (as in
    the paper's figures), mgail and gail (no planner), model-free and model-based (one phase of dyna-ail alone), bc
    (behavioural cloning, no interaction).
    """

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)
    out: OptionalPath = None
    """Folder of the run, which must not exist; by default a new one, results/runs/TASK-PRESET-SEED-TIME."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite the run in --out, whose other files stay; resuming, let a run without a checkpoint start over."""
    progress: bool = True
    """Show a progress bar; where the output is not a terminal, one line per evaluation."""
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write TensorBoard event files into the folder."""
    resume: OptionalPath = None
    """Go on with the interrupted run in this folder, by default none. Its configuration is its own: give no other
    options, except for what is shown or logged."""

    def run(self) -> None:
        """Train.

        Raises:
            InputError: --resume together with other settings than the run's, or with --out.
        """
        from dyna_ail.record import read_config
        from dyna_ail.run import resume, train

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
    """Run the policy of a finished or stopped run and print what it earns."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="run", metavar="RUN")]
    """Folder of the run."""
    episodes: int = 10
    """Deterministic episodes."""
    seed: int = 0
    """Seed of the environments."""

    def run(self) -> None:
        """Print the mean return, its standard deviation and the score."""
        from dyna_ail.evaluation import evaluate, make_environments, normalised_score
        from dyna_ail.record import read
        from dyna_ail.run import load_policy

        _at_least("--episodes", self.episodes, 1)
        _check_seed(self.seed)
        record, policy = read(self.run_folder), load_policy(self.run_folder)
        timeout = record.config.safety.step_timeout
        with closing(make_environments(record.config.task, self.episodes, timeout)) as environments:
            result = evaluate(policy, environments, self.episodes, self.seed)
        score = normalised_score(result.mean, record.random, record.expert)
        line = f"return {result.mean:,.1f} ± {result.std:,.1f} over {self.episodes} deterministic episodes"
        print(line + (f", {score:.0%} of the expert" if score == score else ""))


@dataclass
class Plot:
    """Draw runs, wherever they were made: their return against environment interactions, or another figure.

    Runs that differ in their seed alone are drawn as one setting: interquartile mean and 95% bootstrap interval.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    """Folders of runs."""
    out: OptionalPath = None
    """The .png or .pdf to write (several runs: both, and the numbers as .csv); by default named after the figure, in
    the folder of a single run."""
    held: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """Draw the interactions to held 90% of the expert against this setting instead, such as planner.horizon; by default
    not drawn."""
    score: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Draw the scores after so many interactions instead; by default not drawn."""
    share: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw planning's share of the wall time instead."""
    diagnostics: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw one page of diagnostics instead."""

    def run(self) -> None:
        """Draw, and print the files.

        Raises:
            InputError: more than one figure asked for, or runs that do not fit it.
        """
        from dyna_ail import plots
        from dyna_ail.record import FIGURE, is_begun

        options = {"held": self.held, "score": self.score, "share": self.share, "diagnostics": self.diagnostics}
        asked = [name for name, value in options.items() if value is not None and value is not False]
        if len(asked) > 1:
            raise InputError(f"one figure at a time: give one of {', '.join(f'--{name}' for name in asked)}.")
        name = f"{asked[0]}_figure.png" if asked else FIGURE
        out = self.out or (self.runs[0] / name if len(self.runs) == 1 else Path(name))
        if len(self.runs) > 1 and self.out is None and not asked and is_begun(Path()) and out.exists():
            raise InputError("a figure of several runs would overwrite that of the run in this folder; give --out.")
        if self.held is not None:
            files = plots.held_interactions(self.runs, out, self.held)
        elif self.score is not None:
            files = plots.scores_at(self.runs, out, self.score)
        elif self.share:
            files = plots.planning_share(self.runs, out)
        elif self.diagnostics:
            files = plots.diagnostics_page(self.runs, out)
        else:
            files = plots.learning_curves(self.runs, out)
        for file in files:
            print(file)


@dataclass
class Table:
    """Print a Markdown table of runs: interactions to held 90% of the expert, final scores, minutes."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    """Folders of runs."""
    threshold: float = 0.9
    """The score to be held for three evaluations, as a fraction of the expert's."""
    against: Annotated[str | None, tyro.conf.arg(metavar="SETTING")] = None
    """Compare the others' interactions with those of this setting, named as in the table."""
    until: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Take the runs as they were after so many interactions; by default whole."""

    def run(self) -> None:
        """Print it."""
        from dyna_ail.tables import scores

        for line in scores(self.runs, self.threshold, self.against, self.until).split("\n"):
            print(printable(line))


Vary = Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE,...")]


@dataclass
class Sweep:
    """Train a grid of runs, several at a time; started again, it goes on where it was stopped.

    Every combination of the varied values is run with every seed.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Folder of the sweep: runs are written to TASK/SETTING/SEED in it."""
    vary: Vary = ()
    """A setting of `dyna-ail train` and its values, such as planner.horizon=5,10,50, task=Hopper-v5,Walker2d-v5 or
    preset=dyna-ail,gail; may be given many times, and with one value to set it. By default nothing varies but the
    seed."""
    seeds: int = 5
    """Seeds 0 to N - 1."""
    jobs: int = os.cpu_count() or 1
    """Runs at a time, by default one for every core."""
    scheduler: str | None = None
    """Address of a Dask cluster whose workers see the same folders, such as tcp://host:8786; by default the runs are
    made on this machine."""

    def run(self) -> None:
        """Run it, and say what failed.

        Raises:
            InputError: what cannot be varied, a folder that holds other runs, a cluster that cannot be reached.
            SweepError: some runs failed or were stopped.
        """
        from dyna_ail.sweep import grid, read_variations, run

        _at_least("--jobs", self.jobs, 1)
        run(grid(read_variations(self.vary), self.seeds, self.out), self.jobs, self.scheduler)


@dataclass
class Ablate:
    """Compare both phases together with each of them alone at equal real interactions: a sweep, a figure and a table.

    The presets dyna-ail (both), model-free (its trust-region steps alone) and model-based (its planning alone).
    """

    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Folder of the study."""
    vary: Vary = ()
    """Other settings, as in `dyna-ail sweep`; by default none."""
    seeds: int = 5
    """Seeds 0 to N - 1."""
    jobs: int = os.cpu_count() or 1
    """Runs at a time, by default one for every core."""
    scheduler: str | None = None
    """Address of a Dask cluster, as in `dyna-ail sweep`; by default none."""

    def run(self) -> None:
        """Run it, draw it and print the table.

        Raises:
            InputError: as `dyna-ail sweep`, or --vary names the preset, which is what is compared.
            SweepError: some runs failed or were stopped; nothing is drawn then.
        """
        from dyna_ail.plots import learning_curves
        from dyna_ail.sweep import grid, read_variations, run
        from dyna_ail.tables import scores

        _at_least("--jobs", self.jobs, 1)
        others, phases = read_variations(self.vary), ["dyna-ail", "model-free", "model-based"]
        if "preset" in others:
            raise InputError(f"ablate compares the presets {', '.join(phases)}; for others: dyna-ail sweep.")
        cells = grid({"preset": phases, **others}, self.seeds, self.out)
        run(cells, self.jobs, self.scheduler)
        folders = [cell.folder for cell in cells]
        for file in learning_curves(folders, self.out / "ablation.png"):
            print(file)
        table = scores(folders)
        (self.out / "ablation.md").write_text(table + "\n", encoding="utf-8")
        print(table)


@dataclass
class ExpertTrain:
    """Train an expert on the task's own reward, with the recipe of the task; the best evaluated policy is kept."""

    task: str = "Hopper-v5"
    """Gymnasium id, or module:id to import the module first."""
    out: OptionalPath = None
    """Folder of the expert; by default results/runs/expert-TASK."""
    timesteps: int | None = None
    """Training steps; by default the task's."""
    seed: int = 0
    """Seed of the network, its noise and the environments."""
    progress: bool = True
    """Show a progress bar."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the training in --out, from its last evaluation; --timesteps may be more than it had."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite the expert in --out."""

    def run(self) -> None:
        """Train, and print where the expert is."""
        from dyna_ail.envs.experts import train_expert
        from dyna_ail.envs.tasks import get_task

        get_task(self.task)  # before its name is part of a path
        _check_seed(self.seed)
        out = self.out or _expert_folder(self.task)
        _refuse_existing(out, self.force or self.resume)
        expert = train_expert(self.task, out, self.timesteps, self.seed, self.resume, self.progress)
        print(f"return {expert['evaluation_return']:,.1f}; expert in {out}")
        print(f"record it: dyna-ail demos record --task {self.task} --expert {shlex.quote(str(out))}")


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
        _check_seed(self.seed)
        out = self.out or _expert_folder(self.task).with_name(f"demos-{_file_name(self.task)}.npz")
        _refuse_existing(out, self.force)
        record_demonstrations(self.task, self.expert, out, self.episodes, self.seed, self.thinned)
        DemosInfo(str(out)).run()


@dataclass
class DemosConvert:
    """Write demonstrations of any format that is understood as an npz file or a Minari dataset."""

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
    """Seed of those episodes and of --thinned."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Overwrite a file."""

    def run(self) -> None:
        """Convert, and print what was written."""
        import numpy as np

        from dyna_ail import formats
        from dyna_ail.formats.episodes import Room

        _at_least("--episodes", self.episodes, 1)
        _check_seed(self.seed)
        _refuse_existing(Path(self.target), self.force)
        found = formats.load(self.source, self.task, self.episodes, self.seed)
        room = Room.of(self.task)
        found.check(room.observation_space, room.action_space)
        found = found.thin(self.thinned, np.random.default_rng(self.seed))
        print(f"{len(found.trajectories)} trajectories in {formats.save(found, self.target, self.task)}")


@dataclass
class DemosCheck:
    """Tell whether demonstrations and a task fit, before any training, and how to mend what does not."""

    source: Source
    task: str
    """Gymnasium id, or module:id to import the module first."""

    def run(self) -> None:
        """Print what was found.

        Raises:
            InputError: something with which training would fail or mislead.
        """
        from dyna_ail import formats
        from dyna_ail.checks import check_demonstrations, report
        from dyna_ail.envs.tasks import get_task

        trajectories = get_task(self.task).defaults.get("trajectories", Config.trajectories)
        assert isinstance(trajectories, int)
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
        from dyna_ail.demonstrations import Demonstrations

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
        print(f"returns       {returns.mean():,.1f} ± {returns.std():,.1f}, from {returns.min():,.1f}", end="")
        print(f" to {returns.max():,.1f}")
        print(f"observations  {first.obs.shape[1]} numbers")
        print(f"actions       {actions}")
        for key, value in found.metadata.items():
            if key not in ("returns", "reset_seeds"):
                print(printable(f"{key:<13} {value if isinstance(value, str) else json.dumps(value)}"))


Command = (
    Train | Sweep | Ablate | Evaluate | Plot | Table | ExpertTrain | DemosRecord | DemosConvert | DemosCheck | DemosInfo
)
COMMANDS = {
    "train": Train,
    "sweep": Sweep,
    "ablate": Ablate,
    "evaluate": Evaluate,
    "plot": Plot,
    "table": Table,
    "expert train": ExpertTrain,
    "demos record": DemosRecord,
    "demos convert": DemosConvert,
    "demos check": DemosCheck,
    "demos info": DemosInfo,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 done; 1 a value became NaN or infinite, the environment failed or ended the process, or runs of a sweep did
        not finish; 2 the input cannot be used, or takes too much memory; 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    return guarded(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"dyna-ail {__version__}")
        return 0
    words = next((n for n in (2, 1) if " ".join(arguments[:n]) in COMMANDS), 0)
    if not words:
        if set(arguments) & {"-h", "--help"} or not arguments:
            print(_overview())
            return 0 if arguments else 2
        asked = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), arguments[:2])) or arguments[0]
        raise InputError(f"unknown command {asked!r}: {nearest(asked, COMMANDS)}")
    name, rest = " ".join(arguments[:words]), arguments[words:]
    default = Train(_defaults(rest)) if name == "train" else tyro.MISSING_NONPROP
    try:
        command: Command = tyro.cli(
            COMMANDS[name], prog=f"dyna-ail {name}", args=rest, default=default, use_underscores=True
        )
    except SystemExit as stop:  # after --help, or a message of its own
        return stop.code if isinstance(stop.code, int) else 0
    command.run()
    return 0


def _overview() -> str:
    """What ``dyna-ail --help`` prints: the commands, each with the first line of its explanation."""
    lines = [f"  {name:<14}{(kind.__doc__ or '').splitlines()[0]}" for name, kind in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dyna-ail [-h] [--version] COMMAND ...",
            "",
            "Imitation learning with few interactions, by planning in a learned model.",
            "",
            *lines,
            "",
            "dyna-ail COMMAND --help explains every option of a command, with its default.",
        ]
    )


def _defaults(arguments: list[str]) -> Config:
    """The configuration of the given --preset and --task, or of the run to --resume, before the other options."""
    from dyna_ail.envs.tasks import get_task

    found = {}
    for option in ("task", "preset", "resume"):
        for i, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if name == f"--{option}" and (equals or i + 1 < len(arguments)):
                found[option] = value if equals else arguments[i + 1]
    if "resume" in found:
        from dyna_ail.record import read_config

        return read_config(Path(found["resume"]))
    task = get_task(found.get("task", Config.task))
    return make_config(found.get("preset", Config.preset), task.defaults, task=task.id)


def _file_name(task: str) -> str:
    return task.replace(":", "-").replace("/", "-")


def _expert_folder(task: str) -> Path:
    return Path("results", "runs", f"expert-{_file_name(task)}")


def _refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise InputError(f"{out} exists; choose another name, or overwrite it with --force.")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed must be at least 0 and below 2**32; got {seed}.")


def _at_least(option: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{option} must be at least {least}; got {value}.")
