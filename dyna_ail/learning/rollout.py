"""Real trajectories (Algorithm 1 line 3). The only code that steps a training environment, and it counts every step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

from dyna_ail.errors import EnvironmentFailure, InputError
from dyna_ail.guard import STEP_TIMEOUT, Guard
from dyna_ail.learning.networks import require_finite
from dyna_ail.learning.policy import ImitationPolicy
from dyna_ail.learning.randomness import Generator, find_generators, same, set_states, states_of
from dyna_ail.learning.replay import Transitions
from dyna_ail.learning.state import require_like
from dyna_ail.spaces import decode_action


class Step(NamedTuple):
    """One real step, or N of them with a leading axis.

    ``obs, next_obs [obs_dim]``; ``action [action_dim]`` as the environment received it; ``drawn [action_dim]`` as it
    was sampled; ``terminated``, ``truncated`` and ``episode_start`` are single bools.
    """

    obs: Tensor
    action: Tensor
    next_obs: Tensor
    drawn: Tensor
    terminated: Tensor
    truncated: Tensor
    episode_start: Tensor


@dataclass(frozen=True)
class Segment:
    """Consecutive real transitions ``[N]`` of the current policy, episodes end to end.

    ``drawn [N, action_dim]``: the actions as sampled, before clipping: the ones that the likelihood is about.
    ``episode_start [N]`` bool: the transition opens an episode.
    """

    transitions: Transitions
    drawn: Tensor
    episode_start: Tensor


SURE = 0.95
"""Mean of D above which an episode is lost."""


class RealRollout:
    """Runs the policy in the training environment, taking up the episode where the last segment left it.

    The environment's reward is dropped here: it reaches no learner.

    A departure from the papers: an episode is lost once the mean of D over its newest ``lost_after`` pairs is above
    :data:`SURE`. It is then cut off as a time limit would do: D is saturated there, so further steps carry no signal.

    Args:
        env: the training environment; wrapped in a :class:`~dyna_ail.guard.Guard` unless it is one.
        policy: the policy that acts.
        discriminator: D, ``obs [..., obs_dim], action [..., action_dim] -> [...]`` in (0, 1).
        lost_after: steps; 0: no episode is lost.
        seed: of the environment's first reset.
        generator: source of the policy's noise.

    Attributes:
        interactions: steps of the environment so far.
        lost: lost episodes so far.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        policy: ImitationPolicy,
        discriminator: Callable[[Tensor, Tensor], Tensor],
        lost_after: int,
        seed: int,
        generator: torch.Generator,
    ) -> None:
        self.env = env if isinstance(env, Guard) else Guard(env, STEP_TIMEOUT)
        self.policy, self.discriminator = policy, discriminator
        self.seed, self.generator = seed, generator
        self.interactions = self.lost = 0
        self._obs: Tensor | None = None  # none between episodes
        self._stepping = False
        # The segment in the making.
        self._noise: Tensor | None = None
        self._steps: list[Step] = []
        # The way back to the middle of an episode: the random states before its reset, and the actions since.
        self._start: dict[str, Any] = {}
        self._actions: list[Any] = []
        # D of the episode's newest pairs.
        self._judged: deque[float] = deque(maxlen=lost_after)
        self._generators: dict[str, Generator] = find_generators(self.env)

    def collect(self, steps: int, before_step: Callable[[], object] = lambda: None) -> Segment:
        """The next ``steps`` real interactions, or the rest of a segment that was interrupted.

        ``before_step`` is called before each of them, when the state of the learning can be saved.

        Raises:
            EnvironmentFailure: the environment raised, hung, or returned NaN or something else than its space says.
            NonFiniteError: the policy's action is not finite.
        """
        if self._stepping:  # an exception came out of the last step: where the environment stands, nobody knows
            self._abandon_episode()
        if self._noise is None:
            self._noise = self.policy.noise((steps, 1), self.generator)
        for noise in self._noise[len(self._steps) :]:
            before_step()
            self._steps.append(self._step(noise))
            self._stepping = False
        obs, action, next_obs, drawn, terminated, truncated, episode_start = self._stacked()
        self._noise, self._steps = None, []
        return Segment(Transitions(obs, action, next_obs, terminated, truncated & ~terminated), drawn, episode_start)

    @property
    def collecting(self) -> bool:
        """Whether a segment is in the making."""
        return self._noise is not None

    def _step(self, noise: Tensor) -> Step:
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
        episode_start = not self._actions
        self._actions.append(action)
        if self._is_lost(obs, received) and not (terminated or truncated):
            self.lost, truncated = self.lost + 1, True
        self._obs = None if terminated or truncated else next_obs
        flags = (torch.tensor(bool(flag)) for flag in (terminated, truncated, episode_start))
        return Step(obs, received, next_obs, drawn, *flags)

    @torch.no_grad()
    def _is_lost(self, obs: Tensor, action: Tensor) -> bool:
        """Whether the episode is lost with this pair, its newest."""
        judged, lost_after = self._judged, self._judged.maxlen
        if not lost_after:
            return False
        judged.append(self.discriminator(obs[None], action[None]).item())
        return len(judged) == lost_after and sum(judged) > SURE * lost_after

    def _reset(self) -> Tensor:
        self._generators = find_generators(self.env)
        self._start, self._actions = states_of(self._generators), []
        self._judged.clear()
        with self._undone_if_it_fails():
            obs = self._as_tensor(self.env.reset(seed=None if self.interactions else self.seed)[0])
        self._generators = find_generators(self.env)  # a seeded reset makes new ones
        return obs

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        """What a failing step or reset drew is drawn again once the environment is mended."""
        before = states_of(self._generators)
        try:
            yield
        except EnvironmentFailure:
            set_states(self._generators, before)
            raise

    def _stacked(self) -> Step:
        return Step(*map(torch.stack, zip(*self._steps, strict=True)))

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
            "steps": list(self._stacked()) if self._steps else [],
            "start": self._start,
            "actions": torch.as_tensor(actions),
            "random": states_of(self._generators),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go back to where ``state`` was taken, the environment by repeating the actions of its episode.

        A simulator's state cannot be set exactly (MuJoCo's solver goes on from its last solution), but what it did can
        be repeated, from the random states before the reset. These steps are not counted a second time.

        Returns:
            Whether the environment arrived where it had been, to the last bit. If not, the next step opens a new
            episode, and the one that was interrupted counts as cut by a time limit.

        Raises:
            InputError: the state is not one of such a rollout; names what does not fit.
            EnvironmentFailure: the environment failed on the way.
        """
        self._check(state)
        self._noise, self._start, self._obs = state["noise"], state["start"], state["obs"]
        self._steps = [Step(*row) for row in zip(*(column.unbind() for column in state["steps"]), strict=True)]
        self._actions = state["actions"].tolist() if self.policy.discrete else list(state["actions"].numpy())
        self.interactions, self.lost = state["interactions"], state["lost"]
        self._judged = deque(state["judged"].tolist(), self._judged.maxlen)
        exact = self._restore_environment(state["random"])
        if not exact:
            self._abandon_episode()
        self.env.steps = self.interactions  # as its messages count
        return exact

    def _restore_environment(self, random: dict[str, Any]) -> bool:
        """Whether the environment is where it was, its generators in the states ``random``."""
        first = self.interactions == len(self._actions)
        if self.interactions and (self._obs is None or not first):  # only a seeded reset makes the generator
            self.env.reset(seed=self.seed)
        self._generators = find_generators(self.env)
        if self._obs is None:  # known: else nothing tells how episodes begin, after the first, which is seeded
            known = not self.interactions or any("_space." not in way for way in random)
            return set_states(self._generators, random) and known
        set_states(self._generators, self._start)
        obs = self.env.reset(seed=self.seed if first else None)[0]
        over = False
        for action in self._actions:
            if over:  # some environments take no step then
                return False
            obs, _, *ends, _ = self.env.step(action)
            over = any(ends)
        self._generators = find_generators(self.env)
        return (
            not over
            and self._obs is not None
            and torch.equal(self._as_tensor(obs), self._obs)
            and same(states_of(self._generators), random)
        )

    def _check(self, state: dict[str, Any]) -> None:
        """Refuse what would be taken and stumbled over later.

        Raises:
            InputError: something has another type or shape than such a rollout's; names it.
        """
        fresh = self.state_dict()
        require_like("rollout", state, fresh, shallow=True)
        obs_dim, action_dim = self.env.observation_space.shape[0], self.policy.encoded_dim  # type: ignore[index]

        def rows(count: int) -> list[Tensor]:
            """On the device meta, where they take no memory."""
            numbers = [torch.empty(count, width, device="meta") for width in [obs_dim, action_dim] * 2]
            return [*numbers, *[torch.empty(count, dtype=torch.bool, device="meta")] * 3]

        taken = state["actions"]
        for name in ("start", "random"):
            if not isinstance(state[name], dict):
                raise InputError(f"its rollout.{name} is not what a learner of these settings has.")
        expected = {
            **fresh,
            "start": state["start"],
            "random": state["random"],
            "obs": None if state["obs"] is None else rows(1)[0][0],
            "noise": None if state["noise"] is None else rows(len(state["noise"]))[1][:, None],
            "steps": rows(len(state["steps"][0])) if state["steps"] else [],
            "judged": fresh["judged"].new_empty(min(len(taken), self._judged.maxlen or 0)),
            "actions": fresh["actions"].new_empty(len(taken), *fresh["actions"].shape[1:]),
        }
        require_like("rollout", state, expected)

    def _abandon_episode(self) -> None:
        """It counts as cut by a time limit where it was last seen; the next step opens a new one."""
        self._stepping, self._obs = False, None
        if self._steps:
            last = self._steps[-1]
            self._steps[-1] = last._replace(truncated=~last.terminated)
