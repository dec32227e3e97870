"""The configuration: presets are values, every bad value is refused by name, and files give back what was written."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_type_hints

import pytest

from dyna_ail.config import PRESETS, Config, from_dict, make_config, to_dict, with_values
from dyna_ail.errors import InputError


def _numbers(part: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> default of every number and tuple of numbers."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        if dataclasses.is_dataclass(value):
            found |= _numbers(value, f"{prefix}{f.name}.")
        elif isinstance(value, int | float | tuple) and not isinstance(value, bool):
            found[prefix + f.name] = value
    return found


OPTIONAL = {
    "seen": 3,
    "safety.checkpoint_every": 100,
    "discriminator.final_learning_rate": 1e-4,
    "model_free.final_learning_rate": 1e-4,
    "planner.final_learning_rate": 1e-4,
}
NUMBERS = _numbers(with_values(Config(), OPTIONAL))
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
    "planner.saturation_penalty",
    "planner.cloning",
    "cloning.updates",
}
CHOICES = {
    "cost": "reward",
    "policy.activation": "gelu",
    "discriminator.regularisation": "l2",
    "forward_model.architecture": "lstm",
    "model_free.method": "ppo",
    "planner.method": "cem",
}


def test_numbers_that_nothing_can_hold_are_refused():
    with pytest.raises(InputError, match="--interactions must be below 2"):
        Config(interactions=10**400)
    with pytest.raises(InputError, match="--safety.step_timeout must be finite; got inf"):
        with_values(Config(), {"safety.step_timeout": math.inf})


def test_every_number_is_found():
    assert len(NUMBERS) > 45 and "planner.critic.target_rate" in NUMBERS and "discriminator.hidden" in NUMBERS


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_no_number_may_be_negative_or_not_finite(name, bad):
    value = (8, bad) if isinstance(NUMBERS[name], tuple) else bad
    with pytest.raises(InputError, match=f"--{name} "):
        with_values(Config(), {name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_zero_where_it_has_a_meaning(name):
    value = (8, 0) if isinstance(NUMBERS[name], tuple) else 0
    if name in MAY_BE_ZERO:
        assert _numbers(with_values(Config(), {name: value}))[name] == value
    else:
        with pytest.raises(InputError, match=f"--{name} "):
            with_values(Config(), {name: value})


@pytest.mark.parametrize("part", ["discriminator", "model_free", "planner"])
def test_a_learning_rate_is_constant_unless_a_final_one_is_given(part):
    first, final = f"{part}.learning_rate", f"{part}.final_learning_rate"
    slow = with_values(Config(), {first: 1e-4})
    assert getattr(slow, part).final_learning_rate is None
    assert with_values(Config(), {first: 1e-4, final: 1e-4}) == slow, "one configuration, however it is written"
    assert getattr(with_values(Config(), {first: 1e-4, final: 3e-4}), part).final_learning_rate == 3e-4


@pytest.mark.parametrize(
    "name", ["discount", "model_free.gae_lambda", "planner.critic.target_rate", "policy.averaging"]
)
def test_fractions(name):
    assert _numbers(with_values(Config(), {name: 1.0}))[name] == 1.0
    with pytest.raises(InputError, match=f"--{name} must be at most 1; got 1.01"):
        with_values(Config(), {name: 1.01})


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    with pytest.raises(InputError, match=f"--{name} must be one of .*; got '{CHOICES[name]}'"):
        with_values(Config(), {name: CHOICES[name]})


def test_trpo_needs_two_advantages_to_normalise():
    with pytest.raises(InputError, match="--steps_per_iteration must be at least 2 for TRPO"):
        Config(steps_per_iteration=1)
    one = {"planner.batch_size": 1, "planner.horizon": 1}
    assert make_config(**one).planner.horizon == 1
    with pytest.raises(InputError, match="--planner.batch_size times --planner.horizon must be at least 2 for TRPO"):
        make_config("dyna-trpo", **one)


def test_every_choice_is_tested():
    def choices(kind: Any, prefix: str = "") -> set[str]:
        hints, found = get_type_hints(kind), set()
        for name, hint in hints.items():
            if dataclasses.is_dataclass(hint):
                found |= choices(hint, f"{prefix}{name}.")
            elif "Literal" in str(hint):
                found.add(prefix + name)
        return found

    assert choices(Config) == set(CHOICES)


def test_learning_from_nothing_is_refused():
    idle = {"model_free.method": "none", "planner.method": "none"}
    with pytest.raises(InputError, match="--interactions 0"):
        with_values(Config(), idle)
    assert with_values(Config(), {**idle, "interactions": 0}).interactions == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("planner.horizn", "'planner.horizon'"),
        ("planer.horizon", "'planner.horizon'"),
        ("evaluation.evry", "'evaluation.every'"),
        ("planer", "'planner'"),
        ("zzz", "known: task, preset"),
        ("intractions", "'interactions'"),
        ("planner", "planner is a group"),
        ("seed.x", "seed has no settings of its own"),
    ],
)
def test_unknown_settings(name, hint):
    with pytest.raises(InputError, match=f"unknown setting '{name}'.*({hint})"):
        with_values(Config(), {name: 1})


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
    assert make_config(preset) == with_values(Config(), {"preset": preset, **PRESETS[preset]})


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
    whole = to_dict(make_config("dyna-ail"))
    for preset, left_out in (("model-free", "planner"), ("model-based", "model_free")):
        assert to_dict(make_config(preset)) == {
            **whole,
            "preset": preset,
            left_out: {**whole[left_out], "method": "none"},
        }


def test_presets_are_the_cells_of_the_grid():
    cells = {name: (c.model_free.method, c.planner.method) for name in PRESETS for c in [make_config(name)]}
    assert cells["dyna-ail"] == ("trpo", "mgail")
    assert cells["dyna-mgail"] == ("mgail", "mgail") and not make_config("dyna-mgail").planner.tail
    assert cells["dyna-trpo"] == ("trpo", "trpo")
    assert cells["mgail"] == ("mgail", "none") and make_config("mgail").uses_model
    assert cells["gail"] == ("trpo", "none")
    assert cells["model-free"] == ("trpo", "none")
    assert cells["model-based"] == ("none", "mgail")
    assert cells["bc"] == ("none", "none")
    cloning = make_config("bc")
    assert cloning.interactions == 0 and cloning.cloning.updates > 0
    assert not make_config("gail").uses_model and make_config("model-based").uses_model


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
    config = make_config(preset, {"policy.hidden": (7, 8, 9), "demos": "x.npz", "planner.critic.hidden": ()})
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


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
def test_files_that_were_edited_by_hand(change, message):
    values = to_dict(Config())
    change(values)
    with pytest.raises(InputError, match=message):
        from_dict(values)
