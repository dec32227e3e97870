"""Loads damaged and hostile files one by one, in a process that may crash: ``fuzz_formats.py FOLDER KIND [KIND ...]``.

Prints one JSON line before each case and one after it. Started by ``test_formats_fuzz.py``, which reads them.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from format_files import (
    REAL_IMITATION,
    cartpole,
    d4rl_arrays,
    imitation_arrays,
    imitation_columns,
    real_schema,
    write_hdf5,
    write_imitation,
    write_minari,
    write_sb3,
)

from dyna_ail import formats
from dyna_ail.envs.tasks import BUNDLED
from dyna_ail.errors import InputError
from dyna_ail.formats import isolated, reader

SECONDS = 20
"""Processor time for one file; three times as much on the clock, since the machine may be busy."""

TASK = "CartPole-v1"


@dataclass(frozen=True)
class Seed:
    """A valid source: its files, those that are damaged, and what is given to ``load``."""

    files: dict[str, bytes]
    targets: tuple[str, ...]
    source: str


def read_files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def seed_of(kind: str, folder: Path) -> Seed:
    """The valid source of a kind, small, as its library writes it."""
    folder.mkdir()
    if kind == "npz":
        cartpole().save(folder / "a")
    elif kind == "imitation npz":
        np.savez_compressed(folder / "a.npz", **imitation_arrays(cartpole()))
        (folder / "a.npz").rename(folder / "a")
    elif kind == "D4RL":
        write_hdf5(folder / "a", d4rl_arrays(cartpole()))
    elif kind == "Stable-Baselines3":
        write_sb3(folder / "a.zip")
        (folder / "a.zip").rename(folder / "a")
    elif kind == "Minari":
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
        write_minari("toys/seed-v0", cartpole())
        data = "toys/seed-v0/data"
        targets = (*[f"{data}/main_data.hdf5"] * 3, f"{data}/metadata.json")
        return Seed(read_files(folder), targets, "toys/seed-v0")
    elif kind == "imitation":
        arrow = next(REAL_IMITATION.glob("*.arrow")).name
        return Seed(read_files(REAL_IMITATION), (*[arrow] * 4, "state.json"), ".")
    elif kind == "expert":
        return Seed(read_files(BUNDLED / TASK), ("policy.pth", "policy.pth", "expert.json"), ".")
    return Seed(read_files(folder), ("a",), "a")


KINDS = {
    "npz": 70,
    "imitation npz": 60,
    "Minari": 90,
    "D4RL": 90,
    "imitation": 90,
    "Stable-Baselines3": 60,
    "expert": 40,
}
"""How many damaged files of each."""


def damaged(content: bytes, rng: Random) -> bytes:
    """The content after one to three random injuries, in an archive perhaps inside a member, under a right checksum."""
    if content.startswith(b"PK") and rng.random() < 0.6:
        return _damaged_member(content, rng)
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        if len(data) > 8:
            rng.choice(INJURIES)(data, rng)
    return bytes(data)


def _damaged_member(content: bytes, rng: Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(sorted(members))
    members[victim] = damaged(members[victim], rng)
    return archive_of(members)


def archive_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _place(data: bytearray, rng: Random) -> int:
    """A position; mostly one that is not zero, for files that are mostly empty."""
    places = [rng.randrange(len(data)) for _ in range(8)]
    return next((i for i in places if data[i]), places[0])


def _flip(data: bytearray, rng: Random) -> None:
    for _ in range(rng.choice((1, 2, 8, 32))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: Random) -> None:
    at, count = _place(data, rng), rng.choice((1, 2, 4, 8))
    data[at : at + count] = bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF))]) * count


def _truncate(data: bytearray, rng: Random) -> None:
    del data[rng.randrange(len(data)) :]


def _swap(data: bytearray, rng: Random) -> None:
    count = min(rng.choice((8, 64, 512)), len(data) // 2)
    i, j = rng.randrange(len(data) - count), rng.randrange(len(data) - count)
    data[i : i + count], data[j : j + count] = data[j : j + count], data[i : i + count]


def _duplicate(data: bytearray, rng: Random) -> None:
    at, count = rng.randrange(len(data)), rng.choice((8, 64, 512))
    data[at:at] = data[at : at + count]


def _insert(data: bytearray, rng: Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))


INJURIES: tuple[Callable[[bytearray, Random], None], ...] = (_flip, _overwrite, _truncate, _swap, _duplicate, _insert)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.sentinel)!r}, 'w')",)


def npz_bytes(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def hostile(folder: Path, sentinel: Path) -> Iterator[tuple[str, bool, Path | str]]:
    """Hand-made cases: the name, whether it loads all the same, and the source."""
    import h5py
    import pyarrow as pa
    import torch

    folder.mkdir()
    evil = Evil(sentinel)
    objects = np.array([evil] * 3, dtype=object)

    def file(content: bytes) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}"
        path.write_bytes(content)
        return path

    cartpole().save(folder / "ours.npz")
    with np.load(folder / "ours.npz") as saved:
        ours = dict(saved)
    theirs = imitation_arrays(cartpole())
    yield "our npz with objects", False, file(npz_bytes(**{**ours, "obs": objects}))
    yield "our npz with objects as metadata", False, file(npz_bytes(**{**ours, "metadata": objects}))
    yield "imitation npz with evil infos", True, file(npz_bytes(**{**theirs, "infos": np.array([evil] * 33)}))
    yield "imitation npz with evil acts", False, file(npz_bytes(**{**theirs, "acts": objects}))
    yield "a pickle", False, file(pickle.dumps(evil))

    with zipfile.ZipFile(folder / "ours.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    yield "names that leave the folder", True, file(archive_of({**members, "../../evil.npy": members["obs.npy"]}))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 42, 4)})
    yield "npy header of 64 TiB", False, file(archive_of({**members, "obs.npy": header.getvalue()}))
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members:
            archive.writestr(name, bytes(200 << 20) if name == "obs.npy" else members[name])
    yield "zip bomb", False, folder / "bomb.npz"

    write_sb3(folder / "sb3.zip")
    with zipfile.ZipFile(folder / "sb3.zip") as archive:
        sb3 = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO()
    torch.save({"action_net.weight": evil}, weights)
    yield "evil weights", False, file(archive_of({**sb3, "policy.pth": weights.getvalue()}))
    yield "evil weights of the old kind", False, file(archive_of({**sb3, "policy.pth": pickle.dumps(evil)}))
    data = {**json.loads(sb3["data"]), "policy_class": {":type:": "x", ":serialized:": pickle.dumps(evil).hex()}}
    yield "evil settings of a policy", True, file(archive_of({**sb3, "data": json.dumps(data).encode()}))
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sb3:
            archive.writestr(name, bytes(300 << 20) if name == "policy.pth" else sb3[name])
    yield "weights that are a bomb", False, folder / "bomb.zip"
    expert = folder / "expert"
    expert.mkdir()
    (expert / "expert.json").write_bytes((BUNDLED / TASK / "expert.json").read_bytes())
    (expert / "policy.pth").write_bytes(weights.getvalue())
    yield "expert with evil weights", False, expert

    arrays = d4rl_arrays(cartpole())
    for name, settings in (
        ("HDF5 array of 4 TiB without data", {"shape": (1 << 38, 4), "chunks": (1024, 4)}),
        ("HDF5 chunk that unpacks to 1.1 GiB", {"shape": (33, 4), "chunks": (33, 4), "compression": "gzip"}),
        ("HDF5 array in another file", {"shape": (33, 4), "external": [("/etc/passwd", 0, 528)]}),
    ):
        path = write_hdf5(folder / f"{name.split()[2]}.hdf5", {**arrays, "observations": None})
        with h5py.File(path, "r+") as opened:
            dataset = opened.create_dataset("observations", dtype="f4", **settings)
            if "compression" in settings:
                dataset.id.write_direct_chunk((0, 0), deflated_zeros(1100 << 20))
        yield name, False, path

    columns = imitation_columns(cartpole())
    touch = json.dumps({"py/reduce": [{"py/function": "builtins.open"}, {"py/tuple": [str(sentinel), "w"]}]})
    columns["infos"] = [[touch] * len(acts) for acts in columns["acts"]]
    yield "imitation with evil infos", True, write_imitation(folder / "infos", columns)
    big = pa.table({"obs": [[[0.0] * 4] * 2_000_000], "acts": [[0]], "infos": [[""]], "terminal": [True]})
    bomb = write_imitation(folder / "arrow-bomb", imitation_columns(cartpole()))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    arrow = str(next(bomb.glob("*.arrow")))
    with pa.OSFile(arrow, "wb") as out, pa.ipc.new_stream(out, big.schema, options=options) as stream:
        stream.write_table(big)
    yield "Arrow columns that unpack to 130 MB", False, bomb
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(evil)}
    evil_acts = real_schema().set(1, pa.field("acts", pa.list_(pa.int64()), metadata=kind))
    extended = write_imitation(folder / "extension", imitation_columns(cartpole()), schema=evil_acts)
    yield "evil Arrow extension type", True, extended
    deep = write_imitation(folder / "deep", imitation_columns(cartpole()))
    (deep / "state.json").write_text('{"a":' * 100_000)
    yield "JSON nested 100,000 deep", False, deep


def deflated_zeros(size: int) -> bytes:
    """A deflated stream of at least so many zeros, without an end."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (size >> 24)


def run_reader_forked(kind: str, limit: int, paths: list[str], seconds: float, out: Any) -> tuple[int, str]:
    """As ``isolated.run_reader``, in a fork of this process, which is ten times as fast to start."""
    with tempfile.TemporaryFile() as messages:
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            reader.bound_memory(limit)
            os.dup2(out.fileno(), 1)
            os.dup2(messages.fileno(), 2)
            status = reader.answer(kind, limit, paths)
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        messages.seek(0)
        said = messages.read().decode()
    if status < 0:
        print(json.dumps({"reader": status, "paths": paths}), flush=True)
    return status, json.loads(said.splitlines()[-1]) if status == reader.REFUSED else f"crash {status}"


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: nothing here may be unpickled or started."""
    if event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn"):
        print(json.dumps({"event": event, "arguments": str(arguments)}), flush=True)


def outcome(source: Path | str) -> dict[str, Any]:
    """What came of loading it."""
    try:
        found = formats.load(source, TASK, 1, 0)
    except InputError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"failed": repr(error)}
    return {"loaded": len(found.trajectories)}


def tell(case: str, source: Path | str, **known: Any) -> None:
    print(json.dumps({"case": case, "source": str(source)}), flush=True)
    signal.alarm(3 * SECONDS)
    found = outcome(source)
    signal.alarm(0)
    print(json.dumps({**found, **known}), flush=True)


def laid_out(folder: Path, kind: str, source: str, files: dict[str, bytes]) -> Path | str:
    """Write the files, and say what to give to ``load``."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    return source if kind == "Minari" else folder / source


def peak_memory() -> int:
    """The most that this process or one of its forks ever held, MiB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) >> 10


def main(folder: Path, kinds: list[str]) -> None:
    """Work through the damaged files of some kinds, or through the hostile ones."""
    sentinel = folder / "sentinel"
    if kinds == ["hostile"]:
        for case, loads, source in hostile(folder / "hostile", sentinel):
            tell(case, source, loads=loads, touched=sentinel.exists())
        return
    seeds = {kind: seed_of(kind, folder / kind) for kind in kinds}
    isolated.run_reader = run_reader_forked
    if {"Minari", "D4RL", "imitation"} & set(kinds):
        import h5py  # noqa: F401
        import pyarrow.compute
        import pyarrow.ipc  # noqa: F401
    for kind, seed in seeds.items():  # what the good files take is not counted: it differs between machines
        assert "loaded" in outcome(laid_out(folder / "whole" / kind, kind, seed.source, seed.files)), kind
    before = peak_memory()
    sys.addaudithook(watch)
    for kind in kinds:
        rng = Random(f"seed of {kind}")
        for index in range(KINDS[kind]):
            case = folder / "cases" / f"{kind}-{index}"
            seed = seeds[kind]
            files = dict(seed.files)
            target = rng.choice(seed.targets)
            files[target] = damaged(files[target], rng)
            tell(f"{kind} {index}", laid_out(case, kind, seed.source, files))
    print(json.dumps({"growth MiB": peak_memory() - before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
