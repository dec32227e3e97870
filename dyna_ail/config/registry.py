"""What a setting may name: planners, model-free phases, forward models and costs.

A name stands for an object, or for the text ``module:object``, which is imported when it is first asked for: the names
are known without loading torch. A new one is one line here, or from outside ``PLANNERS["mine"] = MyPlanner``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any


class Registry:
    """Names and what they stand for."""

    def __init__(self, **entries: Any) -> None:
        self._entries = entries

    def __setitem__(self, name: str, entry: Any) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __getitem__(self, name: str) -> Any:
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = getattr(importlib.import_module(module), attribute)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return ", ".join(self)


MODEL_FREE = Registry(
    trpo="dyna_ail.model_free.trpo:TRPOStep",
    mgail="dyna_ail.model_free.mgail:MGAILStep",
    none="dyna_ail.model_free.interface:NoModelFree",
)
"""The model-free phases (Algorithm 1 line 6): see :class:`dyna_ail.model_free.interface.ModelFree`."""

PLANNERS = Registry(
    mgail="dyna_ail.planners.mgail:MGAILPlanner",
    trpo="dyna_ail.planners.trpo:TRPOPlanner",
    none="dyna_ail.planners.interface:NoPlanner",
)
"""The planners (Algorithm 1 lines 8-9): see :class:`dyna_ail.planners.interface.Planner`."""

FORWARD_MODELS = Registry(
    mlp="dyna_ail.learning.forward_model:MLPDynamics",
    gru="dyna_ail.learning.forward_model:GRUDynamics",
)
"""The networks of the forward model (Dyna-AIL Eq. 5): see :class:`dyna_ail.learning.forward_model.Dynamics`."""

COSTS = Registry(
    gail="dyna_ail.learning.discriminator:log_d",
    d="dyna_ail.learning.discriminator:plain_d",
    airl="dyna_ail.learning.discriminator:logit",
)
"""What the policy pays for a pair: a function of D's logit, same shape."""
