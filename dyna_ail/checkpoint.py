"""Checkpoints: everything that a run goes on from, in one file that holds tensors and numbers and no code."""

from __future__ import annotations

import errno
import os
import random
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dyna_ail.config import to_dict
from dyna_ail.envs.guard import Guard
from dyna_ail.errors import InputError, of_the_machine, one_line
from dyna_ail.files import replacing
from dyna_ail.record import CHECKPOINT, DIAGNOSTICS, PREVIOUS, PROGRESS
from dyna_ail.weights import check_tensors

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL
    from dyna_ail.networks import Stateful

FORMAT = 1


def state_of(learner: DynaAIL) -> dict[str, Any]:
    """The state of the learning between two steps of the environment.

    Policy, critics, D, f and their optimisers; B; the segment and the episode in progress; all random states; and the
    pairs to imitate, so that it does not depend on the demonstrations' file.
    """
    return {
        "config": _settings(learner),
        "parts": {name: part.state_dict() for name, part in _parts(learner).items()},
        "replay": learner.replay.state_dict(),
        "rollout": learner.rollout.state_dict(),
        "generator": learner.generator.get_state(),
        "random": _random_state(),
        "expert": {"obs": learner.expert_obs, "action": learner.expert_action},
        "iteration": learner.iteration,
        "imagined": learner.imagined,
    }


def restore(learner: DynaAIL, state: dict[str, Any]) -> bool:
    """Bring a new learner of the same configuration, environment and pairs to the ``state``.

    Returns:
        Whether the environment could be brought back to the middle of its episode, to the last bit. Else it begins a
        new episode, and the run is not exactly the one that it would have been.

    Raises:
        EnvironmentFailure: the environment failed on the way back.
        Exception: of any type, if the state is not one of such a learner.
    """
    if state["config"] != _settings(learner):
        raise InputError("it was made with other settings than the run's configuration has.")
    _check(learner, state)
    for name, part in _parts(learner).items():
        part.load_state_dict(state["parts"][name])
    learner.replay.load_state_dict(state["replay"])
    learner.iteration, learner.planner.imagined, learner.started = state["iteration"], state["imagined"], True
    exact = learner.rollout.load_state_dict(state["rollout"])
    if isinstance(learner.rollout.env, Guard):
        learner.rollout.env.steps = learner.interactions  # what its messages count
    learner.generator.set_state(state["generator"])
    _set_random_state(state["random"])  # last: all above may draw
    return exact


def _check(learner: DynaAIL, state: dict[str, Any]) -> None:
    """Refuse what the parts would take and stumble over later; fused Adam even writes beyond the end of short tensors.

    Raises:
        InputError: something in ``state`` has another type or shape than such a learner's; names it.
    """

    def columns(rows: int) -> list[Tensor]:
        """Of a segment; on the device meta, where they take no memory."""
        widths = [learner.expert_obs.shape[1], learner.expert_action.shape[1]] * 2
        numbers = [torch.empty(rows, width, device="meta") for width in widths]
        return [*numbers, *[torch.empty(rows, dtype=torch.bool, device="meta")] * 3]

    replay, rollout, fresh = state["replay"], state["rollout"], learner.rollout.state_dict()
    obs, action, next_obs, _, terminated, truncated, _ = columns(min(replay["added"], learner.replay.capacity))
    ring = {"obs": obs, "action": action, "next_obs": next_obs, "terminated": terminated, "truncated": truncated}
    # Of an environment's generator, if it is of Gymnasium's kind.
    start, now = (np.random.PCG64().state if rollout[name] else {} for name in ("start", "random"))
    counts = {"next_evaluation": 0, "evaluated_at": 0, "checkpoint_at": 0}
    expected = {
        "replay": {"added": 0, **ring},
        "rollout": {
            **fresh,
            "obs": None if rollout["obs"] is None else columns(1)[0][0],
            "noise": None if rollout["noise"] is None else columns(len(rollout["noise"]))[1][:, None],
            "rows": columns(len(rollout["rows"][0])) if rollout["rows"] else [],
            "start": None if rollout["start"] is None else start,
            "random": now,
            "judged": fresh["judged"].new_empty(min(len(rollout["actions"]), learner.config.lost_after)),
            "actions": fresh["actions"].new_empty(len(rollout["actions"]), *fresh["actions"].shape[1:]),
        },
        "generator": learner.generator.get_state(),
        "random": {**_random_state(), "python": state["random"]["python"]},  # checked as it is set
        "iteration": 0,
        "imagined": 0,
        "journal": {"rows": dict.fromkeys((PROGRESS, DIAGNOSTICS), 0), "seconds": 0.0, **counts},
    }
    for name, value in expected.items():
        _compare(name, state[name], value)
    for name, part in _parts(learner).items():
        if isinstance(part, torch.optim.Optimizer):
            found, weights = state["parts"][name], [w for group in part.param_groups for w in group["params"]]
            for group, ours in zip(found["param_groups"], part.state_dict()["param_groups"], strict=True):
                for key in group.keys() & ours.keys():
                    _compare(f"{name}.{key}", group[key], ours[key])
            for index, entries in found["state"].items():
                keys = next(iter(found["state"].values())).keys()
                ours = {key: torch.tensor(0.0) if key == "step" else weights[index] for key in keys}
                _compare(f"{name}.{index}", entries, ours)


def _compare(where: str, found: Any, ours: Any) -> None:
    """Refuse what has another type, shape, length or other keys than ``ours``."""
    if isinstance(ours, Tensor):
        fits = isinstance(found, Tensor) and (found.dtype, found.shape) == (ours.dtype, ours.shape)
    elif isinstance(ours, dict):
        fits = isinstance(found, dict) and found.keys() == ours.keys()
    else:
        fits = type(found) is type(ours) and (not isinstance(ours, list | tuple) or len(found) == len(ours))
    if not fits:
        raise InputError(f"its {where} is not what a run of this configuration has.")
    if isinstance(ours, dict | list | tuple):
        for key, value in ours.items() if isinstance(ours, dict) else enumerate(ours):
            _compare(f"{where}.{key}", found[key], value)


def _settings(learner: DynaAIL) -> dict[str, Any]:
    """All on which results depend."""
    return {name: value for name, value in to_dict(learner.config).items() if name != "safety"}


def _parts(learner: DynaAIL) -> dict[str, Stateful]:
    return {
        "policy": learner.agent.policy,
        "average": learner.average.policy,
        "discriminator": learner.discriminator,
        "discriminator.optimizer": learner.discriminator.optimizer,
        "forward_model": learner.forward_model,
        "forward_model.optimizer": learner.forward_model.optimizer,
        **{f"model_free.{name}": part for name, part in learner.model_free.parts().items()},
        **{f"planner.{name}": part for name, part in learner.planner.parts().items()},
    }


def _random_state() -> dict[str, Any]:
    """The global generators: SB3's minibatches are drawn from NumPy's, an environment may use any."""
    _, key, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(key, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    key, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` as the newest checkpoint of the run in ``folder``; the newest so far becomes the previous one.

    At every moment, even if the process is killed or the disk full, a whole checkpoint stays.

    Raises:
        OSError: it cannot be written; the earlier ones stay.
    """
    newest = folder / CHECKPOINT
    with replacing(newest) as file:
        with failing_as_oserror(newest):
            torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())  # before the earlier one gives way
        if newest.exists():
            os.replace(newest, folder / PREVIOUS)


@contextmanager
def failing_as_oserror(path: Path) -> Iterator[None]:
    """Torch raises a RuntimeError when a write fails or is interrupted: what was behind it is raised instead."""
    try:
        yield
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError) or (cause is not None and not isinstance(cause, Exception)):
            raise cause from error
        raise OSError(errno.EIO, one_line(error), str(path)) from error


def saved(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | InputError]]:
    """The checkpoints of a run, newest first, each with its state or with why it cannot be read.

    Runs no code from the files: only tensors, numbers and containers of them are read.

    Raises:
        MemoryError, RuntimeError, OSError: as :func:`dyna_ail.errors.of_the_machine`.
    """
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if path.exists():
            try:
                yield path, _read(path)
            except InputError as error:
                yield path, error


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            check_tensors(file)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
            marked = [info.filename for info in archive.infolist() if info.external_attr]
        if damaged is not None:
            raise InputError(f"bad checksum of {damaged}.")
        if marked:  # torch sets none, and reads nothing from a member that is marked as a folder
            raise InputError(f"unexpected attributes of {marked[0]}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about files of other kinds
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage shows in zipfile, pickle and torch, in many ways
        if of_the_machine(error):
            raise
        raise InputError(f"{str(path)!r} is no checkpoint, or a damaged one: {one_line(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not _plain(state):
        raise InputError(f"{str(path)!r} is not a checkpoint of this version of dyna-ail.")
    return state


def _plain(value: Any) -> bool:
    """Whether all tensors within lie in memory as their shape says: another can claim to be of any size."""
    if isinstance(value, Tensor):
        return value.device.type == "cpu" and value.layout is torch.strided and value.is_contiguous()
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return not isinstance(value, list | tuple) or all(map(_plain, value))
