"""Figures of runs, from their folders alone: each a PNG, a PDF and the numbers drawn as CSV."""

from dyna_ail.reports.plots.comparisons import held_interactions, planning_share, scores_at
from dyna_ail.reports.plots.curves import learning_curves
from dyna_ail.reports.plots.diagnostics import diagnostics_page

__all__ = ["diagnostics_page", "held_interactions", "learning_curves", "planning_share", "scores_at"]
