"""Settings: of a learner, of a run, their presets and their validation. Imports neither torch nor Gymnasium."""

from dyna_ail.config.learner import Config
from dyna_ail.config.names import flatten, from_dict, parse_value, result_settings, to_dict, with_values
from dyna_ail.config.presets import PRESETS, make_config, make_run_config
from dyna_ail.config.run import RunConfig

__all__ = [
    "PRESETS",
    "Config",
    "RunConfig",
    "flatten",
    "from_dict",
    "make_config",
    "make_run_config",
    "parse_value",
    "result_settings",
    "to_dict",
    "with_values",
]
