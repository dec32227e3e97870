"""A run of a sweep, in a process of its own: ``python -m dyna_ail.runs.sweeps.cell``, told what to do by a line of JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from dyna_ail.config import RunConfig, from_dict
from dyna_ail.runs.exits import guarded
from dyna_ail.records.folder import is_begun


def work() -> None:
    """Train, or go on with the run if there is one in the folder."""
    from dyna_ail.runs import resume, train

    order = json.loads(sys.stdin.readline())
    # Nothing more is said: the end of the input means that the sweep, or its worker on a cluster, is dead. The same run
    # may then be given to another, so it must not go on here.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    folder, config = Path(order["folder"]), from_dict(RunConfig, order["config"])
    if is_begun(folder):
        resume(folder, progress=False, force=True)
    else:
        train(config, folder, force=True, progress=False)


if __name__ == "__main__":
    sys.exit(guarded(work))
