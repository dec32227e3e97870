"""What a check reports, and the wording that the checks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dyna_ail.errors import ordinal


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    level: Literal["error", "warning", "ok"]
    """error: cannot be trained on, or teaches something else. warning: to be looked at. ok: fits, or cannot be told."""
    what: str
    """What was found, with numbers."""
    mend: str = ""
    """What to do about it; empty if ok."""


def report(findings: Sequence[Finding]) -> str:
    """Plain text: one line per finding, the mend indented below it, and a last line with the counts."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.what}")
        if finding.mend:
            lines.append(f"{'':<8}   -> {finding.mend}")
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    lines.append(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    return "\n".join(lines)


def counted(number: int, word: str) -> str:
    """1 pair, 2 pairs, 3 trajectories."""
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{number:,} {word if number == 1 else plural}"


def every_kth(k: int) -> str:
    """Every pair, or every k-th one."""
    return "every pair" if k == 1 else f"every {ordinal(k)} pair"


def listed(indices: Sequence[int]) -> str:
    """A few trajectories by number."""
    if len(indices) == 1:
        return f"trajectory {indices[0]}"
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    return f"trajectories {', '.join(map(str, indices[:5]))}{more}"
