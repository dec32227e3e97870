"""The recipes of docs/development.md: a planner, a cost and a forward model from outside the package, a file each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dyna_ail.config import make_config, make_run_config
from dyna_ail.config.registry import COSTS, FORWARD_MODELS, MODEL_FREE, PLANNERS, Registry
from dyna_ail.errors import InputError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "development.md"
RECIPES = {
    name: code for code, name in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
}

ALL = """
assert learner.iteration == 3 and learner.interactions == 300
assert all(value == value for name, value in learner.metrics.items() if "loss" in name or "cost" in name)
learner.save("learner.zip")
again = DynaAIL.load("learner.zip", gymnasium.make("CartPole-v1"))
assert again.interactions == 300 and again.config == learner.config
"""
EACH = {
    "my_planner": """
assert type(learner.planner) is type(again.planner) is RandomSearch
assert learner.imagined == again.imagined == 3 * 2 * config.planner.updates * config.planner.horizon * 128
changed = DynaAIL(gymnasium.make(task.id), Demonstrations.load(task.demos), config)
moved = [a - b for a, b in zip(changed.agent.policy.parameters(), learner.agent.policy.parameters())]
assert any(step.abs().max() > 0 for step in moved)
other = make_config("model-based", task.defaults)
named = DynaAIL(gymnasium.make(task.id), Demonstrations.load(task.demos), other, planner=RandomSearch)
assert type(named.planner) is RandomSearch
""",
    "my_cost": """
assert learner.discriminator.cost_of_logit is again.discriminator.cost_of_logit is centred_d
obs, action = learner.expert
difference = learner.discriminator.cost(obs, action) - (2 * learner.discriminator(obs, action) - 1)
assert difference.abs().max() < 1e-5
""",
    "my_forward_model": """
assert type(learner.forward_model.members[0]) is type(again.forward_model.members[0]) is Elman
assert learner.metrics["model/updates"] == 100 and learner.metrics["model/error_1"] < 2
""",
}
"""What must be true at the end of each file."""


def test_every_recipe_is_followed():
    assert set(RECIPES) == set(EACH)


def test_the_recipes_work_from_outside_the_package(tmp_path):
    for name, check in EACH.items():
        (tmp_path / f"{name}.py").write_text(RECIPES[name] + ALL + check, encoding="utf-8")
    code = "import runpy, sys\nfor file in sys.argv[1:]: runpy.run_path(file, run_name='__main__')"
    command = [sys.executable, "-c", code, *(f"{name}.py" for name in EACH)]
    place = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(300 -?\d+\.\d+\n){3}", done.stdout)


NAMED: dict[str, tuple[Registry, str]] = {
    "planner.method": (PLANNERS, "mgail, trpo, none"),
    "model_free.method": (MODEL_FREE, "trpo, mgail, none"),
    "forward_model.architecture": (FORWARD_MODELS, "mlp, gru"),
    "cost": (COSTS, "gail, d, airl"),
}


@pytest.mark.parametrize("setting", NAMED)
def test_a_name_is_known_once_it_is_registered(setting):
    registry, known = NAMED[setting]
    for make in (make_config, make_run_config):
        with pytest.raises(InputError, match=f"--{setting} must be one of {known}; got 'mine'"):
            make(**{setting: "mine"})
    registry["mine"] = object
    try:
        assert make_config(**{setting: "mine"}) != make_config()
        with pytest.raises(InputError, match=f"must be one of {known}, mine; got 'other'"):
            make_config(**{setting: "other"})
    finally:
        del registry["mine"]
    assert list(registry) == known.split(", ")


def test_every_name_of_the_package_leads_to_an_object():
    for registry, known in NAMED.values():
        assert ", ".join(registry) == known
        assert all(callable(registry[name]) for name in registry)
