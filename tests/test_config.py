"""The configuration: presets are values, every bad value is refused by name, and files give back what was written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from dyna_ail.cli import main
from dyna_ail.config import (
    PRESETS,
    Config,
    RunConfig,
    from_dict,
    make_config,
    make_run_config,
    parse_value,
    result_settings,
    to_dict,
    with_values,
)
from dyna_ail.config.names import RENAMED
from dyna_ail.config.registry import Registry
from dyna_ail.errors import InputError


def _settings(part: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, type with its bounds and value of every setting; a run's learner has no name of its own."""
    for name, hint in get_type_hints(type(part), include_extras=True).items():
        value = getattr(part, name)
        if dataclasses.is_dataclass(value):
            yield from _settings(value, prefix if name == "learner" else f"{prefix}{name}.")
        else:
            yield prefix + name, hint, value


def _numbers(part: Any) -> dict[str, Any]:
    """Dotted name -> value of every number and tuple of numbers."""
    return {
        name: value
        for name, _, value in _settings(part)
        if isinstance(value, int | float | tuple) and not isinstance(value, bool)
    }


OPTIONAL = {
    "seen": 3,
    "safety.checkpoint_every": 100,
    "discriminator.final_learning_rate": 1e-4,
    "model_free.final_learning_rate": 1e-4,
    "planner.final_learning_rate": 1e-4,
}
NUMBERS = _numbers(with_values(RunConfig(), OPTIONAL))
MAY_BE_ZERO = {
    "planner.critic.real_updates",
    "lost_after",
    "discriminator.recent",
    "policy.least_std",
    "interactions",
    "seed",
    "discriminator.updates",
    "discriminator.penalty",
    "discriminator.expert_noise",
    "discriminator.final_learning_rate",
    "planner.final_learning_rate",
    "forward_model.weight_decay",
    "planner.updates",
    "model_free.updates",
    "model_free.final_learning_rate",
    "mgail.saturation_penalty",
    "planner.cloning",
    "cloning.updates",
}
FRACTIONS = ["discount", "trpo.gae_lambda", "planner.critic.target_rate", "policy.averaging"]
CHOICES = {
    "cost": "reward",
    "policy.activation": "gelu",
    "discriminator.regularisation": "l2",
    "forward_model.architecture": "lstm",
    "model_free.method": "ppo",
    "planner.method": "cem",
}


def _refusal(values: dict[str, Any]) -> str:
    """What is said about them; nothing if they are taken."""
    try:
        with_values(RunConfig(), values)
    except InputError as error:
        return str(error)
    return ""


def test_numbers_that_nothing_can_hold_are_refused():
    with pytest.raises(InputError, match="--interactions must be below 2"):
        Config(interactions=10**400)
    with pytest.raises(InputError, match="--safety.step_timeout must be finite; got inf"):
        with_values(RunConfig(), {"safety.step_timeout": math.inf})


def test_every_number_is_found():
    assert len(NUMBERS) > 45
    assert {"planner.critic.target_rate", "discriminator.hidden", "evaluation.every"} <= set(NUMBERS)


def test_no_number_may_be_negative_or_not_finite():
    taken = []
    for name, default in NUMBERS.items():
        for bad in (-1, math.nan, math.inf):
            value = (8, bad) if isinstance(default, tuple) else bad
            if f"--{name} " not in _refusal({name: value}):
                taken.append((name, value))
    assert not taken


def test_zero_where_it_has_a_meaning():
    wrong = []
    for name, default in NUMBERS.items():
        value = (8, 0) if isinstance(default, tuple) else 0
        if name not in MAY_BE_ZERO:
            right = f"--{name} " in _refusal({name: value})
        else:
            right = not _refusal({name: value}) and _numbers(with_values(RunConfig(), {name: value}))[name] == value
        wrong += [] if right else [name]
    assert not wrong and set(NUMBERS) >= MAY_BE_ZERO


@pytest.mark.parametrize("part", ["discriminator", "model_free", "planner"])
def test_a_learning_rate_is_constant_unless_a_final_one_is_given(part):
    first, final = f"{part}.learning_rate", f"{part}.final_learning_rate"
    slow = with_values(Config(), {first: 1e-4})
    assert getattr(slow, part).final_learning_rate is None
    assert with_values(Config(), {first: 1e-4, final: 1e-4}) == slow, "one configuration, however it is written"
    assert getattr(with_values(Config(), {first: 1e-4, final: 3e-4}), part).final_learning_rate == 3e-4


def test_fractions():
    wrong = []
    for name in FRACTIONS:
        right = f"--{name} must be at most 1; got 1.01" in _refusal({name: 1.01})
        wrong += [] if right and _numbers(with_values(Config(), {name: 1.0}))[name] == 1.0 else [name]
    assert not wrong


def test_choices():
    wrong = []
    for name, value in CHOICES.items():
        said = _refusal({name: value})
        wrong += [] if said.startswith(f"--{name} must be one of ") and said.endswith(f"; got {value!r}.") else [name]
    assert not wrong


def test_trpo_needs_two_advantages_to_normalise():
    with pytest.raises(InputError, match="--steps_per_iteration must be at least 2 for TRPO"):
        Config(steps_per_iteration=1)
    one = {"planner.batch_size": 1, "planner.horizon": 1}
    assert make_config(**one).planner.horizon == 1
    with pytest.raises(InputError, match="--planner.batch_size times --planner.horizon must be at least 2 for TRPO"):
        make_config("dyna-trpo", **one)


def test_every_choice_is_tested():
    def is_choice(hint: Any) -> bool:
        registered = get_origin(hint) is Annotated and any(isinstance(bound, Registry) for bound in get_args(hint))
        return registered or get_origin(hint) is Literal

    assert {name for name, hint, _ in _settings(RunConfig()) if is_choice(hint)} == set(CHOICES)


def test_learning_from_nothing_is_refused():
    idle = {"model_free.method": "none", "planner.method": "none"}
    with pytest.raises(InputError, match="--interactions 0"):
        with_values(Config(), idle)
    assert with_values(Config(), {**idle, "interactions": 0}).interactions == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"model_free.method": "none", "planner.updates": 0},
            r"none \(--model_free.updates 50\) and --planner.method is mgail \(--planner.updates 0\)",
        ),
        (
            {"model_free.method": "none", "planner.method": "trpo", "planner.updates": 0},
            r"none \(--model_free.updates 50\) and --planner.method is trpo \(--planner.updates 0\)",
        ),
        (
            {"model_free.method": "mgail", "model_free.updates": 0, "planner.method": "none"},
            r"mgail \(--model_free.updates 0\) and --planner.method is none \(--planner.updates 60\)",
        ),
        (
            {"model_free.method": "mgail", "model_free.updates": 0, "planner.updates": 0},
            r"mgail \(--model_free.updates 0\) and --planner.method is mgail \(--planner.updates 0\)",
        ),
    ],
)
def test_phases_without_an_update_do_not_learn(values, said):
    with pytest.raises(InputError, match=f"nothing would learn from 700 interactions: --model_free.method is {said}"):
        make_config(interactions=700, **values)
    idle = make_config(interactions=0, **values)
    with pytest.raises(InputError, match=f"nothing would learn from 5 interactions: --model_free.method is {said}"):
        idle.check_budget(5)


def test_one_phase_that_learns_is_enough():
    assert make_config(**{"planner.updates": 0}).model_free.method == "trpo"
    assert make_config(**{"planner.updates": 0, "model_free.updates": 0}).interactions > 0, "of the method mgail alone"
    assert make_config(**{"model_free.method": "mgail", "model_free.updates": 0}).planner.updates > 0


def test_unknown_settings():
    hints = [
        (RunConfig, "planner.horizn", "'planner.horizon'"),
        (RunConfig, "planer.horizon", "'planner.horizon'"),
        (RunConfig, "evaluation.evry", "'evaluation.every'"),
        (RunConfig, "planer", "'planner'"),
        (RunConfig, "zzz", "known: task, preset"),
        (RunConfig, "intractions", "'interactions'"),
        (RunConfig, "planner", "planner is a group"),
        (RunConfig, "seed.x", "seed has no settings of its own"),
        (Config, "planner.horizn", "'planner.horizon'"),
        (Config, "zzz", "known: interactions, seed"),
        (Config, "task", "a setting of a run (make_run_config), not of its learner"),
        (Config, "evaluation.every", "a setting of a run (make_run_config), not of its learner"),
    ]
    wrong = []
    for kind, name, hint in hints:
        try:
            with_values(kind(), {name: 1})
            wrong.append(f"{name} was taken")
        except InputError as error:
            if not (str(error).startswith(f"unknown setting '{name}'") and hint in str(error)):
                wrong.append(str(error))
    assert not wrong


def test_configurations_do_not_change():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]
    assert with_values(config, {"planner.horizon": 3, "planner.critic.hidden": (4,), "seed": 5}) == dataclasses.replace(
        config,
        seed=5,
        planner=dataclasses.replace(
            config.planner, horizon=3, critic=dataclasses.replace(config.planner.critic, hidden=(4,))
        ),
    )
    assert config == Config()


# --- presets ---


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_its_values(preset):
    assert make_config(preset) == with_values(Config(), PRESETS[preset])
    assert make_run_config(preset) == with_values(RunConfig(), {"preset": preset, **PRESETS[preset]})


@pytest.mark.parametrize("preset", ["mgail", "dyna-mgail", "dyna-trpo", "gail"])
def test_published_presets_have_nothing_that_the_default_adds(preset):
    config = make_config(preset)
    assert config.planner.cloning == 0 and not config.planner.tail and config.planner.horizon == 10
    assert config.policy.least_std == 0 and config.discriminator.recent == 0 and config.lost_after == 0
    assert config.planner.critic.real_updates == 0
    assert config.steps_per_iteration == (1000 if preset == "gail" else 500)
    for ours in (make_config("dyna-ail"), make_config("model-based")):
        assert ours.planner.cloning > 0 and ours.planner.tail


def test_ablations_of_the_phases_differ_in_the_phase_alone():
    whole = to_dict(make_run_config("dyna-ail"))
    for preset, left_out in (("model-free", "planner"), ("model-based", "model_free")):
        assert to_dict(make_run_config(preset)) == {
            **whole,
            "preset": preset,
            left_out: {**whole[left_out], "method": "none"},
        }


def test_presets_are_the_cells_of_the_grid():
    cells = {name: (c.model_free.method, c.planner.method) for name in PRESETS for c in [make_config(name)]}
    assert cells["dyna-ail"] == ("trpo", "mgail")
    assert cells["dyna-mgail"] == ("mgail", "mgail") and not make_config("dyna-mgail").planner.tail
    assert cells["dyna-trpo"] == ("trpo", "trpo")
    assert cells["mgail"] == ("mgail", "none")
    assert cells["gail"] == ("trpo", "none")
    assert cells["model-free"] == ("trpo", "none")
    assert cells["model-based"] == ("none", "mgail")
    assert cells["bc"] == ("none", "none")
    cloning = make_config("bc")
    assert cloning.interactions == 0 and cloning.cloning.updates > 0


def test_unknown_preset():
    with pytest.raises(InputError, match="unknown preset 'dina-ail': did you mean 'dyna-ail'"):
        make_config("dina-ail")


def test_layers_stand_below_the_preset_and_values_above():
    task = {"planner.updates": 5, "planner.method": "mgail", "discount": 0.9}
    config = make_config("gail", task, discount=0.8)
    assert (config.planner.updates, config.planner.method, config.discount) == (5, "none", 0.8)
    assert make_config("dyna-ail", task).discount == 0.9


# --- as plain values ---


@pytest.mark.parametrize("preset", PRESETS)
def test_round_trip_through_json(preset):
    learner = {"policy.hidden": (7, 8, 9), "planner.critic.hidden": ()}
    run = make_run_config(preset, learner, demos="x.npz", **{"evaluation.every": 7, "safety.step_timeout": 3.0})
    for config in (run, run.learner):
        assert from_dict(type(config), json.loads(json.dumps(to_dict(config)))) == config
    assert run.learner == make_config(preset, learner)
    assert to_dict(run).items() >= to_dict(run.learner).items(), "one level of names"
    assert to_dict(run).keys() - result_settings(run).keys() == {"safety"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(colour="red"), "unknown setting 'colour'"),
        (lambda v: v["planner"].update(horizn=3), "unknown setting 'planner.horizn': did you mean 'planner.horizon'"),
        (lambda v: v["planner"].update(horizon=0), "--planner.horizon must be at least 1; got 0"),
        (lambda v: v.update(planner=3), "planner"),
        (lambda v: v["planner"].update(critic=None), "planner.critic"),
    ],
)
@pytest.mark.parametrize("kind", [Config, RunConfig])
def test_files_that_were_edited_by_hand(kind, change, message):
    values = to_dict(kind())
    change(values)
    with pytest.raises(InputError, match=message):
        from_dict(kind, values)


# --- names of version 0.1 ---


def test_functions_tell_the_new_name_of_a_setting():
    wrong = []
    for old, new in RENAMED.items():
        for give in (
            lambda old=old: make_config(**{old: 1}),
            lambda old=old: make_run_config("dyna-ail", {old: 1}),
            lambda old=old: with_values(Config(), {old: 1}),
            lambda old=old: with_values(RunConfig(), {old: 1}),
            lambda old=old: parse_value(old, "1"),
        ):
            try:
                give()
                wrong.append(f"{old} was taken")
            except InputError as error:
                if str(error) != f"unknown setting {old!r}: it is now called {new!r}.":
                    wrong.append(str(error))
    assert len(RENAMED) == 7 and not wrong


def test_the_command_line_tells_the_new_name_of_a_setting(capsys):
    wrong = []
    for old, new in RENAMED.items():
        for command in (
            ["train", f"--{old}", "1"],
            ["train", f"--{old}=1"],
            ["sweep", "--out", "x", f"--vary={old}=1"],
        ):
            code, said = main(command), capsys.readouterr().err
            wrong += [] if code == 2 and new in said else [f"{' '.join(command)}: {code}, {said}"]
    assert not wrong


def test_the_settings_of_version_0_1_are_read():
    values = to_dict(make_run_config("dyna-mgail", task="CartPole-v1", seed=3))
    old: dict[str, Any] = json.loads(json.dumps(values))
    assert {"trpo", "mgail"} <= old.keys()
    for group, settings in (("model_free", old.pop("trpo")), ("planner", old.pop("mgail"))):
        old[group] |= settings
    old["model_free"]["gae_lambda"], old["planner"]["saturation_penalty"] = 0.5, 0.125
    before = json.dumps(old)
    config = from_dict(RunConfig, old)
    assert json.dumps(old) == before, "what was read is left as it is"
    new = {"trpo.gae_lambda": 0.5, "mgail.saturation_penalty": 0.125}
    assert config == make_run_config("dyna-mgail", task="CartPole-v1", seed=3, **new)
    of_run = {"task", "preset", "demos", "evaluation", "safety"}
    assert from_dict(Config, {key: value for key, value in old.items() if key not in of_run}) == config.learner
    old["model_free"]["target_kl"] = -1.0
    with pytest.raises(InputError, match="--trpo.target_kl must be above 0; got -1.0"):
        from_dict(RunConfig, old)
