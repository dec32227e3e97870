"""Whether demonstrations and task fit, told before any training: ``dyna-ail demos check``.

Each check is a function that looks at a :class:`~dyna_ail.checks.evidence.Subject` and yields findings; ``CHECKS``
lists them. Each file holds those of one concern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dyna_ail.checks.actions import check_action_range, check_bounds
from dyna_ail.checks.dynamics import check_alignment, check_continuity, check_playback, check_resets
from dyna_ail.checks.episodes import check_duplicates, check_ends, check_lengths
from dyna_ail.checks.evidence import Subject
from dyna_ail.checks.findings import Finding, report
from dyna_ail.checks.observations import check_observations
from dyna_ail.checks.returns import check_returns, check_rewards, check_sums
from dyna_ail.checks.standstill import check_constant, check_standstill
from dyna_ail.checks.task import check_pairs, check_task, misfit
from dyna_ail.demos import Demonstrations

__all__ = ["CHECKS", "Finding", "check_demonstrations", "report"]

CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_task,
    check_bounds,
    check_action_range,
    check_observations,
    check_constant,
    check_duplicates,
    check_lengths,
    check_playback,
    check_alignment,
    check_resets,
    check_continuity,
    check_ends,
    check_rewards,
    check_sums,
    check_returns,
    check_standstill,
    check_pairs,
)
"""In the order of the report. A new check is a function and a line here."""


def check_demonstrations(demonstrations: Demonstrations, task: str) -> list[Finding]:
    """Everything that can be told about demonstrations and a task without training.

    NaN, infinite values and ragged episodes are refused before, when a :class:`Demonstrations` is made.

    Args:
        demonstrations: whole or thinned; of thinned ones nothing is checked that needs successive observations.
        task: Gymnasium id, or module:id.

    Raises:
        InputError: unknown task, or an environment that cannot be made or has unsupported spaces.
    """
    subject = Subject(demonstrations, task)
    try:
        return misfit(subject) or [finding for check in CHECKS for finding in check(subject)]
    finally:
        subject.playback.close()
