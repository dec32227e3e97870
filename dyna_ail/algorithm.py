"""Algorithm 1 of the Dyna-AIL paper: model-free imitation in the real environment in turn with planning in a model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from dyna_ail.config.learner import Config
from dyna_ail.config.names import from_dict, to_dict
from dyna_ail.config.registry import MODEL_FREE, PLANNERS
from dyna_ail.demos import Demonstrations, ExpertPairs
from dyna_ail.errors import InputError, brief, one_line
from dyna_ail.learning import archive, interfaces
from dyna_ail.learning.cloning import clone
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import Scaling, polyak_update
from dyna_ail.learning.phases import Phases
from dyna_ail.learning.policy import ImitationPolicy, make_agent
from dyna_ail.learning.replay import ReplayBuffer
from dyna_ail.learning.rollout import RealRollout, Segment
from dyna_ail.learning.state import global_random_state, load_optimizer, require_like, set_global_random_state
from dyna_ail.model_free.interface import ModelFree, NoModelFree
from dyna_ail.planners.interface import NoPlanner, Planner


class DynaAIL:
    """Learns a policy that behaves like the demonstrator, from demonstrations and few real interactions.

    Args:
        env: the training environment; every step of it is counted. Its reward is never read.
        demonstrations: the expert's trajectories (subsampled as ``config`` says, drawn with its seed), or ready pairs.
        config: all settings; the ``dyna-ail`` preset by default.
        discriminator: builds D, see :class:`dyna_ail.learning.interfaces.Discriminator`.
        forward_model: builds f, see :class:`dyna_ail.learning.interfaces.ForwardModel`.
        model_free: builds the model-free phase, see :class:`dyna_ail.model_free.interface.ModelFree`. By default
            ``config.model_free.method`` names it.
        planner: builds the planner, see :class:`dyna_ail.planners.interface.Planner`. By default
            ``config.planner.method`` names it.

    Raises:
        InputError: the spaces are not supported or the demonstrations do not fit them.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        demonstrations: Demonstrations | ExpertPairs,
        config: Config | None = None,
        *,
        discriminator: Callable[..., interfaces.Discriminator] = Discriminator,
        forward_model: Callable[..., interfaces.ForwardModel] = ForwardModel,
        model_free: Callable[..., ModelFree] | None = None,
        planner: Callable[..., Planner] | None = None,
    ) -> None:
        self.config = config = config or Config()
        _check_arguments(env, demonstrations)
        demonstrations.check(env.observation_space, env.action_space)
        if isinstance(demonstrations, Demonstrations):
            rng = np.random.default_rng(config.seed)
            demonstrations = demonstrations.select(config.trajectories, config.every, env.action_space, rng)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.expert = torch.tensor(demonstrations.obs), torch.tensor(demonstrations.action)

        scaling = Scaling.of(demonstrations.obs, env.action_space, config.observation_floor, config.seen)
        # SB3 draws its weights and minibatches from the global generators of torch and numpy, which this call seeds.
        spaces = env.observation_space, env.action_space
        self.agent, self.average = (make_agent(*spaces, config, scaling, config.seed) for _ in range(2))
        acting: ImitationPolicy = self.agent.policy  # type: ignore[assignment]
        self.replay = ReplayBuffer(config.replay_capacity, *(column.shape[1] for column in self.expert))
        self.discriminator = discriminator(scaling, config.discriminator, config.cost)
        self.rollout = RealRollout(env, acting, self.discriminator, config.lost_after, config.seed, self.generator)
        self.forward_model = forward_model(scaling, config.forward_model)
        learned = self.agent, self.discriminator, self.forward_model
        self.model_free: ModelFree = (model_free or MODEL_FREE[config.model_free.method])(*learned, config)
        self._handed_in = model_free is not None or planner is not None
        self.planner: Planner = (planner or PLANNERS[config.planner.method])(*learned, scaling, config)
        self.iteration = 0
        self.started = False
        self.metrics: dict[str, float] = {}

    @property
    def policy(self) -> ImitationPolicy:
        """The result, an SB3 policy: ``policy.predict(obs, deterministic=True)``.

        It is the moving average of the weights of the policy that acts and learns (``self.agent.policy``): a named
        departure from the papers, because the last weights alone fall back from the expert and recover.
        """
        policy: ImitationPolicy = self.average.policy  # type: ignore[assignment]
        return policy

    @property
    def interactions(self) -> int:
        """Steps of the training environment so far."""
        return self.rollout.interactions

    @property
    def imagined(self) -> int:
        """Steps inside the forward model so far."""
        return self.planner.imagined

    @property
    def progress(self) -> float:
        """Share of ``config.interactions`` that is spent, at most 1; learning rates follow it."""
        return min(1.0, self.interactions / max(1, self.config.interactions))

    @property
    def collecting(self) -> bool:
        """Whether a segment of real steps is in the making, and :meth:`state_dict` may be taken."""
        return self.rollout.collecting

    @property
    def uses_model(self) -> bool:
        """Whether any phase needs the forward model."""
        return self.planner.uses_model or self.model_free.uses_model

    def learn(
        self,
        interactions: int | None = None,
        callback: Callable[[DynaAIL], object] = lambda _: None,
        before_step: Callable[[], object] = lambda: None,
    ) -> DynaAIL:
        """Algorithm 1, until ``interactions`` real steps are spent in all (by default ``config.interactions``).

        ``callback(self)`` is called before the first iteration and after each one; :attr:`metrics` holds the
        iteration's diagnostics. It stops the learning by returning False (NumPy's as well). ``before_step()`` is called
        before every real step; :meth:`state_dict` may be taken in both.

        Raises:
            InputError: a budget that is negative or no whole number, or a positive one where neither phase learns.
            EnvironmentFailure: the environment raised, hung, or returned something else than its space says.
            NonFiniteError: a loss, gradient, weight or observation is not finite; names the part.
        """
        budget = self._budget(self.config.interactions if interactions is None else interactions)
        self.replay.reserve(budget)
        generator = self.generator

        if not self.started:
            self.started = True
            self._log(cloning=clone(self.rollout.policy, *self.expert, self.config.cloning, generator))
            polyak_update(self.policy, self.agent.policy, rate=1.0)
            if _says_stop(callback(self)):
                return self
        while self.interactions < budget:
            # Line 3: sample trajectories with the policy on the environment.
            steps = min(self.config.steps_per_iteration, budget - self.interactions)
            segment = self.rollout.collect(steps, before_step)
            held_out, phases = self._held_out_error(segment), Phases(self.rollout.policy, segment.transitions.obs)
            # Line 4: store them in B.
            self.replay.add(segment.transitions, bool(segment.episode_start[0]))
            # Line 5: update the discriminator (Eq. 6).
            discriminator = self.discriminator.update(self.expert, self.replay, self.progress, generator)
            # Line 6: update the policy on the real trajectories (Eq. 7).
            with phases.measure("model_free"):
                model_free = self.model_free.update(segment, self.progress, generator)
            # Line 7: train the forward model on B (Eq. 5).
            with phases.measure("model"):
                model = self.forward_model.fit(self.replay, generator) if self.uses_model else {}
            # Lines 8 and 9: update the policy on trajectories imagined by the forward model (Eq. 8).
            with phases.measure("planner"):
                planner = self.planner.improve(self.replay, self.expert, self.progress, generator)
            # Not in the paper: the policy keeps some noise.
            self.rollout.policy.keep_noise(self.config.policy.least_std)
            # Not in the paper: the result is the moving average of the policy that learns.
            polyak_update(self.policy, self.agent.policy, self.config.policy.averaging)
            self.iteration += 1
            self._log(
                rollout={"lost": self.rollout.lost},
                discriminator=discriminator,
                model_free=model_free,
                model={**model, **held_out},
                planner=planner,
                policy=phases.metrics(),
                seconds=phases.seconds,
            )
            if _says_stop(callback(self)):
                break
        return self

    def _budget(self, interactions: float) -> int:
        budget = int(interactions)
        if budget != interactions:
            raise InputError(f"the number of interactions must be whole; got {interactions}.")
        if not self._handed_in:
            self.config.check_budget(budget)
        elif budget < 0:
            raise InputError(f"the number of interactions must be at least 0; got {budget}.")
        elif budget and isinstance(self.planner, NoPlanner) and isinstance(self.model_free, NoModelFree):
            raise InputError(
                f"nothing would learn from {budget} interactions: neither phase that was handed in learns."
            )
        return budget

    def _held_out_error(self, segment: Segment) -> dict[str, float]:
        """The forward model's error by depth 1..T_p on trajectories that it has not been trained on yet."""
        if not self.uses_model:
            return {}
        errors = self.forward_model.errors_by_depth(segment.transitions, self.config.planner.horizon)
        return {f"error_{depth}": error for depth, error in enumerate(errors, start=1)}

    def _log(self, **parts: dict[str, float]) -> None:
        self.metrics = {f"{part}/{name}": value for part, metrics in parts.items() for name, value in metrics.items()}
        with torch.no_grad():
            if not self.rollout.policy.discrete:
                self.metrics["policy/std"] = self.rollout.policy.log_std.exp().mean().item()

    def __repr__(self) -> str:
        phases = f"{type(self.model_free).__name__}, {type(self.planner).__name__}"
        done = f"{self.interactions:,} of {self.config.interactions:,} interactions"
        return f"<{type(self).__name__}: {phases}; {done}, {self.iteration:,} iterations>"

    def state_dict(self) -> dict[str, Any]:
        """All that the learning goes on from, between two real steps or in a callback: tensors and plain numbers.

        It is a copy, which further learning does not change. The pairs to imitate are part of it, so that it does not
        depend on the demonstrations' file.
        """
        state = {
            "config": to_dict(self.config),
            "expert": list(self.expert),
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "value_optimizer": self.agent.policy.optimizer.state_dict(),
            "rollout": self.rollout.state_dict(),
            "iteration": self.iteration,
            "started": self.started,
            "generator": self.generator.get_state(),
            "random": global_random_state(),
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on from a :meth:`state_dict` of a learner with the same settings and environment.

        Returns:
            Whether the environment could be brought back to where it was, to the last bit. Else it begins a new
            episode, and what is learned is not exactly what it would have been.

        Raises:
            InputError: the state is not one of such a learner; names what does not fit. The learner cannot be used
                after that.
            EnvironmentFailure: the environment failed on the way back.
        """
        require_like("state", state, self.state_dict(), shallow=True)
        if state["config"] != to_dict(self.config):
            raise InputError("it was made with other settings than the learner has.")
        for name, value in {"iteration": 0, "started": True, "generator": self.generator.get_state()}.items():
            require_like(name, state[name], value)
        require_like("parts", state["parts"], self._parts(), shallow=True)
        for name, part in self._parts().items():
            try:
                part.load_state_dict(state["parts"][name])
            except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # as torch refuses weights
                why = " ".join(str(error).split())  # torch writes several lines
                raise InputError(f"its {name} is not what a learner of these settings has: {why}") from error
        load_optimizer(self.agent.policy.optimizer, state["value_optimizer"])
        self.expert = tuple(state["expert"])
        self.iteration, self.started = state["iteration"], state["started"]
        exact = self.rollout.load_state_dict(state["rollout"])
        try:
            self.generator.set_state(state["generator"])
            set_global_random_state(state["random"])  # last: all above may draw
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"its random states are none: {one_line(error)}") from error
        return exact

    def _parts(self) -> dict[str, Any]:
        return {
            "policy": self.agent.policy,
            "average": self.average.policy,
            "discriminator": self.discriminator,
            "forward_model": self.forward_model,
            "model_free": self.model_free,
            "planner": self.planner,
            "replay": self.replay,
        }

    def save(self, path: str | Path) -> None:
        """Write an SB3 ``.zip`` that ``sb3_contrib.TRPO.load`` opens as a policy, and :meth:`load` as this learner.

        Raises:
            OSError: it cannot be written; a file that was there stays.
        """
        archive.save(path, self.average, self.state_dict())

    def save_policy(self, path: str | Path) -> None:
        """Write the policy alone, as an SB3 ``.zip`` that ``sb3_contrib.TRPO.load`` opens.

        Raises:
            OSError: it cannot be written; a file that was there stays.
        """
        archive.save(path, self.average)

    @classmethod
    def load(cls, path: str | Path, env: gymnasium.Env[Any, Any], **parts: Callable[..., Any]) -> DynaAIL:
        """The learner that :meth:`save` wrote, to go on learning in ``env``. Runs no code from the file.

        Args:
            path: the file.
            env: a new environment of the same task. It is brought back to where it was by playing the actions of its
                episode again. Where that fails, a warning says so, and it begins a new episode.
            parts: ``planner=`` and so on, as they were handed in to the learner that was saved.

        Raises:
            InputError: a file that is missing, damaged, holds no learner, or one of another environment.
            EnvironmentFailure: the environment failed on the way back to where it was.
        """
        state = archive.load(path)
        try:
            obs, action = (column.numpy() for column in state["expert"])
            learner = cls(env, ExpertPairs(obs, action), from_dict(Config, state["config"]), **parts)
            exact = learner.load_state_dict(state)
        except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{str(path)!r} does not hold a learner of this environment: {error}") from error
        if not exact:
            warnings.warn(
                "the environment could not be brought back to where it was: it begins a new episode.", stacklevel=2
            )
        return learner


def _check_arguments(env: object, demonstrations: object) -> None:
    """Refuse what is often given instead.

    Raises:
        InputError: says what is expected.
    """
    if not isinstance(demonstrations, Demonstrations | ExpertPairs):
        how = f": Demonstrations.load({str(demonstrations)!r})" if isinstance(demonstrations, str | Path) else ""
        raise InputError(
            f"demonstrations must be Demonstrations or ExpertPairs, got {brief(demonstrations)}. Read the file{how}."
        )
    if isinstance(env, gymnasium.vector.VectorEnv) or type(env).__module__.startswith("stable_baselines3."):
        raise InputError(f"env must be a single environment; got the vector environment {type(env).__name__}.")
    if not isinstance(env, gymnasium.Env):
        how = f": gymnasium.make({env!r})" if isinstance(env, str) else ""
        raise InputError(f"env must be a gymnasium.Env; got {brief(env)}. Make one first{how}.")


def _says_stop(answer: object) -> bool:
    """Whether a callback has returned False, of Python or of NumPy."""
    return isinstance(answer, bool | np.bool_ | np.ndarray) and not np.any(answer)
