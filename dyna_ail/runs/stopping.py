"""Stopping a run by a signal: after the first signal it saves itself, after the second it ends at once."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dyna_ail.errors import Stopped


@contextmanager
def stopped_by_signal(ask: Callable[[int], bool]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM ask the run to stop, and the second stop it at once.

    Signals within a second of the first are ignored. A batch system signals a sweep and its runs together, and the
    sweep passes its own signal on to them.

    Args:
        ask: called with the signal's number; returns whether the run will stop by itself. If not, because there is
            nothing to save or it was asked before, it is stopped at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    first = -math.inf

    def handle(signum: int, frame: object) -> None:
        nonlocal first
        if time.monotonic() - first < 1:
            return
        if not ask(signum):
            raise Stopped(signum)
        first = time.monotonic()
        # Not print: the signal may have come during a print.
        os.write(2, b"\nstopping after the step or the updates in progress; once more to stop at once\n")

    previous = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
