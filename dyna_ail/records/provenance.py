"""What a run's numbers depend on besides its configuration: versions, processor, commit, command line."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dyna_ail.errors import InputError
from dyna_ail.files import read_json, write_json
from dyna_ail.records.folder import VERSIONS

PACKAGES = ("torch", "gymnasium", "mujoco", "numpy", "stable-baselines3", "sb3-contrib", "dyna-ail")


def versions() -> dict[str, Any]:
    """Versions, platform, processor, threads, commit, command line and time of start."""
    import torch

    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    program = {"__main__.py": "dyna-ail", "cell.py": "dyna-ail"}.get(name := Path(sys.argv[0]).name, name)
    return {
        "versions": found,
        "platform": " ".join([platform.system(), platform.machine(), *platform.libc_ver()]),
        "cpu": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "command": shlex.join([program, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def note_resumed(folder: Path, interactions: int) -> list[str]:
    """Add to versions.json that the run goes on from ``interactions``.

    Returns:
        A line for each change since the run started that may change its bits.

    Raises:
        InputError: versions.json cannot be understood.
    """
    told, now = {"versions": {}, "resumed": [], **read_json(folder / VERSIONS)}, versions()
    if not isinstance(told["versions"], dict) or not isinstance(told["resumed"], list):
        raise InputError(f"{folder / VERSIONS} must hold versions, an object, and resumed, a list if it is there.")
    resumed = [*told["resumed"], {"interactions": interactions, **now}]
    write_json(folder / VERSIONS, {**told, "resumed": resumed})
    before, after = ({**found.pop("versions"), **found} for found in (dict(told), dict(now)))
    watched = ("python", *PACKAGES, "commit", "platform", "cpu", "threads")
    return [
        f"the run started with {name} {before.get(name)} and goes on with {after[name]}"
        for name in watched
        if before.get(name) != after[name]
    ]


def _processor() -> str:
    """The processor's model, where the system tells it. With equal instruction sets the last bits may still differ."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of this source tree, ``-dirty`` with local changes; None when the package is installed elsewhere."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
