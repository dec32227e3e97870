"""HDF5 files as D4RL writes them: flat arrays of N steps, cut into episodes where an episode ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError
from dyna_ail.formats import minari
from dyna_ail.formats.episodes import Episode, Room, column, demonstrations_of
from dyna_ail.formats.isolated import read_arrays
from dyna_ail.formats.source import HDF5, Format, Source, provenance

NAME = "D4RL"

Arrays = dict[str, npt.NDArray[Any]]


def _matches(source: Source) -> bool:
    return source.magic.startswith(HDF5)


def _load(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Read a file with observations [N, obs_dim], actions [N, act_dim], rewards [N] and terminals [N].

    Episodes end where ``terminals`` or ``timeouts`` say; without ``timeouts``, also after the task's time limit. A last
    episode that has not ended is left out, as in D4RL's ``sequence_dataset``, unless it is the only one.

    The observation after an episode's last action is in ``next_observations`` alone. Where that is missing, the last
    step of every episode is dropped, so that observations still outnumber actions by one. Such an episode is then not
    ``terminated``: its last observation is the one before its end. ``expert_return`` counts the dropped rewards.

    A Minari file under another name is read as a Minari file.

    Raises:
        InputError: h5py is missing, the file is damaged or something else, or its data do not fit the task.
    """
    arrays = read_arrays("hdf5", [source.path], NAME, "d4rl")
    if minari.holds_episodes(arrays):
        return minari.from_arrays(source, source.path, arrays, task)
    room = Room.of(task)
    try:
        rewards = column("rewards", arrays["rewards"])
        ends, terminals = _ends(arrays, room.max_episode_steps)
        found = _episodes(arrays, rewards, ends, terminals)
        returns = [float(part.sum(dtype=np.float64)) for part in np.split(rewards[: ends[-1]], ends[:-1])]
        if not np.isfinite(returns).all():
            raise InputError("rewards must be finite; got NaN or infinity.")
        metadata: dict[str, Any] = {"source": provenance(source, NAME, source.path)}
        if any(returns):  # zeros tell nothing of the demonstrator
            metadata["expert_return"] = float(np.mean(returns))
        if "next_observations" not in arrays:
            metadata["dropped"] = "the last step of every episode, for want of next_observations"
        return demonstrations_of(found, room, metadata)
    except InputError as error:
        raise InputError(f"{source.given!r} cannot be used as {NAME} data: {error}") from error


def _ends(arrays: Arrays, max_episode_steps: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """One past the last step of every episode, and which steps [N] are terminal."""
    steps = {name: len(array) for name, array in arrays.items()}
    if len(set(steps.values())) > 1 or not steps["actions"]:
        raise InputError(f"its arrays must have the same number of rows, at least one; got {steps}.")
    shapes = arrays["observations"].shape, arrays.get("next_observations", arrays["observations"]).shape
    if shapes[0] != shapes[1]:
        raise InputError(f"observations and next_observations have different shapes, {shapes[0]} and {shapes[1]}.")
    terminals = _flags("terminals", arrays["terminals"])
    if "timeouts" in arrays:
        ends = np.flatnonzero(terminals | _flags("timeouts", arrays["timeouts"])) + 1
    else:
        ends = np.array(_with_limit(np.flatnonzero(terminals) + 1, len(terminals), max_episode_steps), dtype=np.int64)
    return (ends if len(ends) else np.array([len(terminals)])), terminals


def _with_limit(ends: npt.NDArray[np.int64], steps: int, limit: int | None) -> list[int]:
    """The ends, with those that the time limit adds between them."""
    if limit is None:
        return ends.tolist()
    cuts: list[int] = []
    for start, end in zip([0, *ends], [*ends, steps + 1], strict=True):  # steps + 1: the last one has not ended
        cuts += range(int(start) + limit, int(end), limit)
        cuts += [int(end)] if end <= steps else []
    return cuts


def _flags(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    array = column(name, array)
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{name} must be 0 or 1 at every step; got {array.dtype} with other values.")
    return array.astype(np.bool_)


def _episodes(
    arrays: Arrays, rewards: npt.NDArray[Any], ends: npt.NDArray[np.int64], terminals: npt.NDArray[np.bool_]
) -> list[Episode]:
    """The episodes, each with its final observation, or without its last step where that is not known."""
    obs, action, following = arrays["observations"], arrays["actions"], arrays.get("next_observations")
    episodes, start = [], 0
    for end in ends.tolist():
        if following is not None:
            rows = np.concatenate([obs[start:end], following[end - 1 : end]])
            episodes.append(Episode(rows, action[start:end], rewards[start:end], bool(terminals[end - 1])))
        elif end - start > 1:
            last = end - 1
            episodes.append(Episode(obs[start:end], action[start:last], rewards[start:last], False))
        start = end
    return episodes


FORMAT = Format(NAME, "an HDF5 file with observations, actions, rewards, terminals (D4RL)", _matches, _load)
