"""The eight tasks of the papers: Gymnasium id, reference returns, bundled demonstrations and defaults.

Any other Gymnasium id works too; it only lacks the reference returns. Importing this module imports no torch.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyna_ail.errors import InputError, nearest

if TYPE_CHECKING:
    import gymnasium

BUNDLED = Path(__file__).parent / "bundled"
"""Demonstrations (.npz) and for each of the eight tasks an expert's folder."""


@dataclass(frozen=True)
class Task:
    """A task and what is known about it."""

    id: str
    """Gymnasium id, or module:id."""
    random: float | None = None
    """Mean return of uniformly random actions over 100 episodes; None if not measured."""
    expert: float | None = None
    """Mean return of the bundled expert over 100 episodes. None, and no score, if there is no expert."""
    demos: Path | None = None
    """The bundled demonstrations, if any."""
    defaults: dict[str, object] = field(default_factory=dict)
    """Dotted values of the learner's settings for this task. The preset overrides them."""
    evaluate_every: int | None = None
    """Interactions between evaluations; None for the general default."""

    @property
    def run_defaults(self) -> dict[str, object]:
        """Dotted values of a run's settings for this task, the learner's and its own. The preset overrides them."""
        return self.defaults | ({"evaluation.every": self.evaluate_every} if self.evaluate_every else {})


# These runs are short, so the critics must follow fast. D soon separates the policy from so few expert pairs, and its
# cost becomes flat; only the critics know then what comes after the rollout. Small networks are enough for few numbers,
# and take a third of the time.
CLASSIC: dict[str, object] = {
    "trajectories": 1,
    "planner.critic.learning_rate": 1e-3,
    "planner.critic.target_rate": 0.1,
    "planner.critic.hidden": (64, 64),
    "forward_model.hidden": (64, 64),
}
CARTPOLE: dict[str, object] = {
    **CLASSIC,
    "interactions": 8000,
    "observation_floor": 0.1,  # an expert that balances hardly moves
}
# MountainCar and Acrobot end on success, so every step must cost something, as D itself does. A reward of -log D is
# always positive and would pay for never arriving. So would the logit of D in states that look like the expert's: with
# it MountainCar learned to linger (147 steps instead of 100). A demonstration has about 100 steps, and every 20th pair
# of one would be only four or five.
BRIEF: dict[str, object] = {**CLASSIC, "every": 1, "interactions": 10_000, "cost": "d"}
# The last 78 observations of Ant and Humanoid are contact forces. The model hardly predicts them, and by them D tells
# every policy from the expert at once. They are hidden here; in most of the literature they were zeros (versions 2 and
# 3 of these tasks with MuJoCo 2, https://github.com/openai/gym/issues/1541).
HUMANOID: dict[str, object] = {"trajectories": 80, "interactions": 120_000, "seen": 270}

TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        Task("CartPole-v1", 23.4, 500.0, BUNDLED / "cartpole-v1.npz", CARTPOLE, 500),
        Task("MountainCar-v0", -200.0, -100.16, BUNDLED / "mountaincar-v0.npz", BRIEF | {"interactions": 20_000}, 500),
        Task("Acrobot-v1", -499.82, -83.34, BUNDLED / "acrobot-v1.npz", BRIEF, 500),
        Task("Hopper-v5", 18.407, 3631.235, BUNDLED / "hopper-v5.npz"),
        Task("Walker2d-v5", 1.66, 6205.994, BUNDLED / "walker2d-v5.npz", {"interactions": 60_000}),
        Task("HalfCheetah-v5", -279.376, 4726.015, BUNDLED / "halfcheetah-v5.npz"),
        Task("Ant-v5", -53.71, 3836.688, BUNDLED / "ant-v5.npz", {"interactions": 60_000, "seen": 27}),
        Task("Humanoid-v5", 111.161, 4635.397, BUNDLED / "humanoid-v5.npz", HUMANOID),
    )
}


def get_task(id: str) -> Task:
    """One of the eight tasks, or a bare Task for any other id that Gymnasium knows.

    Args:
        id: Gymnasium id, or ``module:id`` to import the module first.

    Raises:
        InputError: the module cannot be imported or the id is not registered; suggests the nearest id.
    """
    if id in TASKS:
        return TASKS[id]
    import gymnasium

    module, _, name = id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a user's module may fail in any way
            raise InputError(
                f"cannot import module {module!r} of task {id!r}: {type(error).__name__}: {error}"
            ) from error
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        if module:
            close = difflib.get_close_matches(name, gymnasium.registry, n=1, cutoff=0.7)
            near = f"did you mean '{module}:{close[0]}'?" if close else f"the module {module!r} registers no such id."
        else:
            near = nearest(name, [*TASKS, *gymnasium.registry], listed=TASKS)
        raise InputError(f"unknown task {id!r}: {near}") from error
    return Task(id)


def make_env(id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """A new environment of the task.

    Raises:
        InputError: an unknown task, or one whose environment cannot be built here.
    """
    task = get_task(id)
    import gymnasium

    try:
        if "mujoco" in str(gymnasium.spec(task.id.rpartition(":")[2]).entry_point):
            import mujoco

            mujoco.set_mju_user_warning(_warn)
        return gymnasium.make(task.id, **kwargs)
    except (Exception, SystemExit) as error:  # missing simulators and wrong versions raise anything
        raise InputError(f"cannot make the environment of task {id!r}: {type(error).__name__}: {error}") from error


def _warn(message: str) -> None:
    """Pass MuJoCo's warnings on, each once, but not the one that only Gymnasium can mend."""
    if "settotalmass" not in message:
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def versions() -> dict[str, str]:
    """Versions of the packages on which an episode depends."""
    return {name: version(name) for name in ("gymnasium", "mujoco", "numpy", "torch", "sb3-contrib")}
