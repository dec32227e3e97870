"""Every setting of a run: frozen dataclasses, the presets, and their validation. Imports nothing of the project."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dyna_ail.errors import InputError

Activation = Literal["relu", "silu", "tanh"]
Cost = Literal["gail", "d", "airl"]


def _one_name_for_constant_rates(part: Any) -> None:
    """Write a final learning rate that equals the first as None, so that equal runs have equal configurations."""
    if part.final_learning_rate == part.learning_rate:
        object.__setattr__(part, "final_learning_rate", None)


@dataclass(frozen=True)
class PolicyConfig:
    """The stochastic policy: diagonal Gaussian with a bounded mean (Box) or categorical (Discrete)."""

    hidden: tuple[int, ...] = (100, 50)
    """Widths of the hidden layers, of the policy and of TRPO's value function alike."""
    activation: Activation = "relu"
    """Non-linearity of the hidden layers."""
    initial_std: float = 0.2
    """Initial standard deviation of the Gaussian, as a fraction of half the action range (Box only)."""
    least_std: float = 0.2
    """Least standard deviation at the end of an iteration, in the same unit (Box only). Not in the papers: each step
    of planning makes it smaller, since D prefers the expert's noiseless actions; without noise B tells D and f less."""
    temperature: float = 1.0
    """Temperature tau of the straight-through Gumbel-softmax, MGAIL Section 3.2.2 (Discrete only)."""
    averaging: float = 0.2
    """Rate per iteration at which the policy that is evaluated and saved follows the one that learns; 1: the same."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """D(s, a), the probability that a pair came from the policy and not from the expert."""

    hidden: tuple[int, ...] = (200, 100)
    """Widths of the hidden layers."""
    updates: int = 50
    """Gradient steps per iteration (the paper's m)."""
    batch_size: int = 128
    """Policy pairs per step; as many expert pairs are added."""
    recent: int = 5000
    """Half of the policy pairs are drawn from so many newest transitions of B, the others from all of it (0: all are).
    Not in the papers: ever less of B is the policy as it is, and D soon takes its pairs for the expert's."""
    learning_rate: float = 3e-4
    """Adam's learning rate at the start of the run."""
    final_learning_rate: float | None = None
    """Adam's learning rate at the end of the run, reached linearly (MAIL Section 5 advises a slow decay); by default
    the same."""
    regularisation: Literal["gradient-penalty", "spectral-norm", "none"] = "gradient-penalty"
    """How the Lipschitz constant of the logit is held."""
    penalty: float = 1.0
    """Weight of the gradient penalty towards norm 1."""
    expert_noise: float = 0.0
    """Standard deviation of the Gaussian noise added to the expert's scaled pairs (MAIL Section 5)."""

    def __post_init__(self) -> None:
        _one_name_for_constant_rates(self)


@dataclass(frozen=True)
class ForwardModelConfig:
    """The learned dynamics f(s, a) = s' - s (Dyna-AIL Eq. 5) and the continuation probability."""

    architecture: Literal["mlp", "gru"] = "mlp"
    """mlp: concatenate and pass on. gru: GRU state encoder, action encoder, Hadamard product, decoder (MGAIL 3.5)."""
    hidden: tuple[int, ...] = (200, 200, 200)
    """Widths of the hidden layers (gru: the first is the width of the shared space)."""
    ensemble: int = 1
    """Number of models K; each imagined rollout follows one of them."""
    learning_rate: float = 1e-3
    """AdamW's learning rate."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    batch_size: int = 256
    """Transitions (gru: sequences) per step."""
    epochs: float = 2.0
    """Passes over the buffer per iteration, within min_updates and max_updates."""
    min_updates: int = 100
    """Fewest gradient steps per iteration."""
    max_updates: int = 500
    """Most gradient steps per iteration."""
    sequence: int = 5
    """Length of the recorded sequences on which the gru is trained; its memory knows no plan that is longer."""


@dataclass(frozen=True)
class ModelFreeConfig:
    """The model-free phase, Algorithm 1 line 6."""

    method: Literal["trpo", "mgail", "none"] = "trpo"
    """trpo: one trust-region step of sb3-contrib's TRPO. mgail: the end-to-end update along the recorded trajectories
    (MGAIL Algorithm 1, lines 9-15). none: no model-free step."""
    target_kl: float = 0.01
    """trpo: bound on the KL divergence of the step, for a Gaussian averaged over the action's components as sb3-contrib
    measures it: the whole KL may reach this times their number. Also of the planner trpo."""
    gae_lambda: float = 0.95
    """trpo: lambda of the generalised advantage estimate; also of the planner trpo."""
    cg_damping: float = 0.1
    """trpo: damping of the Fisher matrix in the conjugate gradient; also of the planner trpo."""
    critic_epochs: int = 5
    """trpo: passes of the value function over the batch; also of the planner trpo."""
    critic_learning_rate: float = 1e-3
    """trpo: Adam's learning rate of the value function; also of the planner trpo."""
    horizon: int = 10
    """mgail: length of the recorded stretches that the gradient runs along."""
    updates: int = 50
    """mgail: gradient steps per iteration (Dyna-AIL's m)."""
    batch_size: int = 128
    """mgail: stretches per step."""
    learning_rate: float = 3e-4
    """mgail: Adam's learning rate of the policy at the start of the run."""
    final_learning_rate: float | None = None
    """mgail: Adam's learning rate of the policy in the last iteration, reached linearly; by default the same."""

    def __post_init__(self) -> None:
        _one_name_for_constant_rates(self)


@dataclass(frozen=True)
class CriticConfig:
    """The twin critics behind the tail of the planner mgail."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers (SiLU with LayerNorm)."""
    learning_rate: float = 3e-4
    """Adam's learning rate."""
    target_rate: float = 0.02
    """Rate at which the slow targets follow."""
    real_updates: int = 4
    """Gradient steps on real transitions of B, besides the one on imagined ones, for each step of the policy (0: none).
    Without them the critics lag behind D and the policy, and do not know of ends that f does not foresee."""


@dataclass(frozen=True)
class PlannerConfig:
    """Planning inside the forward model, Algorithm 1 lines 8-9."""

    method: Literal["mgail", "trpo", "none"] = "mgail"
    """mgail: end-to-end update through imagined rollouts (MGAIL Eqs. 12-13). trpo: trust-region steps on them, without
    the model's gradient (Dyna-AIL Fig. 6). none: no planning."""
    horizon: int = 5
    """T_p, the length of an imagined rollout."""
    updates: int = 60
    """Steps per iteration (the paper's p, 50 there): of the gradient, or of trust regions."""
    batch_size: int = 128
    """Imagined rollouts per step."""
    learning_rate: float = 3e-4
    """mgail: Adam's learning rate of the policy at the start of the run."""
    final_learning_rate: float | None = None
    """mgail: Adam's learning rate of the policy in the last iteration, reached linearly; by default the same."""
    max_grad_norm: float = 10.0
    """mgail: bound on the norm of the policy's gradient; also of the model-free method mgail."""
    saturation_penalty: float = 0.02
    """mgail: weight of the mean square of the policy's output before its tanh or softmax; also of the model-free
    method mgail. Not in the papers: without it the bounded mean saturates and the pathwise gradient vanishes."""
    cloning: float = 0.4
    """mgail: weight of the cloning loss on expert pairs, times the size of J. Not in the papers: it tells the policy
    where to go while D, sure of all its pairs, hardly does, and its share of the gradient stays the same as J grows."""
    tail: bool = True
    """mgail: end the unroll in gamma^T_p Q(s_T, a_T). Not in the papers: without it the policy does not stay at the
    expert."""
    critic: CriticConfig = field(default_factory=CriticConfig)

    def __post_init__(self) -> None:
        _one_name_for_constant_rates(self)


@dataclass(frozen=True)
class CloningConfig:
    """Behavioural cloning before the first interaction."""

    updates: int = 0
    """Gradient steps on the demonstrations; 0 for none."""
    batch_size: int = 64
    """Expert pairs per step."""
    learning_rate: float = 3e-4
    """Adam's learning rate."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Deterministic evaluation in environments of its own; not counted as interactions."""

    every: int = 2000
    """Real interactions between evaluations, which wait for the end of an iteration."""
    episodes: int = 10
    """Episodes per evaluation."""


@dataclass(frozen=True)
class SafetyConfig:
    """What a run does not to be lost. No result depends on it."""

    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints, from which an interrupted run is resumed; more if one takes over 2% of them."""
    checkpoint_every: int | None = None
    """Real interactions between checkpoints, if sooner; by default the minutes alone count."""
    step_timeout: float = 60.0
    """Seconds that a step or a reset of an environment may take."""


@dataclass(frozen=True)
class Config:
    """One run of Dyna-AIL."""

    task: str = "Hopper-v5"
    """Gymnasium id, or module:id to import the module first."""
    preset: str = "dyna-ail"
    """The preset these values started from."""
    interactions: int = 30_000
    """Budget: steps of the training environment."""
    seed: int = 0
    """Seed of everything: the choice of demonstrations, networks, noise, environment."""
    demos: str | None = None
    """Demonstrations: an .npz of this package or of imitation, an HDF5 file of D4RL, a folder of imitation, a Minari
    dataset (id or path), or a policy (.zip of Stable-Baselines3, expert's folder), of which --trajectories episodes are
    recorded; by default the file bundled for the task."""
    trajectories: int = 4
    """Demonstrations to use, drawn with the seed."""
    every: int = 20
    """Keep every k-th pair of each demonstration, from an offset drawn with the seed; 1 keeps all."""
    discount: float = 0.99
    """Discount gamma, of TRPO, of the imagined cost and of the critics."""
    cost: Cost = "gail"
    """What the policy minimises. gail: log D, which pays for every step, for tasks that end early when the agent fails.
    d: D itself (MGAIL's J), which charges for every step, for tasks that end early when it succeeds. airl: the logit of
    D, of either sign."""
    steps_per_iteration: int = 250
    """Real interactions per iteration of Algorithm 1 (line 3)."""
    lost_after: int = 50
    """A training episode is cut off, as by a time limit, once the mean of D over so many of its newest pairs is above
    0.95 (0: never). Not in the papers: standing still or on its back, the policy would learn nothing from the rest."""
    replay_capacity: int = 1_000_000
    """Most transitions kept in B; the oldest are overwritten."""
    seen: int | None = None
    """How many components of the observation are seen, from the first on; the others are hidden from the policy, D,
    f and the critics. By default all."""
    observation_floor: float = 0.05
    """Least standard deviation by which a component of the observation is divided before it enters a network."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    forward_model: ForwardModelConfig = field(default_factory=ForwardModelConfig)
    model_free: ModelFreeConfig = field(default_factory=ModelFreeConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    cloning: CloningConfig = field(default_factory=CloningConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def uses_model(self) -> bool:
        """Whether any phase needs the forward model."""
        return self.planner.method != "none" or self.model_free.method == "mgail"


# The algorithms as published, without what the default adds: no tail, no cloning, noise as it comes, all of B alike for
# D, no episode cut off, T_p = 10. The other departures in docs/equations.md, such as the averaged result, they share.
PUBLISHED: dict[str, Any] = {
    "lost_after": 0,
    "discriminator.recent": 0,
    "policy.least_std": 0.0,
    "steps_per_iteration": 500,
    "planner.horizon": 10,
    "planner.tail": False,
    "planner.critic.real_updates": 0,
    "planner.cloning": 0.0,
}
# A preset is a set of values and nothing else: the loop never asks for its name.
PRESETS: dict[str, dict[str, Any]] = {
    "dyna-ail": {},
    # TRPO alone wants longer batches and more noise: with 500 and 0.2 it reached 40% in 60,000 interactions of Hopper,
    # not 73%.
    "gail": PUBLISHED | {"planner.method": "none", "steps_per_iteration": 1000, "policy.initial_std": 0.37},
    "model-free": {"planner.method": "none"},
    "model-based": {"model_free.method": "none"},
    "mgail": PUBLISHED | {"model_free.method": "mgail", "planner.method": "none"},
    "dyna-mgail": PUBLISHED | {"model_free.method": "mgail"},
    "dyna-trpo": PUBLISHED | {"planner.method": "trpo", "planner.updates": 5},
    "bc": {
        "model_free.method": "none",
        "planner.method": "none",
        "interactions": 0,
        "cloning.updates": 5000,
    },
}


def nearest(name: str, known: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """The end of an error message: the nearest ``known`` name, or else those ``listed`` (by default all known)."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known if listed is None else listed)}."


def make_config(preset: str = "dyna-ail", *layers: Mapping[str, Any], **values: Any) -> Config:
    """A configuration: the defaults, then each layer, then the preset, then ``values``.

    Args:
        preset: one of ``PRESETS``.
        layers: dotted values below the preset, such as a task's defaults ``{"planner.horizon": 5}``.
        values: top-level values above all else, such as ``seed=3``; dotted ones as ``**{"planner.horizon": 5}``.

    Raises:
        InputError: an unknown preset, an unknown field or a value outside its range.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}: {nearest(preset, PRESETS)}")
    merged: dict[str, Any] = {}
    for layer in (*layers, PRESETS[preset], values):
        merged.update(layer)
    return with_values(Config(), {"preset": preset, **merged})


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of ``config`` with dotted ``values``, such as ``{"planner.horizon": 5}``, replaced in one go.

    Raises:
        InputError: an unknown field or a value outside its range.
    """
    return _replace(config, values, prefix="")


def _replace(part: Any, values: Mapping[str, Any], prefix: str) -> Any:
    names = [f.name for f in dataclasses.fields(part)]
    grouped: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        if head not in names:
            raise _unknown(prefix + key)
        if bool(rest) != dataclasses.is_dataclass(getattr(part, head)):
            how = "has no settings of its own" if rest else "is a group: name one of its settings"
            raise InputError(f"unknown setting {prefix + key!r}: {prefix + head} {how}.")
        if rest:
            grouped.setdefault(head, {})[rest] = value
        else:
            changes[head] = value
    for head, inner in grouped.items():
        changes[head] = _replace(getattr(part, head), inner, prefix=f"{prefix}{head}.")
    return dataclasses.replace(part, **changes)


def _unknown(key: str) -> InputError:
    return InputError(f"unknown setting {key!r}: {nearest(key, _names(Config), listed=get_type_hints(Config))}")


def _names(kind: Any, prefix: str = "") -> list[str]:
    """Every dotted name, of groups and of settings."""
    names = []
    for name, hint in get_type_hints(kind).items():
        names += [prefix + name, *(_names(hint, f"{prefix}{name}.") if dataclasses.is_dataclass(hint) else ())]
    return names


def parse_value(key: str, text: str) -> Any:
    """The value of the dotted setting ``key`` that ``text`` writes; widths as 64x64, no value as none.

    Raises:
        InputError: an unknown setting, or a text that is no value of its type.
    """
    kind: Any = Config
    for name in key.split("."):
        hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if name not in hints:
            raise _unknown(key)
        kind = hints[name]
    if dataclasses.is_dataclass(kind):
        first = next(iter(get_type_hints(kind)))
        raise InputError(f"{key!r} is a group of settings: name one, such as {key}.{first}.")
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if text == "none" and type(None) in options:
        return None
    kind = next(option for option in options if option is not type(None))
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if get_origin(kind) is tuple:
            return tuple(get_args(kind)[0](width) for width in text.split("x"))
        return text if get_origin(kind) is Literal else kind(text)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{text!r} is no value of {key}, which must be of type {getattr(kind, '__name__', kind)}."
        ) from error


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Config:
    """The configuration written by :func:`to_dict`.

    Raises:
        InputError: an unknown field, or a value of the wrong type or outside its range.
    """
    built: Config = _from_dict(Config, values, prefix="")
    return built


def _from_dict(kind: type, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"expected a table of settings at {prefix or 'the top'!r}, got {type(values).__name__}.")
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise _unknown(prefix + key)
        if dataclasses.is_dataclass(hints[key]):
            value = _from_dict(hints[key], value, prefix=f"{prefix}{key}.")
        arguments[key] = tuple(value) if isinstance(value, list) else value
    return kind(**arguments)


def validate(config: Config) -> None:
    """Refuse values that cannot work.

    Raises:
        InputError: names the setting, what it must be and what it is.
    """
    _validate(config, prefix="")
    if config.seed >= 2**32:
        raise InputError(f"--seed must be below 2**32; got {config.seed}.")
    if config.forward_model.architecture == "gru" and not config.forward_model.hidden:
        raise InputError("--forward_model.hidden needs at least one width for the gru, that of its memory; got none.")
    if config.model_free.method == "trpo" and config.steps_per_iteration < 2:
        raise InputError("--steps_per_iteration must be at least 2 for TRPO, which normalises its advantages; got 1.")
    if config.planner.method == "trpo" and config.planner.batch_size * config.planner.horizon < 2:
        raise InputError(
            "--planner.batch_size times --planner.horizon must be at least 2 for TRPO, which normalises its "
            "advantages; got 1."
        )
    check_budget(config, config.interactions)


def check_budget(config: Config, interactions: int) -> None:
    """Refuse a number of interactions that cannot be learned from.

    Raises:
        InputError: it is negative, or positive where neither phase learns.
    """
    if interactions < 0:
        raise InputError(f"--interactions must be at least 0; got {interactions}.")
    if interactions > 0 and config.model_free.method == "none" and config.planner.method == "none":
        raise InputError(
            "with neither a model-free phase nor a planner nothing learns from interactions: "
            f"set --interactions 0 (got {interactions}) or choose a --model_free.method or --planner.method."
        )


MAY_BE_ZERO = {
    "real_updates",
    "lost_after",
    "recent",
    "least_std",
    "interactions",
    "seed",
    "updates",
    "penalty",
    "expert_noise",
    "weight_decay",
    "saturation_penalty",
    "cloning",
    "final_learning_rate",
}
AT_MOST_ONE = {"discount", "gae_lambda", "target_rate", "averaging"}


def _validate(part: Any, prefix: str) -> None:
    for name, hint in get_type_hints(type(part)).items():
        value, key = getattr(part, name), prefix + name
        if dataclasses.is_dataclass(hint):
            _validate(value, prefix=f"{key}.")
            continue
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise InputError(f"--{key} must be one of {', '.join(get_args(hint))}; got {value!r}.")
            continue
        kind = get_args(hint)[0] if get_origin(hint) else hint
        if get_origin(hint) is tuple and not isinstance(value, tuple):
            raise InputError(f"--{key} must be a tuple of {kind.__name__}; got {value!r}.")
        for item in value if isinstance(value, tuple) else (value,):
            fits = isinstance(item, int | float) and not isinstance(item, bool) if kind is float else type(item) is kind
            if not fits and not (item is None and type(None) in get_args(hint)):
                raise InputError(f"--{key} must be of type {getattr(hint, '__name__', hint)}; got {value!r}.")
            if kind not in (int, float) or item is None:
                continue
            if isinstance(item, float) and not math.isfinite(item):
                raise InputError(f"--{key} must be finite; got {value}.")
            if kind is int and item >= 2**63:
                raise InputError(f"--{key} must be below 2**63.")
            if item < 0 or (item == 0 and name not in MAY_BE_ZERO):
                bound = "at least 0" if name in MAY_BE_ZERO else "at least 1" if kind is int else "above 0"
                raise InputError(f"--{key} must be {bound}; got {value}.")
            if name in AT_MOST_ONE and item > 1:
                raise InputError(f"--{key} must be at most 1; got {value}.")
