"""One run from configuration to folder: trains, evaluates on the way and writes everything down as it is made.

The learner never sees the environment's reward; the evaluations here see nothing else.
"""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail import formats, record
from dyna_ail.config import Config
from dyna_ail.demonstrations import Demonstrations, ExpertPairs
from dyna_ail.errors import EnvironmentFailure, InputError, NonFiniteError, Stopped, of_the_machine, one_line

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy

    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import Task
    from dyna_ail.journal import Journal


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
        InputError: the task, the demonstrations or the folder cannot be used, raised before any training;
            or the disk is full.
        EnvironmentFailure: the environment raised, hung, or returned something else than its space says.
        NonFiniteError: a loss, gradient or weight became NaN or infinite.
        Stopped: by Ctrl-C or SIGTERM, after the step or update in progress (at once on the second).

    Whatever ends it, the folder keeps what there is.
    """
    import torch

    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import get_task, make_env, time_limit
    from dyna_ail.journal import Journal

    torch.set_num_threads(1)
    _check_tensorboard(tensorboard)
    task = get_task(config.task)
    source = demonstration_source(config, task)
    demonstrations = formats.load(source, config.task, config.trajectories, config.seed)
    env = make_env(config.task)
    if time_limit(env) is None:
        _warn(f"{config.task} has no time limit: an episode may never end. Register it with max_episode_steps.")
    learner = DynaAIL(env, demonstrations, config)
    references = _references(task, demonstrations)
    provenance = dict(demonstrations.metadata)
    if config.demos is None:  # where this package is installed does not matter to anyone else
        provenance["source"] = {**provenance["source"], "path": f"bundled/{source.name}"}
    with record.new_folder(config, out, force) as folder:
        record.write_json(
            folder / record.VERSIONS,
            {**record.versions(), "seed": config.seed, "references": references, "demonstrations": provenance},
        )
        _learn(learner, Journal(folder, config, references, progress, tensorboard))
    return folder


def resume(folder: Path, progress: bool = True, tensorboard: bool = False, force: bool = False) -> Path:
    """Go on with an interrupted run, to the end that it would have had: bit for bit, on the same machine and versions.

    What was written after the checkpoint is made again. A run without a checkpoint starts over, with ``force`` also if
    that erases more than the evaluation before its first interaction.

    Args:
        folder: the run's folder.
        progress: as :func:`train`.
        tensorboard: as :func:`train`.
        force: start over even if evaluations are erased.

    Returns:
        The folder.

    Raises:
        InputError: no run, one in progress, one without a checkpoint whose evaluations would be erased, all of its
            checkpoints are damaged, or the disk is full.
        EnvironmentFailure, NonFiniteError, Stopped: as :func:`train`.
    """
    import torch

    from dyna_ail.journal import Journal

    torch.set_num_threads(1)
    _check_tensorboard(tensorboard)
    config = record.read_config(folder)
    with record.locked(folder):
        record.remove_unfinished(folder)
        restored = _restored(folder, config)
        if restored is not None:
            learner, state = restored
            references = record.read_references(folder, config.task)
            journal = Journal(folder, config, references, progress, tensorboard, state["journal"])
            for change in record.note_resumed(folder, learner.interactions):
                _warn(f"{change}; the rest of the run may differ from what it would have been.")
            print(f"resumed at {learner.interactions:,} interactions")
            _learn(learner, journal)
            return folder
    done = record.interactions_done(folder)
    if done is not None and done >= config.interactions:
        print(f"{folder} is finished: {config.interactions:,} interactions.")
        return folder
    if done and not force:
        raise InputError(
            f"{folder} has no checkpoint to go on from, and starting over would erase its {done:,} interactions; do so "
            f"with --resume {folder} --force."
        )
    print("no checkpoint yet: starting over")
    return train(config, folder, True, progress, tensorboard)


def _restored(folder: Path, config: Config) -> tuple[DynaAIL, dict[str, Any]] | None:
    """The learner as its newest sound checkpoint has it, and that checkpoint; None if there is none at all.

    Raises:
        InputError: there are checkpoints, but none can be used; or the environment cannot be made.
        EnvironmentFailure: the environment failed on the way back to where it was.
        MemoryError, RuntimeError, OSError: a checkpoint could not be read, for want of memory or access.
    """
    from dyna_ail import checkpoint
    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import make_env

    problems: dict[Path, str] = {}
    for path, state in checkpoint.saved(folder):
        env = make_env(config.task)  # if it cannot be made, it is not the checkpoint that is to blame
        try:
            if isinstance(state, InputError):
                raise state
            pairs = ExpertPairs(*(state["expert"][name].numpy() for name in ("obs", "action")))
            learner = DynaAIL(env, pairs, config)
            if not checkpoint.restore(learner, state):
                _warn(
                    "the environment could not be brought back to where it was: it begins a new episode, and the rest "
                    "of the run differs from what it would have been."
                )
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"on the way back to where the run was, {error}") from error
        except Exception as error:  # a checkpoint with other contents fails in its own way
            if of_the_machine(error):  # the checkpoint is not to blame, and stays
                env.close()
                raise
            told = isinstance(error, InputError) and str(path) in str(error)
            problems[path] = str(error) if told else f"{str(path)!r} does not fit: {one_line(error)}"
            _warn(problems[path])
            env.close()
        else:
            for damaged in problems:  # or the next checkpoint would take it for the previous one
                damaged.unlink()
            return learner, state
    if problems:
        raise InputError(
            f"no checkpoint in {folder} can be used. Start over: dyna-ail train --out {folder} --force ..."
        )
    return None


def _learn(learner: DynaAIL, journal: Journal) -> None:
    """The rest of the run."""
    learner.rollout.before_step = lambda: journal.before_step(learner)
    try:
        with _stop_on_signal(journal):
            learner.learn(callback=journal)
    except (KeyboardInterrupt, NonFiniteError):
        journal.close("stopped")
        raise
    except EnvironmentFailure:
        if learner.rollout.collecting:
            journal.checkpoint(learner)
        journal.close("stopped")
        raise
    except BrokenPipeError:  # the reader of the output has gone; it is not about the folder
        raise
    except OSError as error:
        raise InputError(f"cannot write to {journal.folder}: {error.strerror or error}. {journal.hint()}") from error
    finally:
        learner.rollout.env.close()
        journal.close_display()
    journal.close("finished")
    record.remove_checkpoints(journal.folder)


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def _check_tensorboard(wanted: bool) -> None:
    if wanted and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard: pip install tensorboard.")


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
        started = record.interactions_done(folder) is not None
        why = "it was not kept with the run's tables" if started else "its run stopped before the first evaluation"
        raise InputError(f"{folder} has no {record.POLICY}: {why}. Train it: dyna-ail train.")
    env = make_env(config.task)
    spaces = env.observation_space, env.action_space
    env.close()
    return policy.load_policy(path, *spaces, config)


@contextmanager
def _stop_on_signal(journal: Journal) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the run with a checkpoint, before the next step, and the second at once.

    What comes within a second of the first is the same wish: a batch system signals a sweep and its runs together, and
    the sweep passes it on to them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    first = -math.inf

    def handle(signum: int, frame: object) -> None:
        nonlocal first
        if time.monotonic() - first < 1:
            return
        if journal.stopping is not None or journal.evaluated_at < 0:  # before, there is nothing to save
            raise Stopped(signum)
        journal.stopping, first = signum, time.monotonic()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after the step or the updates in progress; once more to stop at once\n")

    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _references(task: Task, demonstrations: Demonstrations) -> dict[str, float | None]:
    """Returns of score 0 and 1: those in the demonstrations' metadata, else the task's, else unknown.

    Raises:
        InputError: that of score 1 is not above that of score 0.
    """
    random, expert = (
        demonstrations.metadata.get(f"{name}_return", known)
        for name, known in (("random", task.random), ("expert", task.expert))
    )
    if random is not None and expert is not None and expert <= random:
        raise InputError(
            f"the expert's return, score 1, must be above that of random actions, score 0; got {expert:g} and "
            f"{random:g}. Mend expert_return and random_return in the demonstrations' metadata, or leave them out."
        )
    return {"random": random, "expert": expert}
