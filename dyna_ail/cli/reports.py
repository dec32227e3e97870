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
    """Draw the return of runs against environment interactions, or another figure of them.

    Runs that differ in their seed alone are one setting. It is drawn as its interquartile mean and 95% bootstrap
    interval.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    """Folders of runs."""
    out: OptionalPath = None
    """The .png or .pdf to write. Several runs give both, and the numbers drawn as .csv. By default the figure names the
    file; a single run's goes into the run's folder."""
    held: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """Draw instead how many interactions a run takes to hold 90% of the expert, against this setting, such as
    planner.horizon. By default this is not drawn."""
    score: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Draw instead the scores after this many interactions. By default they are not drawn."""
    share: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw instead planning's share of the wall time."""
    diagnostics: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw instead one page of diagnostics."""

    def run(self) -> None:
        """Draw, and print the files.

        Raises:
            InputError: more than one figure is asked for, or the runs do not fit it.
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
    """A run holds this score, a fraction of the expert's, once three evaluations in a row reach it."""
    against: Annotated[str | None, tyro.conf.arg(metavar="SETTING")] = None
    """Say how many times the interactions of this setting, named as in the table, the others take."""
    until: Annotated[int | None, tyro.conf.arg(metavar="INTERACTIONS")] = None
    """Show the runs as they were after this many interactions; by default whole runs."""

    def run(self) -> None:
        """Print it."""
        from dyna_ail.reports.tables import scores

        for line in scores(self.runs, self.threshold, self.against, self.until).split("\n"):
            print(printable(line))
