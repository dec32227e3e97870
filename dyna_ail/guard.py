"""A wrapper that names what goes wrong inside an environment: it raises, hangs, or breaks its own promises."""

from __future__ import annotations

import copy
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import gymnasium
import numpy as np

from dyna_ail.errors import EnvironmentFailure, InputError, NonFiniteError, brief, one_line

STEP_TIMEOUT = 60.0
"""Seconds that a step or a reset of a training environment may take, unless something else is asked for."""
LONGEST = 100_000
"""Steps after which an episode that must end, in an environment without a time limit, counts as endless."""


def time_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Steps after which Gymnasium cuts an episode; None without such a limit."""
    return env.spec.max_episode_steps if env.spec else None


class Guard(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Passes everything through, and raises :class:`~dyna_ail.errors.EnvironmentFailure` with the step in its message.

    Args:
        env: the environment.
        seconds: the longest that a step or a reset may take; infinite for no limit. An alarm signal watches
            it: only in the main thread, where the system has one that nobody else uses, and not inside a library that
            never returns to Python.
        longest: steps that an episode may take if the environment has no time limit.

    Attributes:
        steps: so far, as the messages count them.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seconds: float = math.inf, longest: float = math.inf) -> None:
        super().__init__(env)
        self.seconds, self.longest = seconds, longest
        self.steps, self.in_episode = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, checked."""
        self.in_episode = 0
        found = self._watched(lambda: self.env.reset(seed=seed, options=options))
        if not (isinstance(found, tuple) and len(found) == 2):
            self._fail(f"returned {brief(found)}, not (observation, info)")
        obs, info = found
        return self._observation(obs), self._info(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, checked."""
        self.steps, self.in_episode = self.steps + 1, self.in_episode + 1
        if self.in_episode > self.longest and time_limit(self) is None:
            self._fail("has not ended its episode, and has no time limit: register it with max_episode_steps")
        given = copy.deepcopy(action)  # some environments change their argument
        found = self._watched(lambda: self.env.step(given))
        if not (isinstance(found, tuple) and len(found) == 5):
            self._fail(f"returned {brief(found)}, not (observation, reward, terminated, truncated, info)")
        obs, reward, *flags, info = found
        obs, info = self._observation(obs), self._info(info)
        try:
            float(reward)
        except (TypeError, ValueError) as error:
            self._fail(f"returned {brief(reward)} as reward, not a number", error)
        for name, flag in zip(("terminated", "truncated"), flags, strict=True):
            if not isinstance(flag, bool | np.bool_ | int):
                self._fail(f"returned {brief(flag)} as {name}, not True or False")
        return obs, reward, *flags, info

    def close(self) -> None:
        """Close. Errors are ignored: nothing depends on the environment any more."""
        with suppress(Exception, SystemExit, _TooLong), _alarm(self.seconds):
            self.env.close()

    def _watched(self, call: Callable[[], Any]) -> Any:
        try:
            with _alarm(self.seconds):
                return call()
        except (InputError, NonFiniteError):
            raise
        except _TooLong:
            self._fail(f"did not answer within {self.seconds:g} seconds (--safety.step_timeout)")
        except (Exception, SystemExit) as error:  # some simulators exit when their window is closed
            self._fail(f"raised {type(error).__name__}: {one_line(error).removesuffix('.')}", error)

    def _observation(self, obs: Any) -> np.ndarray:
        """A copy in the type that the space declares: the environment may write its next observation over this one."""
        space = self.observation_space
        try:
            found = np.asarray(obs)
        except Exception as error:  # lists of unequal lengths, tensors elsewhere
            self._fail(f"returned {brief(obs)} as observation, no array of numbers", error)
        if found.shape != space.shape:
            self._fail(f"returned an observation of shape {found.shape}, its space says {space.shape}")
        if found.dtype.kind not in "fiub":
            self._fail(f"returned an observation of type {found.dtype}, its space says {space.dtype}")
        with np.errstate(all="ignore"):
            declared = found.astype(space.dtype, copy=True)
            changed = declared != found if declared.dtype.kind in "iub" else np.isfinite(found) & ~np.isfinite(declared)
        if changed.any():
            before, after = found[changed].flat[0], declared[changed].flat[0]
            self._fail(
                f"returned the observation {before}, which the type of its space, {space.dtype}, changes to {after}. "
                "Declare the space with a type that holds its values, such as float32"
            )
        return declared

    def _info(self, info: Any) -> dict[str, Any]:
        if not isinstance(info, dict):
            self._fail(f"returned {brief(info)} as info, not a dictionary")
        return info

    def _fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        where = f"in a reset after {self.steps:,} steps"
        if self.in_episode:
            where = f"at its step {self.steps:,}, step {self.in_episode:,} of the episode"
        raise EnvironmentFailure(f"the environment failed {where}: it {what}.") from cause


class _TooLong(BaseException):
    """Not an Exception, so that the environment does not catch it by accident."""


def _ring(signum: int, frame: object) -> None:
    raise _TooLong


def _can_watch() -> bool:
    """Whether the alarm is there, used by nobody else, and would be heard."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise :class:`_TooLong` after so many seconds. The process's own way with alarms is put back in the end."""
    if seconds == math.inf or not _can_watch():
        yield
        return
    previous = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, min(seconds, 1e6))  # more is out of range on some systems
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # the alarm may ring between the two
            signal.signal(signal.SIGALRM, previous)
