"""Checkpoints: everything that a run goes on from, in one file that holds tensors and numbers and no code."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dyna_ail.errors import InputError, one_line
from dyna_ail.files import check_archive, replacing
from dyna_ail.record import CHECKPOINT, PREVIOUS

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
    """
    for name, part in _parts(learner).items():
        part.load_state_dict(state["parts"][name])
    learner.replay.load_state_dict(state["replay"])
    learner.iteration, learner.planner.imagined, learner.started = state["iteration"], state["imagined"], True
    exact = learner.rollout.load_state_dict(state["rollout"])
    if not (exact or state["rollout"]["rows"]):
        learner.replay.cut()
    learner.generator.set_state(state["generator"])
    _set_random_state(state["random"])  # last: all above may draw
    return exact


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
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())  # before the earlier one gives way
        if newest.exists():
            os.replace(newest, folder / PREVIOUS)


def saved(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | InputError]]:
    """The checkpoints of a run, newest first, each with its state or with why it cannot be read.

    Runs no code from the files: only tensors, numbers and containers of them are read.
    """
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if path.exists():
            try:
                yield path, _read(path)
            except InputError as error:
                yield path, error


def _read(path: Path) -> dict[str, Any]:
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums
        if damaged is not None:
            raise InputError(f"{str(path)!r} is damaged: bad checksum of {damaged}.")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # damage shows in zipfile, pickle and torch, in many ways
        raise InputError(f"{str(path)!r} is no checkpoint, or a damaged one: {one_line(error)}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is not a checkpoint of this version of dyna-ail.")
    return state
