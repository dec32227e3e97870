"""A run of a sweep, in a process of its own: ``python -m dyna_ail.runs.sweeps.cell``.

It reads one line of JSON from its input: the folder and the configuration.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from dyna_ail.config import RunConfig, from_dict
from dyna_ail.exits import guarded
from dyna_ail.records.folder import is_begun


def work() -> None:
    """Train, or continue the run if there is one in the folder."""
    from dyna_ail.runs import resume, train

    order = json.loads(sys.stdin.readline())
    # The sweep, or its worker on a cluster, keeps the input open. The end of the input means that it is dead. Another
    # worker may then get the same run, so this process must end.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    folder, config = Path(order["folder"]), from_dict(RunConfig, order["config"])
    if is_begun(folder):
        resume(folder, progress=False, force=True)
    else:
        train(config, folder, force=True, progress=False)


if __name__ == "__main__":
    sys.exit(guarded(work))
