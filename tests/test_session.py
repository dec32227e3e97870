"""What a run writes as it learns, and when: rows, policy, checkpoints; and what it goes on from."""

from __future__ import annotations

import csv
import json
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cartpole import TINY, Leaning

from dyna_ail.config import make_run_config, to_dict
from dyna_ail.errors import InputError, Stopped
from dyna_ail.records.folder import DIAGNOSTICS, PROGRESS
from dyna_ail.runs import checkpoint
from dyna_ail.runs.display import summary
from dyna_ail.runs.session import Session


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Learner:
    """Stands in for DynaAIL: counts, and acts by a rule. Its whole state is its number of interactions."""

    def __init__(self) -> None:
        self.interactions = self.imagined = self.iteration = 0
        self.metrics: dict[str, float] = {}
        self.policy = Leaning()
        self.saved: list[int] = []

    def advance(self, steps: int, **metrics: float) -> None:
        self.interactions, self.iteration, self.metrics = self.interactions + steps, self.iteration + 1, metrics

    def save_policy(self, path: Path) -> None:
        self.saved.append(self.interactions)
        path.write_text("policy")

    def state_dict(self) -> dict[str, int]:
        return {"interactions": self.interactions}


@pytest.fixture
def learner() -> Any:
    return Learner()


def make_session(folder: Path, state: dict[str, Any] | None = None, **values: object) -> Session:
    config = make_run_config("dyna-ail", TINY, {"interactions": 1500, "evaluation.every": 500, **values})
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    return Session(folder, config, {"random": 20.0, "expert": None}, progress=False, state=state)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time as the session sees it."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(time, "perf_counter", lambda: now.seconds)
    return now


def checkpoints(folder: Path) -> list[int]:
    """At how many interactions the checkpoints in the folder were made, newest first."""
    states = [state for _, state in checkpoint.saved(folder)]
    return [state["learner"]["interactions"] for state in states if isinstance(state, dict)]


# Evaluations and tables


def test_evaluations_follow_the_interval_and_close_the_run(session: Session, learner: Any):
    session.after_iteration(learner)
    for _ in range(5):
        learner.advance(300)
        session.after_iteration(learner)
    assert [row["interactions"] for row in rows(session.folder / "progress.csv")] == ["0", "600", "1200", "1500"]
    assert learner.saved == [0, 600, 1200, 1500]
    session.close("finished")
    assert (session.folder / "learning_curve.png").exists()


def test_rows_are_on_disk_at_once_and_keep_their_columns(session: Session, learner: Any):
    learner.advance(300, b=1.0, a=2.0)
    session.after_iteration(learner)
    assert list(rows(session.folder / "diagnostics.csv")[0]) == ["interactions", "imagined", "seconds", "b", "a"]
    learner.advance(300, b=3.0, a=4.0, late=5.0)
    session.after_iteration(learner)
    assert [(row["b"], row["late"]) for row in rows(session.folder / "diagnostics.csv")] == [
        ("1.0", ""),
        ("3.0", "5.0"),
    ]


def test_without_reference_the_score_is_unknown(session: Session, learner: Any):
    session.after_iteration(learner)
    assert rows(session.folder / "progress.csv")[0]["score"] == "nan"
    assert "expert" not in summary(session.folder, "finished")


def test_summary_tells_first_and_held(tmp_path: Path):
    lines = ["interactions,imagined,return_mean,return_std,score,seconds"]
    lines += [
        f"{i * 2000},0,{score * 100},1,{score},{i * 60}" for i, score in enumerate([0, 0.9, 0.1, 0.95, 0.95, 0.96])
    ]
    (tmp_path / "progress.csv").write_text("\n".join(lines))
    assert summary(tmp_path, "finished") == (
        "finished: return 96.0 (96% of the expert), 90% first at 2,000, held from 6,000; 10,000 interactions in 5.0 min"
    )


def test_tensorboard_gets_both_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session: Session, learner: Any):
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, log_dir: str) -> None: ...
        def add_scalar(self, key: str, value: float, step: int) -> None:
            written.append((key, value, step))

        def flush(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr("stable_baselines3.common.logger.SummaryWriter", Writer)
    both = Session(tmp_path, session.config, session.evaluator.references, progress=False, tensorboard=True)
    learner.advance(300, loss=1.0)
    both.after_iteration(learner)
    assert {("loss", 1.0, 300), ("imagined", 0, 300)} <= set(written)
    assert "return_mean" in {key for key, _, _ in written}


def test_what_blows_up_is_told_once(session: Session, learner: Any, capsys: pytest.CaptureFixture[str]):
    for norm in (1.0, 2.0, 1.0, 300.0, 400.0):
        learner.advance(300, **{"critic/grad_norm": norm})
        session.after_iteration(learner)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: at 1,200 interactions critic/grad_norm rose to 300, 300 times its median so far."


@pytest.mark.parametrize(("so_far", "told"), [((1.0, 2.0, 1.0), 1), ((1.0, 2.0, 1.0, 300.0), 0)])
def test_what_blows_up_is_told_once_also_after_an_interruption(so_far, told, tmp_path: Path, learner: Any, capsys):
    session = make_session(tmp_path)
    for norm in so_far:
        learner.advance(100, **{"critic/grad_norm": norm, "late": 1.0} if norm > 1 else {"critic/grad_norm": norm})
        session.after_iteration(learner)
    session.checkpoint(learner)
    capsys.readouterr()
    again = make_session(tmp_path, saved_state(tmp_path))
    learner.advance(100, **{"critic/grad_norm": 400.0})
    again.after_iteration(learner)
    assert capsys.readouterr().err.count("rose to 400") == told


def test_a_table_that_holds_words_is_refused(tmp_path: Path, learner: Any):
    session = make_session(tmp_path)
    learner.advance(100, loss=1.0)
    session.after_iteration(learner)
    session.checkpoint(learner)
    path = tmp_path / "diagnostics.csv"
    path.write_text(path.read_text().replace("1.0", "one"))
    with pytest.raises(InputError, match=r"diagnostics\.csv holds something else than numbers: .*'one'.*Restore"):
        make_session(tmp_path, saved_state(tmp_path))


def test_how_to_go_on(session: Session, learner: Any):
    assert session.hint().startswith("go on with: dyna-ail train --resume ")
    session.after_iteration(learner)
    learner.advance(500)
    session.after_iteration(learner)
    assert re.fullmatch("no checkpoint yet; start over with: dyna-ail train --resume .* --force", session.hint())
    session.checkpoint(learner)
    assert session.hint().startswith("saved at 500 interactions; go on with: dyna-ail train --resume ")


# Checkpoints


def test_checkpoints_follow_the_interactions(tmp_path: Path, learner: Any):
    session, made = make_session(tmp_path, **{"safety.checkpoint_every": 40}), []
    for _ in range(100):
        session.before_step(learner)
        made += [done for done in checkpoints(tmp_path)[:1] if done not in made]
        learner.advance(1)
    assert made == [40, 80]
    assert checkpoints(tmp_path) == [80, 40], "the newest, and the one before in case that it is damaged"


def test_checkpoints_follow_the_clock(tmp_path: Path, learner: Any, clock: SimpleNamespace):
    session = make_session(tmp_path, **{"safety.checkpoint_minutes": 2.0})
    for minutes in (0.0, 1.9, 2.0, 3.9, 4.0, 6.5):
        clock.seconds = 1000.0 + 60 * minutes
        session.before_step(learner)
        learner.advance(1)
    assert checkpoints(tmp_path) == [5, 4]
    assert session.checkpointer.made_at == 5
    assert "saved at 5 interactions; go on with: dyna-ail train --resume" in session.hint()


def test_checkpoints_that_take_long_are_rarer(tmp_path: Path, learner: Any, clock: SimpleNamespace, monkeypatch):
    def slow(folder: Path, state: object) -> None:
        clock.seconds += 6.0
        save(folder, state)

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", slow)
    session = make_session(tmp_path, **{"safety.checkpoint_minutes": 2.0})
    session.checkpoint(learner)
    for seconds, at in ((120, 0), (299, 0), (300, 1)):
        clock.seconds = session.checkpointer.time + seconds
        if at:
            learner.advance(at)
        session.before_step(learner)
        assert session.checkpointer.made_at == at, "under 2% of the time: not before 50 times 6 s have passed"


def test_a_run_asked_to_stop_saves_everything_before_the_next_step(session: Session, learner: Any):
    learner.advance(7)
    session.before_step(learner)
    assert not checkpoints(session.folder)
    session.stopping = signal.SIGTERM
    with pytest.raises(Stopped) as stop:
        session.before_step(learner)
    assert stop.value.signum == signal.SIGTERM
    assert checkpoints(session.folder) == [7]


def test_a_checkpoint_that_cannot_be_written_is_not_told_of(session: Session, learner: Any, monkeypatch):
    learner.advance(7)
    session.checkpoint(learner)

    def full(folder: Path, state: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    learner.advance(7)
    with pytest.raises(OSError, match="No space"):
        session.checkpoint(learner)
    assert checkpoints(session.folder) == [7]
    assert "saved at 7 interactions" in session.hint()


def saved_state(folder: Path) -> dict[str, Any]:
    """The session's part of the newest checkpoint."""
    _, state = next(checkpoint.saved(folder))
    assert isinstance(state, dict)
    return state["session"]


def test_goes_on_where_it_was(tmp_path: Path, learner: Any, clock: SimpleNamespace):
    """Rows made after the checkpoint give way; evaluations, time and checkpoints follow on."""
    session = make_session(tmp_path, **{"safety.checkpoint_every": 300})
    session.after_iteration(learner)
    for _ in range(2):
        learner.advance(300, loss=1.0)
        session.after_iteration(learner)
    clock.seconds += 100
    session.before_step(learner)
    before = {name: (tmp_path / name).read_text() for name in (PROGRESS, DIAGNOSTICS)}
    learner.advance(600, loss=2.0)
    session.after_iteration(learner)
    assert before["progress.csv"] != (tmp_path / "progress.csv").read_text()

    clock.seconds = 5.0  # another process
    again = make_session(tmp_path, saved_state(tmp_path), **{"safety.checkpoint_every": 300})
    assert {name: (tmp_path / name).read_text() for name in (PROGRESS, DIAGNOSTICS)} == before
    assert again.evaluator.evaluated_at == 600, "else a signal would find nothing to save"
    learner.interactions = 600
    again.before_step(learner)
    assert checkpoints(tmp_path)[0] == 600 == again.checkpointer.made_at, "not made a second time"
    again.after_iteration(learner)
    assert before["progress.csv"] == (tmp_path / "progress.csv").read_text(), "600 has been evaluated"
    clock.seconds += 1
    learner.advance(300, loss=3.0)
    again.after_iteration(learner)
    learner.advance(300, loss=4.0)
    again.after_iteration(learner)
    table = rows(tmp_path / "progress.csv")
    assert [row["interactions"] for row in table] == ["0", "600", "1200"]
    assert [float(row["seconds"]) for row in table] == [0.0, 0.0, 101.0]


def test_a_column_that_came_after_the_checkpoint_stays_and_is_empty(tmp_path: Path, learner: Any):
    """A new column makes the file anew, so the place where to cut it is no longer the same number of bytes."""
    session = make_session(tmp_path)
    learner.advance(300, loss=1.0)
    session.after_iteration(learner)
    session.checkpoint(learner)
    learner.advance(300, loss=2.0, late=5.0)
    session.after_iteration(learner)

    again = make_session(tmp_path, saved_state(tmp_path))
    assert [(row["loss"], row["late"]) for row in rows(tmp_path / "diagnostics.csv")] == [("1.0", "")]
    again.after_iteration(learner)
    assert [(row["loss"], row["late"]) for row in rows(tmp_path / "diagnostics.csv")] == [("1.0", ""), ("2.0", "5.0")]


@pytest.mark.parametrize("table", ["progress.csv", "diagnostics.csv"])
def test_lost_rows_are_named(tmp_path: Path, learner: Any, table: str):
    session = make_session(tmp_path)
    learner.advance(500, loss=1.0)
    session.after_iteration(learner)
    learner.advance(500, loss=1.0)
    session.after_iteration(learner)
    session.checkpoint(learner)
    learner.advance(500, loss=1.0)
    session.after_iteration(learner)
    path = tmp_path / table
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(InputError, match=f"{table} has 1 rows; it had 2"):
        make_session(tmp_path, saved_state(tmp_path))
    assert len(rows(path)) == 1
