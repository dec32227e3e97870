"""Algorithm 1 of the Dyna-AIL paper: model-free imitation in the real environment in turn with planning in a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from dyna_ail.cloning import clone
from dyna_ail.config import Config, check_budget
from dyna_ail.demonstrations import Demonstrations, ExpertPairs
from dyna_ail.discriminator import Discriminator
from dyna_ail.envs.guard import Guard
from dyna_ail.forward_model import ForwardModel
from dyna_ail.model_free import MODEL_FREE
from dyna_ail.networks import Scaling, follow
from dyna_ail.phases import Phases
from dyna_ail.planners import PLANNERS
from dyna_ail.policy import ImitationPolicy, make_agent
from dyna_ail.replay import ReplayBuffer
from dyna_ail.rollout import RealRollout, Segment


class DynaAIL:
    """Learns a policy that behaves like the demonstrator, from demonstrations and few real interactions.

    Args:
        env: the training environment; every step of it is counted. Its reward is never read.
        demonstrations: the expert's trajectories (thinned as ``config`` says, drawn with its seed), or ready pairs.
        config: all settings; the ``dyna-ail`` preset by default.

    Raises:
        InputError: the spaces are not supported or the demonstrations do not fit them.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        demonstrations: Demonstrations | ExpertPairs,
        config: Config | None = None,
    ) -> None:
        self.config = config = config or Config()
        demonstrations.check(env.observation_space, env.action_space)
        if isinstance(demonstrations, Demonstrations):
            rng = np.random.default_rng(config.seed)
            demonstrations = demonstrations.select(config.trajectories, config.every, env.action_space, rng)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.expert_obs = torch.as_tensor(demonstrations.obs)
        self.expert_action = torch.as_tensor(demonstrations.action)

        scaling = Scaling.of(demonstrations.obs, env.action_space, config.observation_floor, config.seen)
        # SB3 draws its weights and minibatches from the global generators of torch and numpy, which this call seeds.
        spaces = env.observation_space, env.action_space
        self.agent, self.average = (make_agent(*spaces, config, scaling, config.seed) for _ in range(2))
        acting: ImitationPolicy = self.agent.policy  # type: ignore[assignment]
        self.replay = ReplayBuffer(config.replay_capacity, self.expert_obs.shape[1], self.expert_action.shape[1])
        self.discriminator = Discriminator(scaling, config.discriminator, config.cost)
        guarded = Guard(env, config.safety.step_timeout)
        self.rollout = RealRollout(guarded, acting, self.discriminator, config.lost_after, config.seed, self.generator)
        self.forward_model = ForwardModel(scaling, config.forward_model)
        learned = self.agent, self.discriminator, self.forward_model
        self.model_free = MODEL_FREE[config.model_free.method](*learned, config)
        self.planner = PLANNERS[config.planner.method](*learned, scaling, config)
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

    def learn(self, interactions: int | None = None, callback: Callable[[DynaAIL], object] | None = None) -> DynaAIL:
        """Algorithm 1, until ``interactions`` real steps are spent in all (by default the configuration's budget).

        ``callback(self)`` is called before the first iteration and after each one; :attr:`metrics` holds the
        iteration's diagnostics. It stops the learning by returning False.

        Raises:
            InputError: a negative budget, or a positive one where neither phase learns.
            EnvironmentFailure: the environment raised, hung, or returned something else than its space says.
            NonFiniteError: a loss, gradient, weight or observation is not finite; names the part.
        """
        budget = self.config.interactions if interactions is None else interactions
        check_budget(self.config, budget)
        callback = callback or (lambda _: None)
        expert, generator = (self.expert_obs, self.expert_action), self.generator

        if not self.started:
            self.started = True
            self._record(cloning=clone(self.rollout.policy, *expert, self.config.cloning, generator))
            follow(self.policy, self.agent.policy, rate=1.0)
            if callback(self) is False:
                return self
        while self.interactions < budget:
            # Line 3: sample trajectories with the policy on the environment.
            segment = self.rollout.collect(min(self.config.steps_per_iteration, budget - self.interactions))
            held_out, phases = self._held_out_error(segment), Phases(self.rollout.policy, segment.transitions.obs)
            # Line 4: store them in B.
            self.replay.add(segment.transitions, bool(segment.first[0]))
            # Line 5: update the discriminator (Eq. 6).
            progress = self.interactions / budget
            discriminator = self.discriminator.update(*expert, self.replay, progress, generator)
            # Line 6: update the policy on the real trajectories (Eq. 7).
            with phases.measure("model_free"):
                model_free = self.model_free.update(segment, progress, generator)
            # Line 7: train the forward model on B (Eq. 5).
            with phases.measure("model"):
                model = self.forward_model.fit(self.replay, generator) if self.config.uses_model else {}
            # Lines 8 and 9: update the policy on trajectories imagined by the forward model (Eq. 8).
            with phases.measure("planner"):
                planner = self.planner.improve(self.replay, expert, progress, generator)
            # Not in the paper: the policy keeps some noise.
            self.rollout.policy.keep_noise(self.config.policy.least_std)
            # Not in the paper: the result is the moving average of the policy that learns.
            follow(self.policy, self.agent.policy, self.config.policy.averaging)
            self.iteration += 1
            self._record(
                rollout={"lost": self.rollout.lost},
                discriminator=discriminator,
                model_free=model_free,
                model={**model, **held_out},
                planner=planner,
                policy=phases.metrics(),
                seconds=phases.seconds,
            )
            if callback(self) is False:
                break
        return self

    def save(self, path: str | Path) -> None:
        """Write the policy as an SB3 ``.zip`` that ``sb3_contrib.TRPO.load`` opens."""
        self.average.save(path)

    def _held_out_error(self, segment: Segment) -> dict[str, float]:
        """The forward model's error by depth 1..T_p on trajectories that it has not been trained on yet."""
        if not self.config.uses_model:
            return {}
        errors = self.forward_model.errors_by_depth(segment.transitions, self.config.planner.horizon)
        return {f"error_{depth}": error for depth, error in enumerate(errors, start=1)}

    def _record(self, **parts: dict[str, float]) -> None:
        self.metrics = {f"{part}/{name}": value for part, metrics in parts.items() for name, value in metrics.items()}
        with torch.no_grad():
            if not self.rollout.policy.discrete:
                self.metrics["policy/std"] = self.rollout.policy.log_std.exp().mean().item()
