"""Environments that raise, hang or break their promises, and numbers that blow up: named, nothing lost, gone on with.

By the command line, in the middle of a run: one message that says where, exit code 1, a checkpoint, and once all is
mended the run ends bit for bit as if nothing had been.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from cartpole import TINY, tiny_options
from gymnasium.envs.classic_control import PendulumEnv
from interrupted import Interrupter, outcome

from dyna_ail.cli import main
from dyna_ail.envs.recording import random_return, record_episodes
from dyna_ail.errors import EnvironmentFailure
from dyna_ail.guard import Guard
from dyna_ail.runs import checkpoint
from dyna_ail.runs.evaluation import make_environments
from dyna_ail.runs.session import Session

FAULTY = '''
"""CartPole that fails as the file "fault" in the working directory says: in its training environment's step 130, in the
first reset after its step 60, in its very first step or reset, or in an evaluation."""

import time
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

DEEDS = {
    "hang": lambda: time.sleep(60),
    "raise": lambda: exec('raise RuntimeError("the motor is stuck\\\\nand warm")'),
    "divide": lambda: 1 / 0,
}


class Faulty(CartPoleEnv):
    made = count = seeded = 0

    def __init__(self, **options):
        super().__init__(**options)
        self.training = not Faulty.made
        Faulty.made += 1

    def fault(self, where):
        asked = Path("fault").read_text().split() if Path("fault").exists() else ["nowhere"]
        return asked[1] if asked[0] == where else ""

    def reset(self, *, seed=None, options=None):
        self.seeded += seed is not None
        found = super().reset(seed=seed)
        self.np_random.random()
        where = "reset" if self.count > 60 else "start" if self.count == 0 else ""
        return self.spoil(found, self.fault(where) if self.training else "")

    def step(self, action):
        self.count += 1
        self.np_random.random()
        found = super().step(action)
        where = "step" if self.count == 130 else "first" if self.count == 1 else ""
        if not self.training:
            where = "evaluation" if self.seeded > 3 else ""  # not in the first one, before which starts are looked at
        return self.spoil(found, self.fault(where))

    def spoil(self, found, deed):
        obs, *rest = found
        if deed in DEEDS:
            DEEDS[deed]()
        if deed == "short":
            return (obs, *rest[:-1])
        if deed in ("reward", "terminated"):
            rest[("reward", "terminated").index(deed)] = None
        changes = {"nan": obs * np.nan, "shape": obs[:3]}
        return (changes.get(deed, obs), *rest)


gymnasium.register("Faulty-v0", Faulty, max_episode_steps=500)
'''
SETTINGS: dict[str, Any] = {
    **TINY,
    "task": "faulty:Faulty-v0",
    "interactions": 200,
    "steps_per_iteration": 100,
    "replay_capacity": 1000,
    "evaluation.every": 100,
    "safety.checkpoint_every": 90,
}
STEP = r"the environment failed at its step 130, step \d+ of the episode: it "
RESET = r"the environment failed in a reset after \d+ steps: it "
UNPACKED = r"(returned .*, not \(.*\)|raised ValueError: (not enough|too many) values to unpack .*)\."
FAULTS = [
    ("step raise", STEP + r"raised RuntimeError: the motor is stuck\."),
    ("step divide", STEP + r"raised ZeroDivisionError: division by zero\."),
    ("step hang", STEP + r"did not answer within 0.5 seconds \(--safety.step_timeout\)\."),
    ("step short", STEP + UNPACKED),
    ("step shape", STEP + r"returned an observation of shape \(3,\), its space says \(4,\)\."),
    ("step terminated", STEP + r"returned None as terminated, not True or False\."),
    ("step nan", r"the environment's observation became nan after 129 steps\."),
    ("reset raise", RESET + r"raised RuntimeError: the motor is stuck\."),
    ("reset nan", r"the environment's observation became nan after \d+ steps\."),
    ("first raise", r"the environment failed at its step 1, step 1 of the episode: it raised RuntimeError: .*"),
    ("start raise", r"the environment failed in a reset after 0 steps: it raised RuntimeError: .*"),
    (
        "evaluation raise",
        r"in the evaluation at 100 interactions the environment failed at its step \d+, .* it raised .*",
    ),
    ("evaluation reward", r"in the evaluation at 100 interactions the environment failed at its step .* as reward, .*"),
    ("evaluation nan", r"an observation of an evaluation environment became NaN or infinite\."),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the module of the environment; figures are not drawn."""
    Interrupter(monkeypatch)
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    monkeypatch.delitem(gymnasium.registry, "Faulty-v0", raising=False)
    return tmp_path


def start(demos: Path, timeout: float = 0.5, out: str = "run", **values: object) -> int:
    """The exit code of a training."""
    given = {**SETTINGS, "safety.step_timeout": timeout, "demos": demos, "out": out, **values}
    return main(["train", *tiny_options(**given), "--no-progress"])


@pytest.fixture(scope="module")
def expected(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the run comes to if nothing fails."""
    with pytest.MonkeyPatch.context() as patch:
        folder.__wrapped__(tmp_path_factory.mktemp("whole"), patch)  # type: ignore[attr-defined]
        assert start(demos) == 0
        return outcome(Path("run"))


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[fault for fault, _ in FAULTS])
@pytest.mark.filterwarnings("ignore")
def test_a_failing_environment(fault: str, message: str, folder: Path, demos: Path, expected: dict[str, Any], capsys):
    Path("fault").write_text(fault)
    assert start(demos) == 1
    said = capsys.readouterr()
    assert re.fullmatch(f"error: {message}\n", said.err), said.err
    where, deed = fault.split()
    at = {"step": [129], "reset": range(61, 200), "first": [0], "start": [0], "evaluation": [90]}[where]
    _, state = next(checkpoint.saved(Path("run")))
    assert isinstance(state, dict) and state["learner"]["rollout"]["interactions"] in at
    saved = state["learner"]["rollout"]["interactions"]
    assert f"saved at {saved} interactions; go on with: dyna-ail train --resume run" in said.out

    if deed not in ("raise", "hang", "nan"):
        return  # all of them are gone on with in the same way
    Path("fault").unlink()  # mended
    assert main(["train", "--resume", "run", "--no-progress"]) == 0
    assert not capsys.readouterr().err
    assert outcome(Path("run")) == expected


STUCK = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Stuck(CartPoleEnv):
    def step(self, action):
        raise ConnectionError("the motor is stuck")

gymnasium.register("Stuck-v0", Stuck, max_episode_steps=500)
"""


def test_an_environment_that_fails_elsewhere(demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "stuck.py").write_text(STUCK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    task = ["--task", "stuck:Stuck-v0"]
    for command in (["demos", "check", str(demos)], ["expert", "train", "--timesteps", "600", "--no-progress"]):
        assert main([*command, *task]) == 1
        said = capsys.readouterr().err
        assert re.fullmatch("error: the environment failed at its step .* ConnectionError: the motor is stuck.\n", said)
    with pytest.raises(EnvironmentFailure, match="the motor is stuck"):
        record_episodes("stuck:Stuck-v0", lambda obs: 0, episodes=1, seed=0)
    with pytest.raises(EnvironmentFailure, match="the motor is stuck"):
        random_return("stuck:Stuck-v0")


def test_an_episode_that_never_ends_is_no_evaluation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dyna_ail.runs.evaluation.LONGEST", 50)
    endless = make_environments(PendulumEnv, 1)
    endless.reset()
    for _ in range(50):
        endless.step(np.zeros((1, 1)))
    with pytest.raises(EnvironmentFailure, match="step 51.*has no time limit: register it with max_episode_steps"):
        endless.step(np.zeros((1, 1)))


def test_an_environment_that_is_not_mended(folder: Path, demos: Path, capsys: pytest.CaptureFixture[str]):
    """Each time it gets as far as it can, counts its steps from the start of the run, and keeps what it has."""
    Path("fault").write_text("step raise")
    assert start(demos, interactions=500) == 1
    faulty, reached = sys.modules["faulty"], [129]
    for _ in range(2):
        faulty.Faulty.made = 0
        capsys.readouterr()
        assert main(["train", "--resume", "run", "--no-progress"]) == 1
        said = capsys.readouterr()
        step = re.match("error: the environment failed at its step (\\d+), ", said.err)
        saved = re.search("saved at (\\d+) interactions", said.out)
        assert step and saved and int(step[1]) == int(saved[1]) + 1
        reached.append(int(saved[1]))
    assert reached == sorted(set(reached))

    Path("fault").write_text("start raise")
    faulty.Faulty.made = 0
    assert main(["train", "--resume", "run"]) == 1
    assert capsys.readouterr().err == (
        "error: on the way back to where the run was, the environment failed in a reset after 0 steps: "
        "it raised RuntimeError: the motor is stuck.\n"
    )


# Numbers that blow up


NAN = torch.tensor(torch.nan)


BLOW_UPS: list[tuple[str, Callable[..., Any], str]] = [
    ("dyna_ail.learning.discriminator.discriminator_loss", lambda *_: NAN, "the discriminator loss became nan"),
    (
        "dyna_ail.learning.discriminator.Discriminator.cost",
        lambda self, obs, _: obs[..., 0] * torch.nan,
        "TRPO's advantage became nan",
    ),
    ("dyna_ail.learning.forward_model.ForwardModel.loss", lambda *_: (NAN, {}), "the forward model loss became nan"),
    (
        "dyna_ail.planners.critic.TwinCritic.forward",
        lambda self, obs, _: obs[..., 0] * torch.nan,
        "the critic's estimate",
    ),
    (
        "dyna_ail.planners.mgail.cost_to_go",
        lambda imagined, *_: imagined.cost * torch.inf,
        "the imagined cost became -inf",
    ),
    (
        "dyna_ail.learning.policy.ImitationPolicy.reparameterise",
        lambda self, obs, noise: noise * torch.nan,
        "the policy's action",
    ),
]


@pytest.mark.parametrize(
    ("function", "broken", "message"), BLOW_UPS, ids=[name.split(".")[-1] for name, *_ in BLOW_UPS]
)
def test_a_number_that_blows_up(
    function: str, broken: Callable[..., Any], message: str, folder: Path, demos: Path, expected: dict[str, Any], capsys
):
    """From the middle of the second iteration on; the checkpoint from before it stays, and is gone on from."""
    before_step = Session.before_step
    with pytest.MonkeyPatch.context() as patch:

        def break_it(session: Session, learner: Any) -> None:
            before_step(session, learner)
            if learner.interactions == 190:
                patch.setattr(function, broken)

        patch.setattr(Session, "before_step", break_it)
        assert start(demos) == 1
    said = capsys.readouterr()
    assert re.fullmatch(f"error: {message}.*\n", said.err), said.err
    assert "saved at 180 interactions; go on with: dyna-ail train --resume run" in said.out
    assert main(["train", "--resume", "run", "--no-progress"]) == 0
    assert outcome(Path("run")) == expected


def test_cloning_that_blows_up(folder: Path, demos: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("dyna_ail.learning.cloning.cloning_loss", lambda *_: NAN)
    assert start(demos) == 1
    assert capsys.readouterr() == (
        "stopped before the first evaluation; go on with: dyna-ail train --resume run\n",
        "error: the cloning loss became nan.\n",
    )


# The guard itself


class Toy(gymnasium.Env):
    """Answers with what it is told to, or does what it is told to do."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Discrete(2)

    def __init__(self, answer: Any) -> None:
        self.answer, self.closed = answer, False

    def reset(self, **_: Any) -> Any:
        return self.answer() if callable(self.answer) else self.answer

    def step(self, _: Any) -> Any:
        return self.reset()

    def close(self) -> None:
        self.closed = True
        self.reset()


OBS = np.zeros(2, np.float32)
GOOD = [
    (OBS, 1.0, False, True, {}),
    (OBS.tolist(), np.float32(1), np.False_, 0, {"a": 1}),
    (OBS.astype(int), np.array(1.0), True, np.True_, {}),
    (OBS, True, 1, 0, {}),
]
BAD = [
    (OBS, 1.0, False, {}),
    [OBS, 1.0, False, False, {}],
    None,
    (OBS, "1.0.0", False, False, {}),
    (OBS, OBS, False, False, {}),
    (OBS, 1.0, 0.0, False, {}),
    (OBS, 1.0, False, "no", {}),
    (OBS, 1.0, np.array([True, False]), False, {}),
    (OBS, 1.0, False, False, []),
    (OBS[None], 1.0, False, False, {}),
    ({"obs": OBS}, 1.0, False, False, {}),
    (OBS.astype(complex), 1.0, False, False, {}),
    (OBS.astype(object), 1.0, False, False, {}),
    (OBS.astype(str), 1.0, False, False, {}),
    ([1, [2, 3]], 1.0, False, False, {}),
    (None, 1.0, False, False, {}),
]


def assert_passed(found: tuple[Any, ...], answer: tuple[Any, ...]) -> None:
    """All is as the environment gave it; the observation is a copy."""
    np.testing.assert_array_equal(found[0], answer[0])
    assert not np.shares_memory(found[0], np.asarray(answer[0]))
    assert [*found[1:]] == [*answer[1:]]


@pytest.mark.parametrize("answer", GOOD, ids=str)
def test_a_good_answer_passes(answer: Any):
    assert_passed(Guard(Toy(answer), 1.0).step(0), answer)


@pytest.mark.parametrize("answer", BAD, ids=str)
def test_a_bad_answer_is_named(answer: Any):
    with pytest.raises(
        EnvironmentFailure, match="the environment failed at its step 1, step 1 of the episode: it returned"
    ):
        Guard(Toy(answer), 1.0).step(0)


def test_a_bad_answer_to_a_reset_is_named():
    for answer in ((OBS,), OBS, (OBS, None), (OBS[:1], {})):
        with pytest.raises(EnvironmentFailure, match="the environment failed in a reset after 0 steps: it returned"):
            Guard(Toy(answer), 1.0).reset()


def test_steps_are_counted():
    env = Toy((OBS, {}))
    guard = Guard(env, 1.0)
    guard.reset()
    env.answer = GOOD[0]
    for _ in range(3):
        guard.step(0)
    env.answer = (OBS, {})
    guard.reset()
    with pytest.raises(EnvironmentFailure, match="at its step 4, step 1 of the episode"):
        guard.step(0)


def stubborn() -> None:
    """Catches whatever it can."""
    try:
        time.sleep(30)
    except Exception:
        time.sleep(30)


def test_a_stubborn_environment_is_stopped_and_the_alarm_is_off_again():
    with pytest.raises(EnvironmentFailure, match="did not answer within 0.1 seconds"):
        Guard(Toy(stubborn), 0.1).step(0)
    Guard(Toy(GOOD[0]), 0.1).step(0)
    time.sleep(0.15)


def test_the_alarm_of_others_is_left_alone():
    heard: list[float] = []
    ours = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    try:
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        assert_passed(Guard(Toy(lambda: time.sleep(0.3) or GOOD[0]), 0.01).step(0), GOOD[0])
        assert len(heard) == 1 and heard[0] > start + 0.19, "it rings when they wanted it to"
    finally:
        signal.signal(signal.SIGALRM, ours)


def handler_of_alarms() -> object:
    return signal.getsignal(signal.SIGALRM)


@pytest.mark.parametrize(
    "deed",
    [lambda: GOOD[0], lambda: None, lambda: 1 / 0, sys.exit, lambda: time.sleep(30)],
    ids=["answers", "answers badly", "raises", "exits", "hangs"],
)
def test_the_handler_of_alarms_is_put_back(deed: Callable[[], Any]):
    """After a step, a reset and the end, whatever comes of them; meanwhile it is the guard's."""
    during: list[object] = []
    guard, before = Guard(Toy(lambda: during.append(handler_of_alarms()) or deed()), 0.1), handler_of_alarms()
    for call in (lambda: guard.step(0), guard.reset, guard.close):
        with suppress(EnvironmentFailure):
            call()
        assert handler_of_alarms() == before == signal.SIG_DFL
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert len(during) == 3 and before not in during


@pytest.mark.parametrize("ours", [lambda *_: None, signal.SIG_IGN], ids=["a handler", "ignored"])
def test_a_handler_of_alarms_that_others_have_set_stays(ours: Any):
    """Then nobody watches the environment: the alarm is theirs."""
    during: list[object] = []
    guard = Guard(Toy(lambda: during.append(handler_of_alarms()) or time.sleep(0.05) or GOOD[0]), 0.01)
    before = signal.signal(signal.SIGALRM, ours)
    try:
        assert_passed(guard.step(0), GOOD[0])
        assert during == [ours] and handler_of_alarms() == ours
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_without_an_alarm_in_another_thread():
    answers: list[Any] = []
    guard = Guard(Toy(lambda: time.sleep(0.05) or GOOD[0]), 0.01)
    thread = threading.Thread(target=lambda: answers.append(guard.step(0)))
    thread.start()
    thread.join()
    (answer,) = answers
    assert_passed(answer, GOOD[0])


def test_who_asks_to_stop_is_heard():
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guard(Toy(stopped), 1.0).step(0)


@pytest.mark.parametrize("code", [0, None, "the window was closed"])
def test_an_environment_that_exits_has_failed(code: object):
    with pytest.raises(EnvironmentFailure, match="it raised SystemExit" + (f": {code}" if code else "")):
        Guard(Toy(lambda: sys.exit(code)), 1.0).step(0)


@pytest.mark.parametrize("deed", [lambda: 1 / 0, lambda: time.sleep(30), sys.exit], ids=["raises", "hangs", "exits"])
def test_closing_spoils_nothing(deed: Callable[[], Any]):
    env = Toy(deed)
    Guard(env, 0.1).close()
    assert env.closed


def test_a_message_holds_one_line_and_nothing_that_controls_a_terminal():
    def shout() -> None:
        raise RuntimeError("red \x1b[31m" + "x" * 1000 + "\nsecond line")

    with pytest.raises(EnvironmentFailure) as failure:
        Guard(Toy(shout), 1.0).step(0)
    message = str(failure.value)
    assert message.isprintable() and len(message) < 450
