"""How far, and in which direction, each phase of an iteration moves the policy, and how long it takes."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from stable_baselines3.common.distributions import kl_divergence
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from dyna_ail.learning.policy import ImitationPolicy


class Phases:
    """The phases of one iteration.

    Args:
        policy: the policy that learns.
        obs: states on which divergences are measured, ``[N, obs_dim]``.

    Attributes:
        seconds: wall time of each phase.
    """

    def __init__(self, policy: ImitationPolicy, obs: Tensor) -> None:
        self.policy, self.obs = policy, obs
        self.steps: dict[str, Tensor] = {}
        self.kl: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Measure what happens to the policy inside, and the time."""
        with torch.no_grad():
            weights, before = self._weights(), copy.copy(self.policy.get_distribution(self.obs))
        start = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - start
        with torch.no_grad():
            self.steps[phase] = self._weights() - weights
            divergence = kl_divergence(before, self.policy.get_distribution(self.obs))
            self.kl[phase] = divergence.reshape(len(self.obs), -1).sum(-1).mean().item()

    def metrics(self) -> dict[str, float]:
        """``<phase>_kl``, the mean over states of KL(before || after); and of the two steps, in the space of weights,
        ``steps_cosine`` and ``steps_ratio``, the planner's length over the model-free one's (NaN without both).
        """
        real, planned = self.steps["model_free"], self.steps["planner"]
        lengths = real.norm() * planned.norm()
        ratio, cosine = planned.norm() / real.norm(), real @ planned / lengths
        return {
            **{f"{phase}_kl": self.kl[phase] for phase in ("model_free", "planner")},
            "steps_cosine": cosine.item() if lengths > 0 else float("nan"),
            "steps_ratio": ratio.item() if lengths > 0 else float("nan"),
        }

    def _weights(self) -> Tensor:
        return parameters_to_vector(self.policy.actor_parameters())
