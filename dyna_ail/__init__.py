"""Sample-efficient imitation learning by planning: the names a user needs, imported when first asked for.

``import dyna_ail`` itself loads neither torch nor Gymnasium, so that ``dyna-ail --help`` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyna_ail.algorithm import DynaAIL as DynaAIL
    from dyna_ail.config import Config as Config
    from dyna_ail.config import RunConfig as RunConfig
    from dyna_ail.config import make_config as make_config
    from dyna_ail.config import make_run_config as make_run_config
    from dyna_ail.demos import Demonstrations as Demonstrations
    from dyna_ail.demos import ExpertPairs as ExpertPairs
    from dyna_ail.demos import Trajectory as Trajectory
    from dyna_ail.errors import EnvironmentFailure as EnvironmentFailure
    from dyna_ail.errors import InputError as InputError
    from dyna_ail.errors import NonFiniteError as NonFiniteError
    from dyna_ail.runs.evaluation import Evaluation as Evaluation
    from dyna_ail.runs.evaluation import evaluate as evaluate
    from dyna_ail.runs.policy import load_policy as load_policy

__version__ = "0.1.0"

_HOME = {
    "DynaAIL": "algorithm",
    "Config": "config",
    "RunConfig": "config",
    "make_config": "config",
    "make_run_config": "config",
    "Demonstrations": "demos",
    "ExpertPairs": "demos",
    "Trajectory": "demos",
    "EnvironmentFailure": "errors",
    "InputError": "errors",
    "NonFiniteError": "errors",
    "Evaluation": "runs.evaluation",
    "evaluate": "runs.evaluation",
    "load_policy": "runs.policy",
}


__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dyna_ail' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dyna_ail.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
