"""Minari datasets, by id or by path. Read without the package ``minari``, written with it.

``minari.load_dataset`` is not for files of unknown origin: where the metadata names no spaces, it builds the
environment that they describe, importing any module and calling anything in it with any arguments.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.demos import Demonstrations
from dyna_ail.errors import InputError, one_line
from dyna_ail.files import read_json
from dyna_ail.formats.episodes import Episode, Room, demonstrations_of, split
from dyna_ail.formats.isolated import read_arrays
from dyna_ail.formats.source import Format, Source, provenance

NAME = "Minari"
FILE = "main_data.hdf5"
ID = re.compile(r"([-_\w][-_\w/]*[-_\w]+/)?[-_\w]+-v\d+", re.ASCII)
"""``[namespace/]name-vN``, as Minari names datasets."""

KEPT = ("dataset_id", "algorithm_name", "author", "code_permalink", "description", "minari_version")
"""Entries of Minari's metadata that go into ours."""

OURS = "dyna_ail"
"""The entry of Minari's metadata that holds ours."""


def root() -> Path:
    """The folder of the local datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def is_id(text: str) -> bool:
    """Whether a text has the form of a dataset's id."""
    return ID.fullmatch(text) is not None


def _matches(source: Source) -> bool:
    if source.is_folder:
        return bool({FILE, f"data/{FILE}", "data/metadata.json"} & source.members)
    if source.path.exists():
        return source.path.name == FILE
    return is_id(source.given)


def _load(source: Source, task: str, episodes: int, seed: int) -> Demonstrations:
    """Read a dataset stored as HDF5: its flat observations, actions, rewards and terminations, not its infos.

    Nothing is downloaded. An episode whose last step is no termination counts as cut by a time limit.

    Raises:
        InputError: h5py is missing, the dataset is not there, is damaged or stored otherwise, or its data do not fit
            the task.
    """
    path = _data_file(source)
    return from_arrays(source, path, read_arrays("hdf5", [path], NAME, "minari"), task)


def _data_file(source: Source) -> Path:
    folder = source.path
    if not folder.exists():
        folder = root() / source.given
        if not folder.is_dir():
            raise InputError(_missing(source.given))
    if folder.is_file():
        return folder
    path = next((p for p in (folder / "data" / FILE, folder / FILE) if p.is_file()), None)
    if path is None:
        raise InputError(
            f"the Minari dataset {source.given!r} has no {FILE}: only data_format 'hdf5' is read. "
            "Download or create it in that format."
        )
    return path


def _missing(id: str) -> str:
    local = sorted(path.parents[1].relative_to(root()).as_posix() for path in root().glob("**/data/metadata.json"))
    shown = ", ".join(local[:10]) + (", ..." if len(local) > 10 else "")
    return (
        f"no file or folder {id!r}, and no Minari dataset of that name in {str(root())!r}, which has {shown or 'none'}."
        f" If it is Minari's, get it with `minari download {id}`; nothing is downloaded here."
    )


def holds_episodes(arrays: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether arrays from an HDF5 file are those of a Minari dataset."""
    return "observations_lengths" in arrays


def from_arrays(source: Source, path: Path, arrays: dict[str, npt.NDArray[Any]], task: str) -> Demonstrations:
    """The demonstrations in the arrays of a Minari file.

    Raises:
        InputError: no episodes, or data that do not fit the task.
    """
    if not holds_episodes(arrays):
        raise InputError(f"{source.given!r} cannot be used as {NAME} data: it holds no episode_0.")
    metadata = _metadata(path.with_name("metadata.json"))
    parts = {name: split(array, arrays[f"{name}_lengths"]) for name, array in arrays.items() if "_len" not in name}
    names = ("observations", "actions", "rewards", "terminations")
    found = [
        Episode(obs, action, reward, bool(len(terminations)) and bool(terminations[-1]))
        for obs, action, reward, terminations in zip(*(parts[name] for name in names), strict=True)
    ]
    try:
        return demonstrations_of(found, Room.of(task), {**metadata, "source": provenance(source, NAME, path)})
    except InputError as error:
        raise InputError(f"{source.given!r} cannot be used as {NAME} data: {error}") from error


def _metadata(path: Path) -> dict[str, Any]:
    """Our own entry of Minari's metadata, and their plain texts; of the environment's description only its id."""
    if not path.exists():
        return {}
    theirs = read_json(path)
    about = {key: theirs[key] for key in KEPT if key in theirs}
    with contextlib.suppress(KeyError, TypeError, ValueError, RecursionError):  # it may be recorded without one
        about["environment"] = json.loads(theirs["env_spec"])["id"]
    ours = theirs.get(OURS)
    return {**(ours if isinstance(ours, dict) else {}), "minari": about}


def save(demonstrations: Demonstrations, id: str, task: str) -> Path:
    """Write a Minari dataset into the folder of the local ones.

    The environment is described in it if JSON can do so. Our metadata are one entry of Minari's.

    Args:
        demonstrations: whole episodes.
        id: ``[namespace/]name-vN``.
        task: the task they are of.

    Returns:
        The dataset's folder.

    Raises:
        InputError: minari is missing, the dataset exists, the demonstrations are thinned or do not fit the task, or the
            folder cannot be written.
    """
    if importlib.util.find_spec("minari") is None:
        raise InputError('writing Minari datasets needs minari: pip install "dyna-ail[minari]".')
    if demonstrations.thinned > 1:
        raise InputError("thinned demonstrations cannot be a Minari dataset, which holds whole episodes: save an .npz.")
    from dyna_ail.envs.tasks import make_env

    folder = root() / id
    if folder.exists():
        raise InputError(f"the Minari dataset {id!r} exists in {str(root())!r}: choose another name or version.")
    env = make_env(task)
    demonstrations.check(env.observation_space, env.action_space)
    try:
        _create(demonstrations, id, env)
    except Exception as error:  # a full disk, or a description of the environment that Minari cannot write
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"cannot write the Minari dataset {id!r} to {str(root())!r}: {one_line(error)}") from error
    finally:
        env.close()
    return folder


def _create(demonstrations: Demonstrations, id: str, env: Any) -> None:
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            id=index,
            observations=trajectory.obs,
            actions=trajectory.action,
            rewards=trajectory.reward,
            terminations=np.arange(1, trajectory.length + 1) == trajectory.length * trajectory.terminated,
            truncations=np.arange(1, trajectory.length + 1) == trajectory.length * (not trajectory.terminated),
        )
        for index, trajectory in enumerate(demonstrations.trajectories)
    ]
    expert = demonstrations.metadata.get("expert")
    algorithm = expert.get("algorithm") if isinstance(expert, dict) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants an author, an e-mail address, a link to code, ...
        dataset = minari.create_dataset_from_buffers(
            id, buffers, env=env, algorithm_name=algorithm if isinstance(algorithm, str) else None
        )
        dataset.storage.update_metadata({OURS: demonstrations.metadata})


FORMAT = Format(NAME, "a Minari dataset stored as HDF5, by id ([namespace/]name-vN) or by path", _matches, _load)
