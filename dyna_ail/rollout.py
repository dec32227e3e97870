"""Real trajectories (Algorithm 1 line 3). The only code that steps a training environment, and it counts every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from dyna_ail.networks import require_finite
from dyna_ail.policy import ImitationPolicy
from dyna_ail.replay import Transitions
from dyna_ail.spaces import decode_action


@dataclass(frozen=True)
class Segment:
    """Consecutive real transitions ``[N]`` of the current policy, episodes end to end.

    ``drawn [N, action_dim]``: the actions as sampled, before clipping: the ones that the likelihood is about.
    ``first [N]`` bool: the transition opens an episode.
    """

    transitions: Transitions
    drawn: Tensor
    first: Tensor


class RealRollout:
    """Runs the policy in the training environment, taking up the episode where the last segment left it.

    The environment's reward is dropped here: it reaches no learner.

    Attributes:
        interactions: steps of the environment so far.
        before_step: called before every step, when everything about the learning can be saved.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], policy: ImitationPolicy, seed: int, generator: torch.Generator):
        self.env, self.policy, self.seed, self.generator = env, policy, seed, generator
        self.interactions = 0
        self.before_step: Callable[[], object] = lambda: None
        self._obs: Tensor | None = None
        self._first = True
        # The segment in the making: its noise, and for every step so far one tensor of each kind.
        self._noise: Tensor | None = None
        self._rows: list[tuple[Tensor, ...]] = []
        # The episode in progress, to come back to where it stands: the random state before its reset (none for the
        # first, which is seeded) and the actions since.
        self._start: dict[str, Any] | None = None
        self._actions: list[Any] = []

    def collect(self, steps: int) -> Segment:
        """The next ``steps`` real interactions; what is missing to a segment that was interrupted.

        Raises:
            NonFiniteError: the environment's observation or the policy's action is not finite.
        """
        if self._obs is None:
            self._obs = self._as_tensor(self.env.reset(seed=self.seed)[0])
        if self._noise is None:
            self._noise = self.policy.noise((steps, 1), self.generator)
        for noise in self._noise[len(self._rows) :]:
            self.before_step()
            self._rows.append(self._step(noise))
        obs, action, next_obs, drawn, terminated, truncated, first = self._columns()
        self._noise, self._rows = None, []
        return Segment(Transitions(obs, action, next_obs, terminated, truncated & ~terminated), drawn, first)

    def _step(self, noise: Tensor) -> tuple[Tensor, ...]:
        policy, env, obs = self.policy, self.env, self._obs
        assert obs is not None
        with torch.no_grad():
            drawn = policy.reparameterise(obs[None], noise)[0]
        require_finite("the policy's action", drawn)
        action = decode_action(env.action_space, drawn.numpy())
        received = drawn if policy.discrete else torch.as_tensor(action, dtype=torch.float32)
        raw, _, terminated, truncated, _ = env.step(action)
        self.interactions += 1
        self._actions.append(action)
        next_obs = self._as_tensor(raw)
        row = (obs, received, next_obs, drawn, *map(torch.tensor, (bool(terminated), bool(truncated), self._first)))
        self._first = bool(terminated or truncated)
        self._obs = self._reset() if self._first else next_obs
        return row

    def _reset(self) -> Tensor:
        self._start, self._actions = self.env.unwrapped.np_random.bit_generator.state, []
        return self._as_tensor(self.env.reset()[0])

    def _columns(self) -> list[Tensor]:
        return [torch.stack(column) for column in zip(*self._rows, strict=True)]

    def _as_tensor(self, obs: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(obs, dtype=np.float32).copy())
        require_finite(f"the environment's observation at interaction {self.interactions}", tensor)
        return tensor

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: tensors, numbers and containers of them."""
        return {
            "interactions": self.interactions,
            "obs": self._obs,
            "first": self._first,
            "noise": self._noise,
            "rows": self._columns() if self._rows else [],
            "start": self._start,
            "actions": torch.as_tensor(np.array(self._actions)),
            "random": self.env.unwrapped.np_random.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go back to where ``state`` was taken, the environment by repeating the actions of its episode.

        A simulator's state cannot be set exactly (MuJoCo's solver starts from its last solution), but what it did can
        be repeated, from the random state before the reset. These steps are not counted again.

        Returns:
            Whether the environment arrived where it had been, to the last bit. If not, a new episode begins, and the
            one that was interrupted counts as cut by a time limit.
        """
        self.interactions, self._noise, self._start = state["interactions"], state["noise"], state["start"]
        self._rows = list(zip(*(column.unbind() for column in state["rows"]), strict=True))
        self._actions = state["actions"].tolist() if self.policy.discrete else list(state["actions"].numpy())
        obs, env = self.env.reset(seed=self.seed)[0], self.env.unwrapped
        if self._start is not None:
            env.np_random.bit_generator.state = self._start
            obs = self.env.reset()[0]
        for action in self._actions:
            obs = self.env.step(action)[0]
        self._obs, self._first = self._as_tensor(obs), state["first"]
        exact = torch.equal(self._obs, state["obs"]) and env.np_random.bit_generator.state == state["random"]
        if not exact:
            self._obs, self._first = self._reset(), True
            if self._rows:
                *row, terminated, _, first = self._rows[-1]
                self._rows[-1] = (*row, terminated, ~terminated, first)
        return exact
