"""Stands in for the Python that starts a sweep's runs: each begins at once, does as told, and learns nothing.

A sweep starts every run by ``sys.executable``. Set to what :func:`python` makes, it gets a process that takes the same
order and answers to the same signals, without the seconds that torch takes to load.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

BEGINNING = """
import json, os, signal, sys, threading, time
from pathlib import Path

order = json.loads(sys.stdin.readline())
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()  # as the real one does
folder, config = Path(order["folder"]), order["config"]
checkpoint = folder / "checkpoint.pt"
begun = (folder / "config.json").exists()
folder.mkdir(parents=True, exist_ok=True)
(folder / "config.json").write_text(json.dumps(config))
(folder / "versions.json").write_text(json.dumps({"references": {"random": 0, "expert": 100}}))

def spend(interactions):
    lines = ["interactions,imagined,return_mean,return_std,score,seconds"]
    lines += [f"{done},0,{done / 10},1,0.5,1" for done in range(0, interactions + 1, 300)]
    (folder / "progress.csv").write_text("\\n".join(lines))

"""
FINISHES = 'spend(config["interactions"])'
"""It spends its whole budget."""


def python(folder: Path, deed: str = FINISHES) -> str:
    """The program to start runs by, in ``folder``. What a run does, ``deed``, may use the names of ``BEGINNING``."""
    script, program = folder / "stand_in_run.py", folder / "stand_in_python"
    script.write_text(BEGINNING + deed)
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-S", str(script)])} "$@"\n')
    program.chmod(0o755)
    return str(program)
