"""Settings of every test process: one thread each, so that results repeat and parallel tests do not fight for cores.

And the fixture that several modules share.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Read once, when torch and MuJoCo load: hence before any test module is imported.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# A shell's background job ignores Ctrl-C, and so would the processes that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two hand-made CartPole demonstrations."""
    from cartpole import record

    path = tmp_path_factory.mktemp("demos") / "cartpole.npz"
    record().save(path)
    return path
