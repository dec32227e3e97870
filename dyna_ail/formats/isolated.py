"""Reads arrays in a process of its own, because a bad file can make their libraries hang, crash or take all memory.

One in 30,000 randomly damaged HDF5 files of 12 kB made libhdf5 2.0 take 22 GB. A gzipped chunk of 1 MB that claims to
hold 4 kB takes 1 GB before the library notices. It also crashed and looped forever, so far only in texts and
attributes, which are not read here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna_ail.errors import InputError, one_line
from dyna_ail.files import allowance
from dyna_ail.formats import reader

LIBRARIES = {"hdf5": "h5py", "arrow": "pyarrow"}


def read_arrays(kind: str, paths: Sequence[Path], format: str, extra: str) -> dict[str, npt.NDArray[Any]]:
    """The numeric arrays of files that ``reader.py`` understands.

    Args:
        kind: hdf5 or arrow.
        paths: the files.
        format: what they should be, for messages.
        extra: the optional dependency that brings the library.

    Raises:
        InputError: the library is missing, or the files are damaged, too large or something else.
    """
    if importlib.util.find_spec(LIBRARIES[kind]) is None:
        raise InputError(f'{format} data needs {LIBRARIES[kind]}: pip install "dyna-ail[{extra}]".')
    size = sum(path.stat().st_size for path in paths)
    with tempfile.TemporaryFile() as out:
        status, message = run_reader(kind, allowance(size), [str(path) for path in paths], 30 + size // 2**22, out)
        if status:
            raise InputError(f"cannot read {str(paths[0])!r} as {format} data: {message}")
        out.seek(0)
        with np.load(out, allow_pickle=False) as arrays:
            return dict(arrays)


def run_reader(kind: str, limit: int, paths: Sequence[str], seconds: float, out: Any) -> tuple[int, str]:
    """Run ``reader.py`` with its stdout in the file ``out``.

    Returns:
        Its exit status, 0 if all went well, and otherwise a message.
    """
    # -P: modules beside reader.py have the names of packages. The variables: threads and pools map much memory.
    command = [sys.executable, "-P", reader.__file__, kind, str(limit), *paths]
    thrifty = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env={**os.environ, **thrifty},
        )
    except subprocess.TimeoutExpired:
        return 1, f"reading it took more than {seconds:.0f} s; it is probably damaged."
    if done.returncode == reader.REFUSED:
        return done.returncode, one_line(json.loads(done.stderr.splitlines()[-1]))
    return done.returncode, f"the library crashed on it (status {done.returncode}); it is probably damaged."
