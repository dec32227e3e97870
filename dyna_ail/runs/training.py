"""Training and resuming a run: from its configuration to its folder.

The learner never sees the environment's reward; only the evaluations do.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail import formats
from dyna_ail.config import RunConfig
from dyna_ail.demos import ExpertPairs
from dyna_ail.errors import EnvironmentFailure, InputError, NonFiniteError, of_the_machine, one_line
from dyna_ail.files import write_json
from dyna_ail.guard import Guard, time_limit
from dyna_ail.records import folder as folders
from dyna_ail.records.provenance import note_resumed, versions
from dyna_ail.records.reading import interactions_done, is_finished, read_config
from dyna_ail.runs.sources import demonstration_source, kept_references, references_of, why_no_score

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.runs.session import Session


def train(
    config: RunConfig, out: Path | None = None, force: bool = False, progress: bool = True, tensorboard: bool = False
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
        EnvironmentFailure: the environment raised, hung, or returned what its space does not allow.
        NonFiniteError: a loss, gradient or weight became NaN or infinite.
        Stopped: by Ctrl-C or SIGTERM, after the step or update in progress; by a second signal at once.

    However the run ends, the folder keeps what was written so far.
    """
    import torch

    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.envs.tasks import get_task
    from dyna_ail.runs.session import Session

    torch.set_num_threads(1)
    _check_tensorboard(tensorboard)
    learner_config = config.learner
    task = get_task(config.task)
    source = demonstration_source(config, task)
    demonstrations = formats.load(source, config.task, learner_config.trajectories, learner_config.seed)
    env = _training_env(config)
    if time_limit(env) is None:
        _warn(f"{config.task} has no time limit: an episode may never end. Register it with max_episode_steps.")
    learner = DynaAIL(env, demonstrations, learner_config)
    references = references_of(task, demonstrations)
    if why := why_no_score(references, demonstrations):
        _warn(why)
    provenance = dict(demonstrations.metadata)
    if config.demos is None:  # the place of installation means nothing elsewhere
        provenance["source"] = {**provenance["source"], "path": f"bundled/{source.name}"}
    with folders.new_folder(config, out, force) as folder:
        write_json(
            folder / folders.VERSIONS,
            {**versions(), "seed": learner_config.seed, "references": references, "demonstrations": provenance},
        )
        _learn(learner, env, Session(folder, config, references, progress, tensorboard))
    return folder


def resume(folder: Path, progress: bool = True, tensorboard: bool = False, force: bool = False) -> Path:
    """Continue an interrupted run, bit for bit as without the interruption.

    The same bits need the same processor, versions and number of threads; otherwise it warns of what has changed. Rows
    that were written after the checkpoint are written again. A run without a checkpoint starts over. This needs
    ``force`` if it erases an evaluation after the first interaction.

    Args:
        folder: the run's folder.
        progress: as :func:`train`.
        tensorboard: as :func:`train`.
        force: start over even if evaluations are erased.

    Returns:
        The folder.

    Raises:
        InputError: there is no run, it is in progress, it has no checkpoint and its evaluations would be erased, all of
            its checkpoints are damaged, or the disk is full.
        EnvironmentFailure, NonFiniteError, Stopped: as :func:`train`.
    """
    import torch

    from dyna_ail.runs.session import Session

    torch.set_num_threads(1)
    _check_tensorboard(tensorboard)
    config = read_config(folder)
    with folders.locked(folder):
        folders.remove_unfinished(folder)
        restored = _restored(folder, config)
        if restored is not None:
            learner, env, state = restored
            references = kept_references(folder, config.task)
            session = Session(folder, config, references, progress, tensorboard, state)
            for change in note_resumed(folder, learner.interactions):
                _warn(f"{change}; the rest of the run may differ from what it would have been.")
            print(f"resumed at {learner.interactions:,} interactions")
            _learn(learner, env, session)
            return folder
    if is_finished(folder, config):
        print(f"{folder} is finished: {config.learner.interactions:,} interactions.")
        return folder
    done = interactions_done(folder)
    if done and not force:
        raise InputError(
            f"{folder} has no checkpoint to go on from, and starting over would erase its {done:,} interactions; do so "
            f"with --resume {folder} --force."
        )
    print("no checkpoint yet: starting over")
    return train(config, folder, True, progress, tensorboard)


def _restored(folder: Path, config: RunConfig) -> tuple[DynaAIL, Guard, dict[str, Any]] | None:
    """The learner, its environment and the session's state, from the newest sound checkpoint. None without checkpoints.

    Raises:
        InputError: there are checkpoints, but none can be used; or the environment cannot be made.
        EnvironmentFailure: the environment failed on the way back to where it was.
        MemoryError, RuntimeError, OSError: a checkpoint could not be read, for want of memory or access.
    """
    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.runs import checkpoint

    problems: dict[Path, str] = {}
    for path, state in checkpoint.saved(folder):
        env = _training_env(config)  # if this fails, the checkpoint is not to blame
        try:
            if isinstance(state, InputError):
                raise state
            checkpoint.check(state, config)
            pairs = ExpertPairs(*(column.numpy() for column in state["learner"]["expert"]))
            learner = DynaAIL(env, pairs, config.learner)
            if not learner.load_state_dict(state["learner"]):
                _warn(
                    "the environment could not be brought back to where it was: it begins a new episode, and the rest "
                    "of the run differs from what it would have been."
                )
        except EnvironmentFailure as error:
            raise EnvironmentFailure(f"on the way back to where the run was, {error}") from error
        except Exception as error:  # other contents may fail anywhere
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
            return learner, env, state["session"]
    if problems:
        raise InputError(
            f"no checkpoint in {folder} can be used. Start over: dyna-ail train --out {folder} --force ..."
        )
    return None


def _learn(learner: DynaAIL, env: Guard, session: Session) -> None:
    """Learn from here to the end of the run."""
    from dyna_ail.runs.stopping import stopped_by_signal

    def ask_to_stop(signum: int) -> bool:
        if session.stopping is not None or session.evaluator.evaluated_at is None:  # before it there is nothing to save
            return False
        session.stopping = signum
        return True

    try:
        with stopped_by_signal(ask_to_stop):
            learner.learn(callback=session.after_iteration, before_step=lambda: session.before_step(learner))
    except (KeyboardInterrupt, NonFiniteError):
        session.close("stopped")
        raise
    except EnvironmentFailure:
        if learner.collecting:
            session.checkpoint(learner)
        session.close("stopped")
        raise
    except BrokenPipeError:  # about the output, whose reader has gone, not about the folder
        raise
    except OSError as error:
        raise InputError(f"cannot write to {session.folder}: {error.strerror or error}. {session.hint()}") from error
    finally:
        env.close()
        session.display.close()
    session.close("finished")
    folders.remove_checkpoints(session.folder)


def _training_env(config: RunConfig) -> Guard:
    from dyna_ail.envs.tasks import make_env

    return Guard(make_env(config.task), config.safety.step_timeout)


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def _check_tensorboard(wanted: bool) -> None:
    if wanted and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs the package tensorboard: pip install tensorboard.")
