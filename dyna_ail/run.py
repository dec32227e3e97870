"""One run from configuration to folder: trains, evaluates on the way and writes everything down as it is made.

The learner never sees the environment's reward; the evaluations here see nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dyna_ail import formats, record
from dyna_ail.config import Config
from dyna_ail.demonstrations import Demonstrations
from dyna_ail.errors import InputError, NonFiniteError
from dyna_ail.evaluation import Evaluation, evaluate, evaluation_seed, make_environments, normalised_score
from dyna_ail.statistics import interactions_to

if TYPE_CHECKING:
    from stable_baselines3.common.logger import KVWriter, Logger
    from stable_baselines3.common.policies import ActorCriticPolicy

    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import Task


def train(
    config: Config, out: Path | None = None, force: bool = False, progress: bool = True, tensorboard: bool = False
) -> Path:
    """Train as ``config`` says and leave a run's folder behind.

    Args:
        config: the resolved configuration.
        out: folder of the run; by default a new one under results/runs.
        force: overwrite the run in ``out``.
        progress: show a progress bar, or one line per evaluation where stdout is not a terminal.
        tensorboard: also write TensorBoard event files.

    Returns:
        The folder.

    Raises:
        InputError: the task, the demonstrations or the folder cannot be used; raised before any training.
        NonFiniteError: a loss, gradient or weight became NaN or infinite; the folder keeps what there is.
        KeyboardInterrupt: stopped by Ctrl-C, after the iteration in progress (at once on the second); the folder
            keeps what there is.
    """
    import torch

    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import get_task, make_env

    torch.set_num_threads(1)
    task = get_task(config.task)
    source = demonstration_source(config, task)
    demonstrations = formats.load(source, config.task, config.trajectories, config.seed)
    env = make_env(config.task)
    learner = DynaAIL(env, demonstrations, config)
    references = _references(task, demonstrations)
    provenance = {**demonstrations.metadata, "file": config.demos or source.name}
    if source.is_file():
        provenance["sha256"] = record.sha256(source)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard: pip install tensorboard.")

    folder = record.create_folder(config, out, force)
    record.write_json(
        folder / record.VERSIONS,
        {**record.versions(), "seed": config.seed, "references": references, "demonstrations": provenance},
    )
    journal = Journal(folder, config, references, progress, tensorboard)
    try:
        with _stop_on_interrupt(journal):
            learner.learn(config.interactions, journal)
    except (KeyboardInterrupt, NonFiniteError):
        journal.close("stopped")
        raise
    finally:
        env.close()
        journal.close_display()
    journal.close("finished")
    return folder


def demonstration_source(config: Config, task: Task) -> Path:
    """What to imitate: ``config.demos``, or the file bundled for the task.

    Raises:
        InputError: none is named and none is bundled.
    """
    if config.demos is not None:
        return Path(config.demos)
    if task.demos is None:
        raise InputError(
            f"no demonstrations are bundled for {config.task}; give some with --demos: a file, a folder, a policy of "
            "Stable-Baselines3 or the id of a Minari dataset."
        )
    return task.demos


def load_policy(folder: Path) -> ActorCriticPolicy:
    """The policy in a run's folder. Runs no code from the file: only weights are read, into a policy built anew.

    Raises:
        InputError: no run, no policy in it, or one that is damaged or does not fit the run's configuration.
    """
    from dyna_ail import policy
    from dyna_ail.envs.tasks import make_env

    config, path = record.read_config(folder), folder / record.POLICY
    if not path.exists():
        raise InputError(f"{folder} has no {record.POLICY} yet: its run stopped before the first evaluation.")
    env = make_env(config.task)
    spaces = env.observation_space, env.action_space
    env.close()
    return policy.load_policy(path, *spaces, config)


class Journal:
    """The callback of a run: evaluates, writes the rows, keeps policy.zip fresh and tells the user."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        references: dict[str, float | None],
        progress: bool,
        tensorboard: bool,
    ) -> None:
        """Make the environments for evaluation and open the tables.

        Args:
            folder: the run's folder, which exists.
            config: the run's configuration.
            references: returns of the ``random`` policy and of the ``expert``; None where unknown.
            progress: whether to report while running.
            tensorboard: also write event files.
        """
        from stable_baselines3.common.logger import TensorBoardOutputFormat

        self.folder, self.config, self.references = folder, config, references
        self.environments = make_environments(config.task, config.evaluation.episodes)
        shared = [TensorBoardOutputFormat(str(folder))] if tensorboard else []
        self.progress = _Table(folder / record.PROGRESS, shared)
        self.diagnostics = _Table(folder / record.DIAGNOSTICS, shared)
        self.display = _Display(config.interactions) if progress else None
        self.start = time.perf_counter()
        self.next_evaluation = 0
        self.evaluated_at = -1
        self.interrupted = False

    def __call__(self, learner: DynaAIL) -> None:
        """Record one iteration.

        Raises:
            KeyboardInterrupt: the user has asked to stop; policy.zip is the current policy, evaluated.
        """
        done = learner.interactions
        if learner.iteration > 0 or self.config.interactions == 0:
            counts = {"interactions": done, "imagined": learner.imagined, "seconds": self._seconds()}
            self.diagnostics.write({**counts, **learner.metrics}, done)
        due = done >= self.next_evaluation or done >= self.config.interactions or self.interrupted
        if due and done != self.evaluated_at:
            self._evaluate(learner)
        elif self.display:
            self.display.advance(done)
        if self.interrupted:
            raise KeyboardInterrupt

    def _evaluate(self, learner: DynaAIL) -> None:
        done, every = learner.interactions, self.config.evaluation.every
        seed = evaluation_seed(self.config.seed, done)
        result = evaluate(learner.policy, self.environments, self.config.evaluation.episodes, seed)
        score = normalised_score(result.mean, self.references["random"], self.references["expert"])
        row = {
            "interactions": done,
            "imagined": learner.imagined,
            "return_mean": result.mean,
            "return_std": result.std,
            "length_mean": float(result.lengths.mean()),
            "score": score,
            "seconds": self._seconds(),
        }
        self.progress.write(row, done)
        self.save_policy(learner)
        self.next_evaluation = (done // every + 1) * every
        self.evaluated_at = done
        if self.display:
            self.display.advance(done, result, score)

    def save_policy(self, learner: DynaAIL) -> None:
        """Replace policy.zip in one step, so that a killed run leaves a whole one."""
        temporary = self.folder / ".policy.zip"
        learner.save(temporary)
        os.replace(temporary, self.folder / record.POLICY)

    def close(self, how: str) -> None:
        """Close the tables, draw the figure and print the summary; ``how`` the run ended."""
        self.progress.close()
        self.diagnostics.close()
        self.environments.close()
        self.close_display()
        if self.evaluated_at < 0:
            print(f"{how} before the first evaluation; folder {self.folder}")
            return
        from dyna_ail.plots import learning_curves

        learning_curves([self.folder], self.folder / record.FIGURE)
        print(summary(self.folder, how))
        for label, name in (("folder", ""), ("policy", record.POLICY), ("figure", record.FIGURE)):
            print(f"  {label}  {self.folder / name}")

    def close_display(self) -> None:
        """Give the terminal back."""
        if self.display:
            self.display.close()

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.start, 3)


def summary(folder: Path, how: str) -> str:
    """One line about a run that has ``how`` ("finished", "stopped"): its last score and when it reached the expert."""
    progress = record.read_progress(folder / record.PROGRESS)
    parts = [f"return {progress['return_mean'][-1]:,.1f}"]
    if np.isfinite(progress["score"][-1]):
        first, held = interactions_to(progress), interactions_to(progress, hold=3)
        parts[0] += f" ({progress['score'][-1]:.0%} of the expert)"
        parts.append(
            "90% never reached"
            if first is None
            else f"90% first at {first:,}, {f'held from {held:,}' if held is not None else 'not held'}"
        )
    minutes = progress["seconds"][-1] / 60
    return f"{how}: {', '.join(parts)}; {int(progress['interactions'][-1]):,} interactions in {minutes:.1f} min"


class _Table:
    """One CSV file, and perhaps TensorBoard, behind SB3's logger; every row is flushed as it is written."""

    def __init__(self, path: Path, shared: Sequence[KVWriter]) -> None:
        self.path, self.shared = path, shared
        self.logger: Logger | None = None

    def write(self, row: dict[str, Any], step: int) -> None:
        from stable_baselines3.common.logger import CSVOutputFormat, Logger

        if self.logger is None:
            output = CSVOutputFormat(str(self.path))
            # SB3 takes new columns from a set, in an order that changes with every process: name the first ones here.
            output.keys = list(row)
            output.file.write(",".join(row) + "\n")
            self.logger = Logger(folder=str(self.path.parent), output_formats=[output, *self.shared])
        for key, value in row.items():
            self.logger.record(key, value)
        self.logger.dump(step)

    def close(self) -> None:
        if self.logger is not None:
            self.logger.close()


class _Display:
    """What the user sees of a run in progress: a bar on a terminal, else one plain line per evaluation."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.total = total
        self.start = time.perf_counter()
        self.bar: Progress | None = None
        if Console().is_terminal:
            self.bar = Progress(
                BarColumn(bar_width=16),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} interactions"),
                TextColumn("{task.fields[status]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
                refresh_per_second=2,
                speed_estimate_period=600,
            )
            self.task = self.bar.add_task("train", total=total, status="")
            self.bar.start()

    def advance(self, done: int, result: Evaluation | None = None, score: float = float("nan")) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
            if result is not None:  # short, for terminals of 80 columns
                share = f"return {score:.0%} of expert" if np.isfinite(score) else f"return {result.mean:,.1f}"
                self.bar.update(self.task, status=share)
        elif result is not None:
            share = f" = {score:.0%} of expert" if np.isfinite(score) else ""
            elapsed = time.perf_counter() - self.start
            left = _clock(elapsed * (self.total - done) / done) if done else "-:--"
            line = (
                f"{done:,}/{self.total:,} interactions  return {result.mean:,.1f}{share}  {_clock(elapsed)} left {left}"
            )
            print(line, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


@contextmanager
def _stop_on_interrupt(journal: Journal) -> Iterator[None]:
    """Let the first Ctrl-C end the run after the iteration in progress, and the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: object) -> None:
        if journal.interrupted:
            raise KeyboardInterrupt
        journal.interrupted = True
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after this iteration; press Ctrl-C again to stop at once\n")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _references(task: Task, demonstrations: Demonstrations) -> dict[str, float | None]:
    """Returns of score 0 and 1: those in the demonstrations' metadata, else the task's, else unknown.

    Raises:
        InputError: the metadata has something else than a number there.
    """
    found: dict[str, float | None] = {}
    for name, known in (("random", task.random), ("expert", task.expert)):
        value = demonstrations.metadata.get(f"{name}_return", known)
        if value is not None and not (isinstance(value, int | float) and np.isfinite(value)):
            raise InputError(f"the demonstrations' {name}_return must be a finite number; got {value!r}.")
        found[name] = value
    return found
