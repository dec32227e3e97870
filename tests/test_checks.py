"""Each check against sound recordings with exactly that fault, and all of them against sound ones."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from faults import FAULTS, columns, cut, each, early, joined, late, network, play, plus, reach, stand, swing_up, times

from dyna_ail import checks
from dyna_ail.checks import Finding, check_demonstrations, report
from dyna_ail.checks.evidence import Subject
from dyna_ail.demos import Demonstrations, Trajectory
from dyna_ail.envs.playback import Playback, Steps
from dyna_ail.envs.tasks import TASKS
from dyna_ail.errors import InputError, ordinal

BUNDLED = [task.id for task in TASKS.values() if task.demos is not None]
FAILED_EPISODES = "but less than 50% for"  # true of an expert that fails now and then
CASES = [(name, task) for name, case in FAULTS.items() for task in ("Hopper-v5", "CartPole-v1")[: 1 if case.box else 2]]


random_steps, restores = Playback.random_steps, Playback.restores


@pytest.fixture(scope="module", autouse=True)
def _found_once() -> Iterator[None]:
    """A task's random steps, and the way to restore its states, are the same in every test: they are found once."""
    steps: dict[tuple[str, int], Steps] = {}
    ways: dict[str, object] = {}

    def kept_steps(self: Playback, count: int) -> Steps:
        key = self.env.spec.id, count
        return steps[key] if key in steps else steps.setdefault(key, random_steps(self, count))

    def kept_way(self: Playback) -> bool:
        if self.env.spec.id in ways:
            self._tried, self._way = True, ways[self.env.spec.id]
        found = restores(self)
        ways[self.env.spec.id] = self._way
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Playback, "random_steps", kept_steps)
        patch.setattr(Playback, "restores", kept_way)
        yield


@pytest.mark.parametrize("task", ["Hopper-v5", "CartPole-v1"])
def test_random_steps_are_the_same_at_every_call(task: str) -> None:
    playback = Playback(task)
    first = random_steps(playback, 150)
    assert restores(playback) and playback._way is not None
    for again in (random_steps(playback, 150), random_steps(Playback(task), 150)):
        for ours, theirs in zip(vars(again).values(), vars(first).values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def bundled(task: str, count: int | None = None) -> Demonstrations:
    """Some of the bundled demonstrations, as if they came from elsewhere."""
    path = TASKS[task].demos
    assert path is not None
    loaded = Demonstrations.load(path)
    return replace(loaded, trajectories=loaded.trajectories[:count], metadata={"task": task})


def found(demos: Demonstrations, task: str) -> list[Finding]:
    """What is not ok."""
    return [finding for finding in check_demonstrations(demos, task) if finding.level != "ok"]


def of(demos: Demonstrations, task: str, *names: Callable[[Subject], object]) -> list[Finding]:
    """What some of the checks find that is not ok."""
    subject = Subject(demos, task)
    return [finding for check in names for finding in check(subject) if finding.level != "ok"]


@pytest.mark.parametrize("task", BUNDLED)
def test_bundled_demonstrations_are_sound(task: str) -> None:
    path = TASKS[task].demos
    assert path is not None
    assert not [f for f in found(Demonstrations.load(path), task) if FAILED_EPISODES not in f.what]


@pytest.mark.parametrize("task", BUNDLED)
@pytest.mark.parametrize("count", [1, 4])
def test_few_are_sound(task: str, count: int) -> None:
    texts = [finding.what for finding in found(bundled(task, count), task)]
    drawn = TASKS[task].defaults.get("trajectories", 4)
    assert texts == ([f"A run draws {drawn} trajectories by default; here is {count}."] if drawn > count else [])


@pytest.mark.parametrize("task", BUNDLED)
def test_pieces_are_sound(task: str) -> None:
    demos = bundled(task, 4)
    if demos.thinned > 1:
        pytest.skip("thinned demonstrations have no pieces")
    rng = np.random.default_rng(0)
    for steps in (3, 10, 60):
        starts = [int(rng.integers(t.length - steps)) for t in demos.trajectories]
        ends = [start + steps + index for index, start in enumerate(starts)]
        pieces = [cut(t, start, end) for t, start, end in zip(demos.trajectories, starts, ends, strict=True)]
        texts = [finding.what for finding in found(replace(demos, trajectories=tuple(pieces)), task)]
        assert all("to imitate by default" in text for text in texts), texts


@pytest.mark.parametrize("task", BUNDLED)
def test_thinned_are_sound(task: str) -> None:
    demos = bundled(task)
    thinned = demos.subsample(20, np.random.default_rng(0)) if demos.thinned == 1 else demos
    texts = [finding.what for finding in found(thinned, task)]
    assert all("by default" in text or FAILED_EPISODES in text for text in texts), texts


@pytest.mark.parametrize(("name", "task"), CASES)
def test_faults_are_found_and_nothing_else(name: str, task: str) -> None:
    fault = FAULTS[name]
    findings = found(fault.inject(bundled(task, 4)), task)
    assert any(f.level == fault.level and fault.found in f.what for f in findings), findings
    assert all(f.mend for f in findings)
    known = (fault.found, "episodes are cut", "Longer than", "by default", "trajectories begin", "observation space")
    assert all(any(text in f.what for text in known) for f in findings), findings


def test_the_mend_mends() -> None:
    """Advice that is followed leaves nothing to find."""
    spoilt = each(bundled("Hopper-v5", 4), late)
    assert "next row's action" in found(spoilt, "Hopper-v5")[0].mend
    mended = each(spoilt, lambda t: Trajectory(t.obs[:-1], t.action[1:], t.reward[:-1], False))
    assert [f.what for f in found(mended, "Hopper-v5")] == [
        "All episodes are cut at 999 steps; the task's limit is 1000, and none terminated."
    ]
    spoilt = each(bundled("Hopper-v5", 4), early)
    assert "row before's action" in found(spoilt, "Hopper-v5")[0].mend
    mended = each(spoilt, lambda t: Trajectory(t.obs[1:], t.action[:-1], t.reward[1:], False))
    assert [f.what[:12] for f in found(mended, "Hopper-v5")] == ["All episodes"]
    spoilt = each(bundled("Hopper-v5", 4), times(0.4))
    assert found(spoilt, "Hopper-v5")[0].mend == "Multiply them by about 2.5."


class TestWhereStatesCannotBeRestored:
    """Reacher's observation does not show the state."""

    demos = play("Reacher-v5", reach, range(20))

    def test_sound(self) -> None:
        assert not Playback("Reacher-v5").restores()
        for demos in (self.demos, replace(self.demos, metadata={})):
            assert all("by default" in f.what for f in found(demos, "Reacher-v5"))

    @pytest.mark.parametrize(("shift", "text"), [(late, "row too late"), (early, "row too early")])
    def test_shifts_show_in_a_model_of_random_steps(self, shift: Callable[..., Trajectory], text: str) -> None:
        findings = found(replace(each(self.demos, shift), metadata={}), "Reacher-v5")
        assert [(f.level, text in f.what) for f in findings if "by default" not in f.what] == [("error", True)]

    def test_faults_show_from_the_reset(self) -> None:
        assert [f.level for f in of(each(self.demos, late), "Reacher-v5", checks.check_resets)] == ["error"]
        findings = of(each(self.demos, times(0.5)), "Reacher-v5", checks.check_resets)
        assert findings[0].level == "error" and "from observation" in findings[0].what

    def test_a_trajectory_of_one_step_is_nothing_to_shift(self) -> None:
        first, *others = each(self.demos, times(0.5)).trajectories
        short = Trajectory(first.obs[:2], first.action[:1], first.reward[:1], False)
        spoilt = replace(self.demos, trajectories=(short, *others))
        assert [f.level for f in of(spoilt, "Reacher-v5", checks.check_resets)] == ["error"]

    def test_seeds_of_another_recording_prove_nothing(self) -> None:
        other = replace(self.demos, metadata={"reset_seeds": list(range(100, 120))})
        assert not of(other, "Reacher-v5", checks.check_resets)


def test_a_deterministic_demonstrator_is_not_taken_for_shifted() -> None:
    """Its next action tells what a step led to, and would explain it best in a model fitted to the recording."""
    for task in ("Pusher-v5", "Reacher-v5"):
        assert not of(play(task, network(task), range(5)), task, checks.check_alignment)


def test_normalised_actions() -> None:
    demos = play("Pendulum-v1", swing_up, range(4))
    assert not found(demos, "Pendulum-v1")
    findings = found(each(demos, times(0.5)), "Pendulum-v1")
    assert any("normalised to [-1, 1]" in f.what and f.level == "error" for f in findings)
    findings = of(each(demos, times(0.5)), "Pendulum-v1", checks.check_action_range)
    assert "end at 1, the bounds at 2" in findings[0].what


def test_bounds() -> None:
    findings = of(each(bundled("Hopper-v5", 2), times(2)), "Hopper-v5", checks.check_bounds)
    assert findings[0].level == "error" and "bounds, -1 to 1: they go from -2 to 2" in findings[0].what
    wide = each(
        bundled("Hopper-v5", 2), lambda t: replace(t, action=np.where(t.action == 1, np.float32(1.5), t.action))
    )
    assert of(wide, "Hopper-v5", checks.check_bounds)[0].mend.startswith("Clip the actions: clipped, they reproduce")
    humanoid = play("Humanoid-v5", network("Humanoid-v5"), range(4))
    assert "normalised to [-1, 1]" in of(each(humanoid, times(2.5)), "Humanoid-v5", checks.check_bounds)[0].mend
    numbered = each(bundled("CartPole-v1", 2), lambda t: replace(t, action=t.action + 1))
    assert of(numbered, "CartPole-v1", checks.check_bounds)[0].mend == "Number the actions from 0."
    degrees = each(bundled("CartPole-v1", 2), lambda t: replace(t, obs=t.obs * np.float32(180 / np.pi)))
    assert "observation space" in of(degrees, "CartPole-v1", checks.check_bounds)[0].what


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (times(0.01), "keep within 1.0% of their range"),
        (times(100, bound=1), "components are at a bound"),
        (lambda t: replace(t, action=np.round(t.action)), "whole numbers"),
    ],
)
def test_action_range(change: Callable[[Trajectory], Trajectory], text: str) -> None:
    findings = of(each(bundled("Hopper-v5", 2), change), "Hopper-v5", checks.check_action_range)
    assert [f.level for f in findings] == ["warning"]
    assert text in findings[0].what


def test_constant() -> None:
    for task in ("Hopper-v5", "CartPole-v1"):
        demos = bundled(task, 4)
        frozen = [each(demos, lambda t: replace(t, obs=np.repeat(t.obs[:1], len(t.obs), 0))).trajectories[2]]
        idle = [each(demos, lambda t: replace(t, action=np.zeros_like(t.action))).trajectories[2]]
        for spoilt, level, text in (
            (plus(demos, *frozen), "error", "The observation never changes in trajectory 4."),
            (plus(demos, *idle), "warning", "The action never changes in trajectory 4."),
            (Demonstrations(tuple(idle)), "error", "The action never changes in trajectory 0."),
        ):
            assert [(f.level, f.what) for f in of(spoilt, task, checks.check_constant)] == [(level, text)]
    masked = of(each(bundled("Hopper-v5", 2), columns((5, 7))), "Hopper-v5", checks.check_constant)
    assert masked[0].what.startswith("Components [5, 7] of the observations never change")
    dead = each(bundled("Hopper-v5", 2), lambda t: replace(t, action=t.action * np.float32([1, 0, 1])))
    assert of(dead, "Hopper-v5", checks.check_constant)[0].what == "Components [1] of the actions never change."


def test_standing_still() -> None:
    demos = play("Hopper-v5", stand, range(4))
    assert [round(t.return_ / 50) for t in demos.trajectories] == [20] * 4
    findings = found(demos, "Hopper-v5")
    assert ["Far below the expert" in f.what or "hardly moves forward" in f.what for f in findings] == [True, True]
    assert len(of(demos.subsample(20, np.random.default_rng(0)), "Hopper-v5", checks.check_standstill)) == 1
    mixed = plus(bundled("Hopper-v5", 2), demos.trajectories[0])
    assert "in trajectory 2: at most 0.00 m/s" in of(mixed, "Hopper-v5", checks.check_standstill)[0].what


def test_giving_up() -> None:
    """An Acrobot that hangs down; a Pendulum and a CartPole that hold still as well, but are meant to."""
    findings = of(play("Acrobot-v1", lambda obs: 1, range(2)), "Acrobot-v1", checks.check_standstill)
    assert "gave up" in findings[0].mend
    assert not of(play("Pendulum-v1", swing_up, range(2)), "Pendulum-v1", checks.check_standstill)
    assert not of(bundled("CartPole-v1"), "CartPole-v1", checks.check_standstill)


def test_duplicates() -> None:
    for task in ("Hopper-v5", "CartPole-v1"):
        demos = bundled(task, 4)
        first, second = demos.trajectories[:2]
        overlapping = cut(first, 100, 300)
        copies = of(plus(demos, first, overlapping), task, checks.check_duplicates)
        assert [f.what for f in copies] == ["Copies or overlapping pieces of earlier ones: trajectories 4, 5."]
        again = replace(second, obs=np.concatenate([first.obs[:1], second.obs[1:]]))
        same = of(Demonstrations((first, again)), task, checks.check_duplicates)
        assert [f.what for f in same] == ["Begun at the same observation as an earlier one: trajectory 1."]


def test_lengths() -> None:
    demos = bundled("Hopper-v5", 4)
    assert "cut at 700 steps" in of(each(demos, lambda t: cut(t, 0, 700)), "Hopper-v5", checks.check_lengths)[0].what
    long = Demonstrations((joined(*demos.trajectories[:2]),))
    assert "limit of 1000 steps: trajectory 0 (up to 2000)" in of(long, "Hopper-v5", checks.check_lengths)[0].what


def test_terminated_flags() -> None:
    flagged = each(bundled("Hopper-v5", 2), lambda t: replace(t, terminated=True))
    what = [f.what for f in of(flagged, "Hopper-v5", checks.check_lengths, checks.check_ends)]
    assert what == ["Marked terminated where the task goes on: trajectories 0, 1."]
    flagged = replace(each(TestWhereStatesCannotBeRestored.demos, lambda t: replace(t, terminated=True)), metadata={})
    what = [f.what for f in of(flagged, "Reacher-v5", checks.check_lengths, checks.check_ends)]
    assert what[0].startswith("Marked terminated exactly at the time limit: trajectories 0, 1, 2, 3, 4 and 15 more")
    lost = each(bundled("MountainCar-v0", 2), lambda t: replace(t, terminated=False))
    what = [f.what for f in of(lost, "MountainCar-v0", checks.check_ends)]
    assert what == ["Not marked terminated where the task ends: trajectories 0, 1."]


def test_going_on_after_the_end() -> None:
    lenient = {"terminate_when_unhealthy": False}
    gymnasium.register("Lenient-v0", "gymnasium.envs.mujoco.hopper_v5:HopperEnv", kwargs=lenient)
    try:
        demos = play("Lenient-v0", network("Hopper-v5", 0.3), range(2), steps=200)
    finally:
        del gymnasium.registry["Lenient-v0"]
    assert "Episodes go on where" in of(demos, "Hopper-v5", checks.check_ends)[0].what


def test_another_version() -> None:
    """The foot of Walker2d-v4 has another friction."""
    with pytest.warns(DeprecationWarning, match="out of date"):
        demos = play("Walker2d-v4", network("Walker2d-v5", 0.3), range(40))
    findings = of(demos, "Walker2d-v5", checks.check_task, checks.check_playback)
    assert [f.level for f in findings] == ["warning", "warning"]
    assert findings[0].mend == "Give --task Walker2d-v4 if that is the task to learn."
    assert "close to the one recorded but not the same" in findings[1].what


def test_rewards() -> None:
    demos = bundled("Hopper-v5", 4)
    scaled = each(demos, lambda t: replace(t, reward=t.reward / 40))
    what = [f.what for f in of(scaled, "Hopper-v5", checks.check_rewards)]
    assert len(what) == 1 and what[0].startswith("The recorded rewards are not the task's")
    silent = each(demos, lambda t: replace(t, reward=np.zeros_like(t.reward)))
    assert not of(silent, "Hopper-v5", checks.check_rewards, checks.check_returns)
    told = replace(demos, metadata={"returns": [3600.0, 3600.0, 3600.0, 1.0]})
    assert "not the sums" in of(told, "Hopper-v5", checks.check_sums)[0].what


def test_returns() -> None:
    """Scores with an expert at 100 and random actions at 0."""

    def score(*returns: float) -> list[tuple[str, str]]:
        def paid(t: Trajectory, value: float) -> Trajectory:
            return replace(t, reward=np.full(t.length, value / t.length, np.float32))

        some = bundled("CartPole-v1", len(returns)).trajectories
        trajectories = tuple(paid(t, value) for t, value in zip(some, returns, strict=True))
        demos = Demonstrations(trajectories, {"random_return": 0.0, "expert_return": 100.0})
        return [(f.level, f.what.split(":")[0]) for f in of(demos, "CartPole-v1", checks.check_returns)]

    assert score(100, 90) == []
    assert score(-50, 10) == [("error", "Worse than random")]
    assert score(20, 30) == [("warning", "Far below the expert")]
    assert score(100, 100, 10)[0][1].endswith("but less than 50% for trajectory 2.")
    assert not of(each(bundled("CartPole-v1", 2), lambda t: cut(t, 0, 9)), "CartPole-v1", checks.check_returns)


def test_pairs() -> None:
    few = each(bundled("Hopper-v5", 4), lambda t: cut(t, 0, 80))
    findings = of(few, "Hopper-v5", checks.check_pairs)
    assert findings[0].what == (
        "4 trajectories, every 20th pair: about 16 pairs to imitate by default, which is little."
    )
    assert findings[0].mend == "Keep more of them: --every 1."
    thinned = bundled("Hopper-v5", 4).subsample(3, np.random.default_rng(0))
    findings = of(thinned, "Hopper-v5", checks.check_pairs)
    assert findings[0].what == "A run keeps every 20th pair by default; these hold every 3rd pair."


def test_ordinals() -> None:
    words = "1st 2nd 3rd 4th 10th 11th 12th 13th 20th 21st 22nd 23rd 101st 111th 112th 122nd"
    assert " ".join(ordinal(int(word[:-2])) for word in words.split()) == words


def test_misfits_end_the_check() -> None:
    findings = check_demonstrations(bundled("Hopper-v5", 1), "CartPole-v1")
    assert [f.what for f in findings] == [
        "The trajectories have observations (11,) and continuous actions (3,); "
        "CartPole-v1 has observations (4,) and discrete actions ()."
    ]
    with pytest.raises(InputError, match="unknown task"):
        check_demonstrations(bundled("Hopper-v5", 1), "Hoper-v5")


def test_report() -> None:
    findings = [Finding("ok", "Fine."), Finding("warning", "Odd.", "Look."), Finding("error", "Bad.", "Mend it.")]
    assert report(findings).splitlines() == [
        "ok       Fine.",
        "warning  Odd.",
        "           -> Look.",
        "error    Bad.",
        "           -> Mend it.",
        "1 error, 1 warning",
    ]


@pytest.mark.parametrize("task", [*TASKS, "Pendulum-v1", "Swimmer-v5"])
def test_states_are_restored_from_observations(task: str) -> None:
    playback = Playback(task)
    assert restores(playback)
    steps = playback.random_steps(200)
    played = playback.steps_from(steps.obs.astype(np.float32), steps.action)
    shown = np.isfinite(played.reward)  # Walker2d clips the velocities it shows
    assert shown.mean() > 0.1
    np.testing.assert_allclose(played.next_obs[shown], steps.next_obs[shown], rtol=1e-3, atol=1e-3)
    assert (played.terminated == steps.terminated)[shown].all()


def test_impossible_states_make_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    playback = Playback("Hopper-v5")
    assert playback.restores()
    steps = playback.random_steps(3)
    assert np.isnan(playback.steps_from(steps.obs * 1e12, steps.action).next_obs).all()
    assert "unstable" not in capfd.readouterr().err


def test_every_check_is_listed() -> None:
    files = [importlib.import_module(f"dyna_ail.checks.{file.name}") for file in pkgutil.iter_modules(checks.__path__)]
    named = {value for file in files for name, value in vars(file).items() if name.startswith("check_")}
    assert {value for value in named if value.__module__.startswith("dyna_ail.checks.")} == set(checks.CHECKS)
