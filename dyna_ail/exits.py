"""How a process of the package ends: an exit code, and one line instead of a traceback where the user can help."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable

from dyna_ail.errors import EnvironmentFailure, InputError, NonFiniteError, SweepError, one_line, out_of_memory


def mute() -> None:
    """Discard all further output, because its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guarded(work: Callable[[], int | None]) -> int:
    """Do the work and return the exit code. Errors that the user can mend print one line and no traceback."""
    if "" not in sys.path:
        sys.path.append("")  # for module:id in the current folder; last, so that it shadows nothing
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal's encoding cannot show
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (NonFiniteError, EnvironmentFailure, SweepError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if "home directory" in str(error):  # pathlib's words
            print("error: no home directory is known: set the environment variable HOME.", file=sys.stderr)
            return 2
        if not out_of_memory(error):
            raise
        print(
            f"error: out of memory: {one_line(error)} Smaller networks, batches or buffers need less.", file=sys.stderr
        )
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        mute()
        return 1
    except OSError as error:  # a folder that may not be entered, a name too long, a full disk
        print(f"error: cannot use {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except SystemExit as stop:  # from a library, or from the module of a task
        print(f"error: the process was told to exit from within: {one_line(stop.code)}", file=sys.stderr)
        return 1
