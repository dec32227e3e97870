"""The command line: one file a group of commands, one class a command.

Nothing imports this package. A command loads torch, Gymnasium and matplotlib only when it runs, so that ``--help``
answers at once.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import tyro

from dyna_ail import __version__
from dyna_ail.cli.demos import DemosCheck, DemosConvert, DemosInfo, DemosRecord
from dyna_ail.cli.experts import ExpertTrain
from dyna_ail.cli.reports import Plot, Table
from dyna_ail.cli.sweeps import Ablate, Sweep
from dyna_ail.cli.train import Evaluate, Train, train_defaults
from dyna_ail.config.names import RENAMED
from dyna_ail.errors import InputError, nearest
from dyna_ail.exits import guarded

Command = (
    Train | Sweep | Ablate | Evaluate | Plot | Table | ExpertTrain | DemosRecord | DemosConvert | DemosCheck | DemosInfo
)
COMMANDS = {
    "train": Train,
    "sweep": Sweep,
    "ablate": Ablate,
    "evaluate": Evaluate,
    "plot": Plot,
    "table": Table,
    "expert train": ExpertTrain,
    "demos record": DemosRecord,
    "demos convert": DemosConvert,
    "demos check": DemosCheck,
    "demos info": DemosInfo,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code. 0: done. 1: a value became NaN or infinite, the environment failed or ended the process, or runs
        of a sweep did not finish. 2: the input cannot be used, or takes too much memory. 130: stopped by Ctrl-C. 143:
        stopped by SIGTERM.
    """
    return guarded(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(f"dyna-ail {__version__}")
        return 0
    words = next((n for n in (2, 1) if " ".join(arguments[:n]) in COMMANDS), 0)
    if not words:
        if set(arguments) & {"-h", "--help"} or not arguments:
            print(_overview())
            return 0 if arguments else 2
        asked = " ".join(itertools.takewhile(lambda word: not word.startswith("-"), arguments[:2])) or arguments[0]
        raise InputError(f"unknown command {asked!r}: {nearest(asked, COMMANDS)}")
    name, rest = " ".join(arguments[:words]), arguments[words:]
    for option in (argument.partition("=")[0].removeprefix("--") for argument in rest if argument.startswith("--")):
        if option in RENAMED:
            raise InputError(f"unknown option --{option}: it is now called --{RENAMED[option]}.")
    default = Train(train_defaults(rest)) if name == "train" else tyro.MISSING_NONPROP
    try:
        command: Command = tyro.cli(
            COMMANDS[name], prog=f"dyna-ail {name}", args=rest, default=default, use_underscores=True
        )
    except SystemExit as stop:  # after --help, or a message of its own
        return stop.code if isinstance(stop.code, int) else 0
    command.run()
    return 0


def _overview() -> str:
    """What ``dyna-ail --help`` prints: the commands, each with the first line of its explanation."""
    lines = [f"  {name:<14}{(kind.__doc__ or '').splitlines()[0]}" for name, kind in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dyna-ail [-h] [--version] COMMAND ...",
            "",
            "Imitation learning with few interactions, by planning in a learned model.",
            "",
            *lines,
            "",
            "dyna-ail COMMAND --help explains every option of a command, with its default.",
        ]
    )
