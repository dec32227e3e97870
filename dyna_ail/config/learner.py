"""The settings of a learner, as frozen dataclasses: what :class:`dyna_ail.DynaAIL` needs, in groups by its parts.

They name no task, no evaluation and no file: those are a run's, see :mod:`dyna_ail.config.run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from dyna_ail.config.registry import COSTS, FORWARD_MODELS, MODEL_FREE, PLANNERS
from dyna_ail.config.validation import Count, CountOrZero, Fraction, Positive, PositiveOrZero, check_fields
from dyna_ail.errors import InputError


def _one_form_of_constant_rates(part: Any) -> None:
    """Write a final learning rate that equals the first as None, so that equal settings compare equal."""
    if part.final_learning_rate == part.learning_rate:
        object.__setattr__(part, "final_learning_rate", None)


@dataclass(frozen=True)
class PolicyConfig:
    """The stochastic policy: diagonal Gaussian with a bounded mean (Box) or categorical (Discrete)."""

    hidden: tuple[Count, ...] = (100, 50)
    """Widths of the hidden layers. TRPO's value function has the same."""
    activation: Literal["relu", "silu", "tanh"] = "relu"
    """Non-linearity of the hidden layers."""
    initial_std: Positive = 0.2
    """Initial standard deviation of the Gaussian, as a fraction of half the action range (Box only)."""
    least_std: PositiveOrZero = 0.2
    """Lower bound on the standard deviation, in the same unit, applied after each iteration (Box only). Not in the
    papers: D prefers the expert's actions, which have no noise, so planning would remove all exploration."""
    temperature: Positive = 1.0
    """Temperature tau of the straight-through Gumbel-softmax, MGAIL Section 3.2.2 (Discrete only)."""
    averaging: Fraction = 0.2
    """The policy that is evaluated and saved is a moving average of the one that learns. This is its rate per
    iteration; 1 means no averaging."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """D(s, a), the probability that a pair came from the policy and not from the expert."""

    hidden: tuple[Count, ...] = (200, 100)
    """Widths of the hidden layers."""
    updates: CountOrZero = 50
    """Gradient steps per iteration (m in the paper)."""
    batch_size: Count = 128
    """Policy pairs per step. The same number of expert pairs is added."""
    recent: CountOrZero = 5000
    """Half of the policy pairs come from this many newest transitions of B, the other half from all of B (0: all from
    all of B). Not in the papers: old policies come to dominate the buffer, so D labels the current policy as the
    expert."""
    learning_rate: Positive = 3e-4
    """Adam's learning rate at the start of the run."""
    final_learning_rate: PositiveOrZero | None = None
    """Adam's learning rate at the end of the run; it changes linearly (MAIL Section 5 advises a slow decay). By
    default the rate is constant."""
    regularisation: Literal["gradient-penalty", "spectral-norm", "none"] = "gradient-penalty"
    """How the Lipschitz constant of the logit is bounded."""
    penalty: PositiveOrZero = 1.0
    """Weight of the gradient penalty, which pulls the norm of the logit's gradient towards 1."""
    expert_noise: PositiveOrZero = 0.0
    """Standard deviation of the Gaussian noise added to the expert's scaled pairs (MAIL Section 5)."""

    def __post_init__(self) -> None:
        _one_form_of_constant_rates(self)


@dataclass(frozen=True)
class ForwardModelConfig:
    """The learned dynamics f(s, a) = s' - s (Dyna-AIL Eq. 5) and the continuation probability."""

    architecture: Annotated[str, FORWARD_MODELS] = "mlp"
    """mlp: concatenates state and action. gru: GRU state encoder, action encoder, Hadamard product, decoder (MGAIL
    Section 3.5)."""
    hidden: tuple[Count, ...] = (200, 200, 200)
    """Widths of the hidden layers (gru: the first is the width of the shared space)."""
    ensemble: Count = 1
    """Number of models K. Each imagined rollout follows one of them."""
    learning_rate: Positive = 1e-3
    """AdamW's learning rate."""
    weight_decay: PositiveOrZero = 1e-4
    """AdamW's weight decay."""
    batch_size: Count = 256
    """Transitions per step (gru: sequences)."""
    epochs: Positive = 2.0
    """Passes over the buffer per iteration, within min_updates and max_updates."""
    min_updates: Count = 100
    """Fewest gradient steps per iteration."""
    max_updates: Count = 500
    """Most gradient steps per iteration."""
    sequence: Count = 5
    """Length of the recorded sequences on which a recurrent model is trained. Imagined rollouts should not be longer:
    the model's memory has not learned to span more."""


@dataclass(frozen=True)
class TRPOConfig:
    """Trust-region steps (sb3-contrib's TRPO), of the model-free phase and of the planner trpo alike."""

    target_kl: Positive = 0.01
    """Bound on the KL divergence of a step. For a Gaussian sb3-contrib averages it over the action's components, so
    the whole divergence may reach this value times their number."""
    gae_lambda: Fraction = 0.95
    """Lambda of the generalised advantage estimate."""
    cg_damping: Positive = 0.1
    """Damping of the Fisher matrix in the conjugate gradient."""
    critic_epochs: Count = 5
    """Passes of the value function over the batch."""
    critic_learning_rate: Positive = 1e-3
    """Adam's learning rate of the value function."""


@dataclass(frozen=True)
class MGAILConfig:
    """End-to-end updates of the policy (MGAIL Eqs. 12-13), of the planner and of the model-free method mgail alike."""

    max_grad_norm: Positive = 10.0
    """Bound on the norm of the policy's gradient."""
    saturation_penalty: PositiveOrZero = 0.02
    """Weight of the mean square of the policy's output before its tanh or softmax. Not in the papers: without it the
    bounded mean saturates and the gradient through the model vanishes."""


@dataclass(frozen=True)
class ModelFreeConfig:
    """The model-free phase, Algorithm 1 line 6."""

    method: Annotated[str, MODEL_FREE] = "trpo"
    """trpo: one trust-region step. mgail: the end-to-end update along the recorded trajectories (MGAIL Algorithm 1,
    lines 9-15). none: no model-free step."""
    horizon: Count = 10
    """mgail: length of the recorded stretches that the gradient runs along."""
    updates: CountOrZero = 50
    """mgail: gradient steps per iteration (m in the Dyna-AIL paper)."""
    batch_size: Count = 128
    """mgail: stretches per step."""
    learning_rate: Positive = 3e-4
    """mgail: Adam's learning rate of the policy at the start of the run."""
    final_learning_rate: PositiveOrZero | None = None
    """mgail: Adam's learning rate of the policy at the end of the run; it changes linearly. By default the rate is
    constant."""

    def __post_init__(self) -> None:
        _one_form_of_constant_rates(self)


@dataclass(frozen=True)
class CriticConfig:
    """The twin critics that estimate what follows an imagined rollout (planner mgail)."""

    hidden: tuple[Count, ...] = (256, 256)
    """Widths of the hidden layers (SiLU with LayerNorm)."""
    learning_rate: Positive = 3e-4
    """Adam's learning rate."""
    target_rate: Fraction = 0.02
    """Rate at which the target critics follow the critics (Polyak averaging)."""
    real_updates: CountOrZero = 4
    """Critic updates on real transitions of B, for each step of the policy. One update on imagined transitions is
    added. Without the real ones (0) the critics lag behind D and the policy, and do not know of ends that f does not
    foresee."""


@dataclass(frozen=True)
class PlannerConfig:
    """Planning inside the forward model, Algorithm 1 lines 8-9."""

    method: Annotated[str, PLANNERS] = "mgail"
    """mgail: end-to-end update through imagined rollouts (MGAIL Eqs. 12-13). trpo: trust-region steps on imagined
    rollouts, without the model's gradient (Dyna-AIL Fig. 6). none: no planning."""
    horizon: Count = 5
    """T_p, the length of an imagined rollout."""
    updates: CountOrZero = 60
    """Updates per iteration (p in the paper, 50 there): gradient steps, or trust-region steps."""
    batch_size: Count = 128
    """Imagined rollouts per update."""
    learning_rate: Positive = 3e-4
    """mgail: Adam's learning rate of the policy at the start of the run."""
    final_learning_rate: PositiveOrZero | None = None
    """mgail: Adam's learning rate of the policy at the end of the run; it changes linearly. By default the rate is
    constant."""
    cloning: PositiveOrZero = 0.4
    """mgail: weight of the cloning loss on expert pairs, times the mean size of the imagined cost J. Not in the papers:
    it guides the policy while D is sure of every pair and its gradient says little."""
    tail: bool = True
    """mgail: end the unroll in a terminal value, gamma^T_p Q(s_T, a_T). Not in the papers: without it the policy does
    not stay at the expert's level."""
    critic: CriticConfig = field(default_factory=CriticConfig)

    def __post_init__(self) -> None:
        _one_form_of_constant_rates(self)


@dataclass(frozen=True)
class CloningConfig:
    """Behavioural cloning before the first interaction."""

    updates: CountOrZero = 0
    """Gradient steps on the demonstrations; 0 for none."""
    batch_size: Count = 64
    """Expert pairs per step."""
    learning_rate: Positive = 3e-4
    """Adam's learning rate."""


@dataclass(frozen=True)
class Config:
    """All settings of a learner.

    Raises:
        InputError: a value of another type, outside its bounds, or a combination that cannot work; names the setting.
    """

    interactions: CountOrZero = 30_000
    """Budget: steps of the training environment. Learning rates that change reach their final value here."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of everything: the choice of demonstrations, networks, noise, environment."""
    trajectories: Count = 4
    """Demonstrations to use, drawn with the seed."""
    every: Count = 20
    """Keep every k-th pair of each demonstration, from an offset drawn with the seed; 1 keeps all."""
    discount: Fraction = 0.99
    """Discount gamma, of TRPO, of the imagined cost and of the critics."""
    cost: Annotated[str, COSTS] = "gail"
    """What the policy minimises. gail: log D, a reward for every step, for tasks that end early when the agent fails.
    d: D itself (MGAIL's J), a charge for every step, for tasks that end early when it succeeds. airl: the logit of D,
    which may have either sign."""
    steps_per_iteration: Count = 250
    """Real interactions per iteration of Algorithm 1 (line 3)."""
    lost_after: CountOrZero = 50
    """Cut a training episode off, as a time limit does, once the mean of D over this many of its newest pairs is above
    0.95 (0: never). Not in the papers: D is saturated there, so further steps carry no signal."""
    replay_capacity: Count = 1_000_000
    """Most transitions kept in B; the oldest are overwritten. Memory is taken for the budget only."""
    seen: Count | None = None
    """Show only the first components of the observation, this many of them. The others are hidden from the policy, D,
    f and the critics. By default all are seen."""
    observation_floor: Positive = 0.05
    """Lower bound on the standard deviation by which a component of the observation is divided before it enters a
    network. It is in the observation's own unit."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    forward_model: ForwardModelConfig = field(default_factory=ForwardModelConfig)
    model_free: ModelFreeConfig = field(default_factory=ModelFreeConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    trpo: TRPOConfig = field(default_factory=TRPOConfig)
    mgail: MGAILConfig = field(default_factory=MGAILConfig)
    cloning: CloningConfig = field(default_factory=CloningConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.forward_model.architecture == "gru" and not self.forward_model.hidden:
            raise InputError("--forward_model.hidden needs at least one width for the gru, that of its memory.")
        if self.model_free.method == "trpo" and self.steps_per_iteration < 2:
            raise InputError(
                "--steps_per_iteration must be at least 2 for TRPO, which normalises its advantages; got 1."
            )
        if self.planner.method == "trpo" and self.planner.batch_size * self.planner.horizon < 2:
            raise InputError(
                "--planner.batch_size times --planner.horizon must be at least 2 for TRPO, which normalises its "
                "advantages; got 1."
            )
        self.check_budget(self.interactions)

    def check_budget(self, interactions: int) -> None:
        """Refuse a number of interactions that cannot be learned from.

        Raises:
            InputError: it is negative, or positive where neither phase learns.
        """
        if interactions < 0:
            raise InputError(f"--interactions must be at least 0; got {interactions}.")
        if interactions > 0 and not (self._model_free_learns or self._planner_learns):
            raise InputError(
                f"nothing would learn from {interactions} interactions: --model_free.method is "
                f"{self.model_free.method} (--model_free.updates {self.model_free.updates}) and --planner.method is "
                f"{self.planner.method} (--planner.updates {self.planner.updates}). Choose a method with at least one "
                "update, or set --interactions 0."
            )

    @property
    def _model_free_learns(self) -> bool:
        method = self.model_free.method
        return method not in ("none", "mgail") or (method == "mgail" and self.model_free.updates > 0)

    @property
    def _planner_learns(self) -> bool:
        return self.planner.method != "none" and self.planner.updates > 0
