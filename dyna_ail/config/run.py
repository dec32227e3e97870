"""The settings that a run adds to its learner's: the task, the demonstrations, evaluation and crash safety."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from dyna_ail.config.learner import Config
from dyna_ail.config.validation import Count, Positive, check_fields


@dataclass(frozen=True)
class EvaluationConfig:
    """Deterministic evaluation in separate environments. Its steps are not counted as interactions."""

    every: Count = 2000
    """Real interactions between evaluations. An evaluation waits for the end of the iteration."""
    episodes: Count = 10
    """Episodes per evaluation."""


@dataclass(frozen=True)
class SafetyConfig:
    """Crash safety: checkpoints and timeouts. No result depends on them."""

    checkpoint_minutes: Positive = 5.0
    """Minutes between checkpoints, from which an interrupted run is resumed. The interval grows if writing them takes
    more than 2% of the time."""
    checkpoint_every: Count | None = None
    """Real interactions between checkpoints, if that is sooner; by default only the minutes count."""
    step_timeout: Positive = 60.0
    """Seconds that a step or a reset of an environment may take."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run. Their names are those of the command line: the learner's stand beside the run's own.

    Raises:
        InputError: as :class:`Config`.
    """

    task: str = "Hopper-v5"
    """Gymnasium id, or module:id to import the module first."""
    preset: str = "dyna-ail"
    """The preset these values started from."""
    demos: str | None = None
    """Demonstrations: an .npz of this package or of imitation, an HDF5 file of D4RL, a folder of imitation, a Minari
    dataset (id or path), or a policy (.zip of Stable-Baselines3, expert's folder), of which --trajectories episodes are
    recorded. By default the file bundled for the task is used."""
    learner: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)  # without a prefix
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        check_fields(self)
