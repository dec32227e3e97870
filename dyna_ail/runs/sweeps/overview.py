"""What the user sees of a sweep: what runs, waits, finished and failed, and the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dyna_ail.errors import InputError, number
from dyna_ail.records.folder import PROGRESS, VERSIONS
from dyna_ail.records.reading import read_progress
from dyna_ail.runs.sweeps.grid import Cell, Outcome


class Overview:
    """A table that follows the runs' folders on a terminal; elsewhere a line for every run that ends.

    Args:
        cells: the grid.
        found: the outcomes so far, by name. The sweep adds to them as runs end.
    """

    def __init__(self, cells: Sequence[Cell], found: Mapping[str, Outcome]) -> None:
        self.cells, self.found = cells, found
        self.start, self.before = time.time(), self._done()
        self.console = Console()
        self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=1, transient=True)

    def __enter__(self) -> Overview:
        if self.console.is_terminal:
            self.live.start()
        if self.found:
            print(f"{len(self.cells)} runs, {len(self.found)} of them finished before")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def note(self, outcome: Outcome) -> None:
        """Print that a run has ended."""
        ended = f"{len(self.found)}/{len(self.cells)} {outcome.state}: {outcome.name}"
        self.console.print(Text(ended + (f" ({outcome.message})" if outcome.message else "")), soft_wrap=True)

    def _table(self) -> Group:
        table = Table("run", "interactions", "return", "score", box=None)
        running = [cell for cell in self.cells if cell.name not in self.found and self._begun(cell)]
        for cell in running:
            last = self._last(cell)
            score = f"{last['score']:.0%}" if last and last["score"] == last["score"] else ""
            table.add_row(
                cell.name,
                f"{last.get('interactions', 0):,.0f}/{cell.config.learner.interactions:,}",
                f"{number(last['return_mean'])}" if last else "",
                score,
            )
        states = Counter(outcome.state for outcome in self.found.values())
        states["running"], states["waiting"] = len(running), len(self.cells) - len(self.found) - len(running)
        parts = [f"{number} {state}" for state, number in states.items() if number]
        return Group(table, Text(", ".join([*parts, self._left()])))

    def _left(self) -> str:
        done, total = self._done(), sum(max(1, cell.config.learner.interactions) for cell in self.cells)
        if done <= self.before:
            return "time left unknown"
        seconds = (time.time() - self.start) * (total - done) / (done - self.before)
        return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h left"

    def _done(self) -> float:
        """Interactions so far; a run without any counts as one."""
        return sum(
            max(1, cell.config.learner.interactions)
            if cell.name in self.found
            else self._last(cell).get("interactions", 0)
            for cell in self.cells
        )

    def _begun(self, cell: Cell) -> bool:
        """Whether this sweep has started or resumed the run; both rewrite ``versions.json``."""
        try:
            return (cell.folder / VERSIONS).stat().st_mtime >= self.start
        except OSError:
            return False

    def _last(self, cell: Cell) -> dict[str, float]:
        """The last row of the run's progress.csv, empty before the first."""
        try:
            return {name: column[-1] for name, column in read_progress(cell.folder / PROGRESS).items()}
        except InputError:
            return {}
