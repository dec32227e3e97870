"""The ways in which a run stops with a message instead of a traceback, and how messages word what they name."""

import difflib
import errno
from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave cannot be used. The message says what was expected, what came and what to do.

    The command line prints it and exits with code 2.
    """


class NonFiniteError(ArithmeticError):
    """A loss, gradient or weight became NaN or infinite. The message names the part it appeared in.

    The command line prints it and exits with code 1; what the run has written so far stays on disk.
    """


class EnvironmentFailure(RuntimeError):
    """The environment raised, hung, or returned something else than its spaces say.

    The command line prints it and exits with code 1; a run in progress can be resumed.
    """


class SweepError(RuntimeError):
    """Some runs of a sweep did not finish. The command line prints it and exits with code 1."""


class Stopped(KeyboardInterrupt):
    """The user or the system asked to stop (``signum``: SIGINT or SIGTERM)."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python's words or torch's."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def of_the_machine(error: BaseException) -> bool:
    """Whether reading a file failed for want of memory or access: its contents are not to blame.

    A damaged archive can make a seek invalid (``EINVAL``): that is the contents'.
    """
    return out_of_memory(error) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL))


def one_line(error: object) -> str:
    """The first line of an error's text, at most 300 characters, ending in a full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    return printable(lines[0][:300].rstrip(". ") + ".")


def brief(value: object) -> str:
    """The first 60 characters of a value as Python writes it, safe to print."""
    return printable(repr(value)[:60])


def printable(text: str) -> str:
    """A text from a file, safe to print: with question marks for what would control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def number(value: float) -> str:
    """A return or reward for people: one decimal, or three digits where it is small."""
    return f"{value:,.1f}" if value == 0 or abs(value) >= 10 else f"{value:.3g}"


def ordinal(place: int) -> str:
    """1st, 2nd, 3rd, 4th, ..., 11th, 12th, 13th, ..., 21st."""
    suffix = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{suffix}"


def nearest(name: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """The end of an error message: the nearest ``known`` name, or else those ``listed`` (by default all known)."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known if listed is None else listed)}."
