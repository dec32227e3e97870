"""Real trajectories (Algorithm 1 line 3). The only code that steps a training environment, and it counts every step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from dyna_ail.errors import EnvironmentFailure
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


SURE = 0.95
"""Mean of D above which an episode is lost."""


class RealRollout:
    """Runs the policy in the training environment, taking up the episode where the last segment left it.

    The environment's reward is dropped here: it reaches no learner.

    A departure from the papers: an episode is lost once the mean of D over its newest ``lost_after`` pairs is above
    :data:`SURE`; it is then cut off as a time limit would. Standing still or on its back, the policy would spend the
    rest of it where D, sure of every pair, has nothing to tell.

    Args:
        env: the training environment.
        policy: the policy that acts.
        discriminator: D, ``obs [..., obs_dim], action [..., action_dim] -> [...]`` in (0, 1).
        lost_after: steps; 0: no episode is lost.
        seed: of the environment's first reset.
        generator: source of the policy's noise.

    Attributes:
        interactions: steps of the environment so far.
        lost: lost episodes so far.
        before_step: called before every step, when everything about the learning can be saved.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        policy: ImitationPolicy,
        discriminator: Callable[[Tensor, Tensor], Tensor],
        lost_after: int,
        seed: int,
        generator: torch.Generator,
    ):
        self.env, self.policy, self.discriminator = env, policy, discriminator
        self.seed, self.generator = seed, generator
        self.interactions = self.lost = 0
        self.before_step: Callable[[], object] = lambda: None
        self._obs: Tensor | None = None  # none between episodes
        self._stepping = False
        # The segment in the making: its noise, and for every step so far one tensor of each kind.
        self._noise: Tensor | None = None
        self._rows: list[tuple[Tensor, ...]] = []
        # The way back to the middle of an episode: the random state before its reset and the actions since.
        self._start: dict[str, Any] | None = None
        self._actions: list[Any] = []
        # D of the episode's newest pairs.
        self._judged: deque[float] = deque(maxlen=lost_after)

    def collect(self, steps: int) -> Segment:
        """The next ``steps`` real interactions, or the rest of a segment that was interrupted.

        Raises:
            EnvironmentFailure: the environment raised, hung, or returned NaN or something else than its space says.
            NonFiniteError: the policy's action is not finite.
        """
        if self._stepping:  # an exception came out of the last step: where the environment stands, nobody knows
            self._abandon_episode()
        if self._noise is None:
            self._noise = self.policy.noise((steps, 1), self.generator)
        for noise in self._noise[len(self._rows) :]:
            self.before_step()
            self._rows.append(self._step(noise))
            self._stepping = False
        obs, action, next_obs, drawn, terminated, truncated, first = self._columns()
        self._noise, self._rows = None, []
        return Segment(Transitions(obs, action, next_obs, terminated, truncated & ~terminated), drawn, first)

    @property
    def collecting(self) -> bool:
        """Whether a segment is in the making."""
        return self._noise is not None

    def _step(self, noise: Tensor) -> tuple[Tensor, ...]:
        policy, env = self.policy, self.env
        obs = self._obs = self._reset() if self._obs is None else self._obs
        with torch.no_grad():
            drawn = policy.reparameterise(obs[None], noise)[0]
        require_finite("the policy's action", drawn)
        action = decode_action(env.action_space, drawn.numpy())
        received = drawn if policy.discrete else torch.as_tensor(action, dtype=torch.float32)
        self._stepping = True
        with self._undone_if_it_fails():
            raw, _, terminated, truncated, _ = env.step(action)
            next_obs = self._as_tensor(raw)
        self.interactions += 1
        first = not self._actions
        self._actions.append(action)
        if self._is_lost(obs, received) and not (terminated or truncated):
            self.lost, truncated = self.lost + 1, True
        self._obs = None if terminated or truncated else next_obs
        return (obs, received, next_obs, drawn, *map(torch.tensor, (bool(terminated), bool(truncated), first)))

    @torch.no_grad()
    def _is_lost(self, obs: Tensor, action: Tensor) -> bool:
        """Whether the episode is lost with this pair, its newest."""
        judged, lost_after = self._judged, self._judged.maxlen
        if not lost_after:
            return False
        judged.append(self.discriminator(obs[None], action[None]).item())
        return len(judged) == lost_after and sum(judged) > SURE * lost_after

    def _reset(self) -> Tensor:
        self._start, self._actions = self._random_state() if self.interactions else None, []
        self._judged.clear()
        with self._undone_if_it_fails():
            return self._as_tensor(self.env.reset(seed=None if self.interactions else self.seed)[0])

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        """What a failing step or reset drew is drawn again once the environment is mended."""
        before = self._random_state()
        try:
            yield
        except EnvironmentFailure:
            self._set_random_state(before)
            raise

    def _random_state(self) -> dict[str, Any]:
        """That of the environment's own generator; empty if it has none, or none of Gymnasium's kind."""
        generator = getattr(self.env.unwrapped, "np_random", None)
        if not isinstance(generator, np.random.Generator) or not isinstance(generator.bit_generator, np.random.PCG64):
            return {}
        state: dict[str, Any] = generator.bit_generator.state  # type: ignore[assignment]
        return state

    def _set_random_state(self, state: dict[str, Any]) -> None:
        if state and self._random_state():
            self.env.unwrapped.np_random.bit_generator.state = state

    def _columns(self) -> list[Tensor]:
        return [torch.stack(column) for column in zip(*self._rows, strict=True)]

    def _as_tensor(self, obs: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(obs, dtype=np.float32).copy())
        if not torch.isfinite(tensor).all():
            value = tensor[~torch.isfinite(tensor)][0].item()
            raise EnvironmentFailure(f"the environment's observation became {value} after {self.interactions:,} steps.")
        return tensor

    def state_dict(self) -> dict[str, Any]:
        """Where it stands between two steps: tensors, numbers and containers of them."""
        space, taken = self.env.action_space, len(self._actions)
        actions = np.array(self._actions, dtype=space.dtype).reshape(taken, *(space.shape or ()))
        return {
            "interactions": self.interactions,
            "lost": self.lost,
            "judged": torch.tensor(list(self._judged), dtype=torch.float64),
            "obs": self._obs,
            "noise": self._noise,
            "rows": self._columns() if self._rows else [],
            "start": self._start,
            "actions": torch.as_tensor(actions),
            "random": self._random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go back to where ``state`` was taken, the environment by repeating the actions of its episode.

        A simulator's state cannot be set exactly (MuJoCo's solver goes on from its last solution), but what it did can
        be repeated, from the random state before the reset. These steps are not counted a second time.

        Returns:
            Whether the environment arrived where it had been, to the last bit. If not, the next step opens a new
            episode, and the one that was interrupted counts as cut by a time limit.
        """
        self._noise, self._start, self._obs = state["noise"], state["start"], state["obs"]
        self._rows = list(zip(*(column.unbind() for column in state["rows"]), strict=True))
        self._actions = state["actions"].tolist() if self.policy.discrete else list(state["actions"].numpy())
        self.interactions, self.lost = state["interactions"], state["lost"]
        self._judged = deque(state["judged"].tolist(), self._judged.maxlen)
        if not self.interactions:
            self._obs = None
            return True
        obs = self.env.reset(seed=self.seed)[0]
        if self._obs is None:
            self._set_random_state(state["random"])
            return bool(state["random"])
        if self._start is not None:
            self._set_random_state(self._start)
            obs = self.env.reset()[0]
        over = False
        for action in self._actions:
            if over:  # some environments take no step then
                break
            obs, _, *ends, _ = self.env.step(action)
            over = any(ends)
        if not over and torch.equal(self._as_tensor(obs), self._obs) and self._random_state() == state["random"]:
            return True
        self._abandon_episode()
        return False

    def _abandon_episode(self) -> None:
        """It counts as cut by a time limit where it was last seen; the next step opens a new one."""
        self._stepping, self._obs = False, None
        if self._rows:
            *row, terminated, _, first = self._rows[-1]
            self._rows[-1] = (*row, terminated, ~terminated, first)
