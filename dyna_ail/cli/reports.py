"""``dyna-ail plot`` and ``dyna-ail table``: figures and tables of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dyna_ail.cli.common import OptionalPath
from dyna_ail.errors import InputError, printable


@dataclass
class Plot:
    """Draw runs, wherever they were made: their return against environment interactions, or another figure.

    Runs that differ in their seed alone are drawn as one setting: interquartile mean and 95% bootstrap interval.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    """Folders of runs."""
    out: OptionalPath = None
    """The .png or .pdf to write (several runs: both, and the numbers as .csv); by default named after the figure, in
    the folder of a single run."""
    held: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """Draw the interactions to held 90% of the expert against this setting instead, such as planner.horizon; by default
    not drawn."""
    score: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Draw the scores after so many interactions instead; by default not drawn."""
    share: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw planning's share of the wall time instead."""
    diagnostics: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw one page of diagnostics instead."""

    def run(self) -> None:
        """Draw, and print the files.

        Raises:
            InputError: more than one figure asked for, or runs that do not fit it.
        """
        from dyna_ail.records.folder import FIGURE, is_begun
        from dyna_ail.reports import plots

        options = {"held": self.held, "score": self.score, "share": self.share, "diagnostics": self.diagnostics}
        asked = [name for name, value in options.items() if value is not None and value is not False]
        if len(asked) > 1:
            raise InputError(f"one figure at a time: give one of {', '.join(f'--{name}' for name in asked)}.")
        name = f"{asked[0]}_figure.png" if asked else FIGURE
        out = self.out or (self.runs[0] / name if len(self.runs) == 1 else Path(name))
        if len(self.runs) > 1 and self.out is None and not asked and is_begun(Path()) and out.exists():
            raise InputError("a figure of several runs would overwrite that of the run in this folder; give --out.")
        if self.held is not None:
            files = plots.held_interactions(self.runs, out, self.held)
        elif self.score is not None:
            files = plots.scores_at(self.runs, out, self.score)
        elif self.share:
            files = plots.planning_share(self.runs, out)
        elif self.diagnostics:
            files = plots.diagnostics_page(self.runs, out)
        else:
            files = plots.learning_curves(self.runs, out)
        for file in files:
            print(file)


@dataclass
class Table:
    """Print a Markdown table of runs: interactions to held 90% of the expert, final scores, minutes."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    """Folders of runs."""
    threshold: float = 0.9
    """The score to be held for three evaluations, as a fraction of the expert's."""
    against: Annotated[str | None, tyro.conf.arg(metavar="SETTING")] = None
    """Compare the others' interactions with those of this setting, named as in the table."""
    until: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Take the runs as they were after so many interactions; by default whole."""

    def run(self) -> None:
        """Print it."""
        from dyna_ail.reports.tables import scores

        for line in scores(self.runs, self.threshold, self.against, self.until).split("\n"):
            print(printable(line))
