"""Checkpoints that are damaged, hostile or another run's: told in a line, nothing in them executed, no run lost."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import random
import re
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cartpole import TINY, tiny_options
from interrupted import Interrupter, Killed, files, frozen, outcome, snapshot, stopped_and_whole

from dyna_ail.algorithm import DynaAIL
from dyna_ail.cli import main
from dyna_ail.config import make_run_config, to_dict, with_values
from dyna_ail.demos import ExpertPairs
from dyna_ail.envs.tasks import get_task, make_env
from dyna_ail.errors import InputError
from dyna_ail.files import FORMAT
from dyna_ail.learning.state import global_random_state
from dyna_ail.records.folder import CHECKPOINT, PREVIOUS
from dyna_ail.records.reading import read_config
from dyna_ail.runs import checkpoint
from dyna_ail.runs.session import Session

TABLES = ("progress.csv", "diagnostics.csv")
Damage = Callable[[Path], None]
SETTINGS: dict[str, Any] = {
    **TINY,
    "interactions": 300,
    "steps_per_iteration": 100,
    "replay_capacity": 1000,
    "evaluation.every": 200,
    "safety.checkpoint_every": 50,
}


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory, demos: Path) -> tuple[Path, dict[str, Any]]:
    """A run stopped at 130 interactions, with a checkpoint there and one at 100; and what it would have come to."""
    folder = tmp_path_factory.mktemp("runs")
    config = make_run_config("dyna-ail", get_task("CartPole-v1").run_defaults, SETTINGS, demos=str(demos))
    return stopped_and_whole(config, folder, 130)


@pytest.fixture
def run(stopped_once: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Path:
    """A copy of the stopped run, in an otherwise empty working directory; figures are not drawn."""
    Interrupter(monkeypatch)
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(stopped_once[0], tmp_path / "run")
    capsys.readouterr()
    return folder


def load(path: Path) -> dict[str, Any]:
    """A sound checkpoint, as the file holds it."""
    return torch.load(path, weights_only=True)


def content(path: Path) -> dict[str, Any]:
    """A sound checkpoint, as it is read back."""
    state = load(path)
    del state["format"]
    return state


def resumed(folder: Path) -> int:
    """The exit code of the command."""
    return main(["train", "--resume", str(folder), "--no-progress"])


# Damage


class Evil:
    """Leaves a file behind when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_by_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def noise(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(1000))


def text(path: Path) -> None:
    path.write_text("dear diary")


def raw_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil()))


def pickled_by_torch(path: Path) -> None:
    torch.save(Evil(), path)


def pickled_by_old_torch(path: Path) -> None:
    torch.save(Evil(), path, _use_new_zipfile_serialization=False)


def pickled_within(path: Path) -> None:
    state = load(path)
    state["learner"]["expert"] = Evil()
    torch.save(state, path)


def pickled_tensors(path: Path) -> None:
    """A zip whose pickle is hostile and whose tensors are as they were."""
    rewritten(path, {"data.pkl": lambda data: pickle.dumps(Evil())})


def a_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def no_dictionary(path: Path) -> None:
    torch.save([1, 2], path)


def another_format(path: Path) -> None:
    torch.save({**load(path), "format": FORMAT + 1}, path)


def stretched(path: Path) -> None:
    """One number that claims to be 4 TB of them."""
    state = load(path)
    state["learner"]["generator"] = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save(state, path)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))


def bomb_that_lies(path: Path) -> None:
    """It claims to unpack to 64 bytes."""
    bomb(path)
    data = path.read_bytes()
    claimed = (100 << 20).to_bytes(4, "little")
    assert data.count(claimed) >= 1
    path.write_bytes(data.replace(claimed, (64).to_bytes(4, "little")))


def rewritten(path: Path, changes: dict[str, Callable[[bytes], bytes]]) -> None:
    """The archive with the content of some members changed and all checksums right."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            change = changes.get(name.partition("/")[2], lambda data: data)
            archive.writestr(name, change(data))


DAMAGED: list[tuple[Damage, str]] = [
    (emptied, "is no checkpoint, or a damaged one"),
    (truncated, "is no checkpoint, or a damaged one"),
    (cut_by_a_byte, "is no checkpoint, or a damaged one"),
    (noise, "is no checkpoint, or a damaged one"),
    (text, "is no checkpoint, or a damaged one"),
    (raw_pickle, "is no checkpoint, or a damaged one"),
    (pickled_by_torch, "is no checkpoint, or a damaged one"),
    (pickled_by_old_torch, "is no checkpoint, or a damaged one"),
    (pickled_within, "is no checkpoint, or a damaged one"),
    (pickled_tensors, "is no checkpoint, or a damaged one"),
    (a_script, "is no checkpoint, or a damaged one"),
    (no_dictionary, "is not a checkpoint of this version"),
    (another_format, "is not a checkpoint of this version"),
    (stretched, "is not a checkpoint of this version"),
    (bomb, "no checkpoint, or a damaged one: its tensors unpack to more"),
    (bomb_that_lies, "damaged"),
]
damaged = pytest.mark.parametrize(("damage", "message"), DAMAGED, ids=[damage.__name__ for damage, _ in DAMAGED])


def left_over(folder: Path) -> set[str]:
    """What is in the working directory besides the run."""
    return files(folder.parent) - {folder.name}


@damaged
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_all_checkpoints_damaged(damage: Damage, message: str, run: Path, capsys):
    for name in (CHECKPOINT, PREVIOUS):
        damage(run / name)
    before = snapshot(run)
    assert resumed(run) == 2
    said = capsys.readouterr()
    assert not said.out
    newest, previous, error = said.err.splitlines()
    for line, name in ((newest, CHECKPOINT), (previous, PREVIOUS)):
        assert re.match(f"warning: '?{run / name}'? .*{message}|warning: '?{run / name}'? {message}", line), line
        assert len(line) < 450
    assert error == f"error: no checkpoint in {run} can be used. Start over: dyna-ail train --out {run} --force ..."
    assert not left_over(run)
    assert snapshot(run) == before


def of_other_networks(path: Path) -> None:
    state = load(path)
    state["learner"]["parts"]["policy"]["action_net.bias"] = torch.zeros(3)
    torch.save(state, path)


@pytest.mark.parametrize("number", [None, FORMAT - 1, FORMAT + 1, "2"])
def test_a_checkpoint_of_another_format_is_told_in_one_line(number: object, run: Path, capsys):
    (run / PREVIOUS).unlink()
    torch.save({"format": number, **content(run / CHECKPOINT)}, run / CHECKPOINT)
    before = snapshot(run)
    assert resumed(run) == 2
    said = capsys.readouterr()
    assert not said.out
    warning, error = said.err.splitlines()
    assert warning == f"warning: '{run / CHECKPOINT}' is not a checkpoint of this version of dyna-ail."
    assert error == f"error: no checkpoint in {run} can be used. Start over: dyna-ail train --out {run} --force ..."
    assert snapshot(run) == before


@pytest.mark.parametrize("damage", [truncated, pickled_within, another_format, of_other_networks])
def test_the_newest_damaged_the_one_before_is_used(damage: Damage, run: Path, stopped_once: tuple[Path, Any], capsys):
    damage(run / CHECKPOINT)
    assert resumed(run) == 0
    said = capsys.readouterr()
    (warning,) = said.err.splitlines()
    assert warning.startswith("warning: ") and str(run / CHECKPOINT) in warning
    assert said.out.startswith("resumed at 100 interactions\n")
    assert outcome(run) == stopped_once[1]
    assert not left_over(run)
    assert not {CHECKPOINT, PREVIOUS} & files(run)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (MemoryError(), "error: out of memory: MemoryError."),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "error: out of memory: .*"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "checkpoint.pt"), "error: cannot use checkpoint.pt: .*"),
    ],
)
def test_a_failure_of_the_machine_does_not_cost_the_newest(
    failure: Exception, message: str, run: Path, stopped_once: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, capsys
):
    before = snapshot(run)

    def failing(*_: object, **__: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", failing)
        assert resumed(run) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(message, line)
    assert snapshot(run) == before
    assert resumed(run) == 0
    assert capsys.readouterr().out.startswith("resumed at 130 interactions\n")
    assert outcome(run) == stopped_once[1]


def test_the_newest_missing_the_one_before_is_used(run: Path, stopped_once: tuple[Path, Any], capsys):
    """As after a crash between the two renamings."""
    (run / CHECKPOINT).unlink()
    assert resumed(run) == 0
    assert outcome(run) == stopped_once[1]
    assert not capsys.readouterr().err


def test_a_flipped_bit_in_any_member_is_seen(run: Path):
    path = run / CHECKPOINT
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.file_size]
    assert len(members) > 100
    for info in members:
        name_length, extra_length = (int.from_bytes(whole[info.header_offset + i :][:2], "little") for i in (26, 28))
        at = info.header_offset + 30 + name_length + extra_length + info.file_size // 2
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        _, found = next(checkpoint.saved(run))
        assert isinstance(found, InputError), info.filename
        assert info.filename in str(found)


def test_a_member_that_became_a_folder_is_seen(run: Path):
    """Python's zipfile goes by the name, torch by the attributes: it reads nothing and tells nobody."""
    path = run / CHECKPOINT
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names, at = [info.filename for info in archive.infolist()], archive.start_dir
    for name in names:
        data = bytearray(whole)
        data[at + 38] ^= 0x10  # the folder's bit in the external attributes
        path.write_bytes(data)
        _, found = next(checkpoint.saved(run))
        assert isinstance(found, InputError) and name in str(found)
        at += 46 + sum(int.from_bytes(whole[at + i : at + i + 2], "little") for i in (28, 30, 32))


def test_a_flipped_byte_anywhere_is_seen_or_does_no_harm(run: Path):
    path, draw = run / CHECKPOINT, random.Random(0)
    whole, expected = path.read_bytes(), frozen(content(path))
    seen = 0
    for _ in range(150):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        _, found = next(checkpoint.saved(run))
        seen += isinstance(found, InputError)
        assert isinstance(found, InputError) or frozen(found) == expected
    assert seen > 50


def test_a_path_that_leads_out_is_not_followed(run: Path, stopped_once: tuple[Path, Any]):
    for name in (CHECKPOINT, PREVIOUS):
        with zipfile.ZipFile(run / name, "a") as archive:
            for out in ("../evil", "archive/../../evil", str(run.parent / "evil")):
                archive.writestr(out, "evil")
    assert resumed(run) in (0, 2)
    assert not left_over(run)


def test_a_damaged_checkpoint_never_takes_the_place_of_a_sound_one(
    run: Path, stopped_once: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
):
    """Killed in the middle of the first checkpoint after falling back: the one fallen back to must still be there."""
    truncated(run / CHECKPOINT)
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == CHECKPOINT:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            resumed(run)
    assert resumed(run) == 0
    assert outcome(run) == stopped_once[1]


def test_it_is_on_the_disk_before_any_earlier_one_gives_way(run: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a crash of the machine could leave the new name with nothing in it."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("sync") or sync(handle))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append(paths[1].name) or replace(*paths))
    checkpoint.save(run, {"a": torch.zeros(1)})
    assert done[0] == "sync" and [name for name in done if name != "sync"] == [PREVIOUS, CHECKPOINT]


# A full disk


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, int], None]]:
    """After so many interactions no file may grow beyond so many bytes: like a full disk, for this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before_step = Session.before_step

    def set_limit(at: int, size: int) -> None:
        def limited(session: Session, learner: Any) -> None:
            if learner.interactions == at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            before_step(session, learner)

        monkeypatch.setattr(Session, "before_step", limited)

    yield set_limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("every", "saved_at", "size"),
    [(50, 100, 64), (50, 100, 0.6), (50, 100, 0.99), (110, 110, 10_000), (110, 110, 150)],
    ids=["as a checkpoint begins", "in a checkpoint", "as it ends", "in the policy", "in a row"],
)
def test_a_full_disk_is_told_and_the_run_goes_on_later(
    every: int,
    saved_at: int,
    size: float,
    demos: Path,
    stopped_once: tuple[Path, Any],
    tmp_path: Path,
    limit: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    Interrupter(monkeypatch)
    monkeypatch.chdir(tmp_path)
    limit(120, int(size if size > 1 else size * (stopped_once[0] / CHECKPOINT).stat().st_size))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    options = tiny_options(**{**SETTINGS, "safety.checkpoint_every": every, "demos": demos, "out": "run"})
    code = main(["train", *options, "--no-progress"])
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert re.fullmatch(
        f"error: cannot write to run: File too large. saved at {saved_at} interactions; "
        "go on with: dyna-ail train --resume run\n",
        said.err,
    ), said.err
    _, state = next(checkpoint.saved(Path("run")))
    assert isinstance(state, dict) and state["learner"]["rollout"]["interactions"] == saved_at
    assert files(Path("run")) <= {CHECKPOINT, PREVIOUS, "config.json", "versions.json", "policy.zip", *TABLES}
    for name in TABLES:
        assert Path("run", name).read_text().endswith("\n") or not Path("run", name).stat().st_size

    limit(-1, 0)
    assert main(said.err.partition("dyna-ail ")[2].split()) == 0
    assert outcome(Path("run")) == stopped_once[1]


# Contents that do not fit


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """Where something was changed, and the value with the change: a part missing, of another type or another shape."""
    if isinstance(value, dict):
        for key in value:
            yield f"{key} missing", {name: inner for name, inner in value.items() if name != key}
            for where, changed in mutations(value[key]):
                yield f"{key}.{where}", {**value, key: changed}
        return
    yield "another type", "x" if not isinstance(value, str) else 7
    if isinstance(value, torch.Tensor):
        yield "another shape", value[None]
        yield "empty", value.flatten()[:0]
        if value.dim():
            yield "a row more", torch.cat([value, value[:1]])
    elif isinstance(value, list | tuple):
        yield "shorter", value[:-1]
        for index, inner in enumerate(value[:8]):
            for where, changed in mutations(inner):
                yield f"{index}.{where}", type(value)([*value[:index], changed, *value[index + 1 :]])


HARMLESS = "|".join(
    (
        r"learner\.rollout\.noise\.a row more",  # a longer segment
        r"learner\.rollout\.start\.\d\.action_space\..*",  # no episode draws from it
        r"learner\.random\.python\.2\.another type",  # what random.gauss gives next
        r"learner\..*(optimizer|_extra_state).*(state\.\d+|param_groups\.\d+\.\w+) missing",
    )
)


def test_whatever_does_not_fit_is_seen_before_it_is_used(run: Path):
    config, state = read_config(run), content(run / CHECKPOINT)

    def build(state: dict[str, Any]) -> DynaAIL:
        pairs = ExpertPairs(*(column.numpy() for column in state["learner"]["expert"]))
        return DynaAIL(make_env(config.task), pairs, config.learner)

    def restore(learner: DynaAIL, state: dict[str, Any]) -> None:
        checkpoint.check(state, config)
        assert learner.load_state_dict(state["learner"]), "else the warning tells that a new episode begins"

    learner = build(state)
    restore(learner, copy.deepcopy(state))
    accepted = []
    for where, changed in mutations(state):
        if re.fullmatch(HARMLESS, where):
            continue
        try:
            restore(build(changed) if where.startswith("learner.expert") else learner, changed)
        except Exception:
            continue
        accepted.append(where)
    assert not accepted, "\n".join(accepted)


# The other files of the run


def with_value(name: str, value: object) -> str:
    """A configuration with one setting replaced."""
    return json.dumps({**to_dict(make_run_config("dyna-ail", SETTINGS)), name: value})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", ""),
        ("config.json", "[" * 100_000),
        ("config.json", "7"),
        ("config.json", "\xff\xfe"),
        ("config.json", '{"sneed": 3}'),
        ("config.json", with_value("seed", "os.system('touch executed')")),
        ("config.json", with_value("policy", {"hidden": [8, {"a": 1}]})),
        ("config.json", with_value("policy", None)),
        ("config.json", with_value("task", "../../CartPole-v1")),
        ("config.json", with_value("task", 7)),
        ("versions.json", ""),
        ("versions.json", "[" * 100_000),
        ("versions.json", "[]"),
        ("versions.json", "{}"),
        ("versions.json", '{"references": {"random": "a", "expert": 1}}'),
        ("versions.json", '{"references": {"random": 0, "expert": 1}, "versions": 7}'),
        ("versions.json", '{"references": {"random": 0, "expert": 1}, "resumed": 7}'),
    ],
)
def test_other_files_that_cannot_be_understood(name: str, content: str, run: Path, capsys):
    (run / name).write_bytes(content.encode("latin-1"))
    before = snapshot(run)
    assert resumed(run) == 2
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    assert line.startswith("error: ") and (name in line or "unknown task" in line) and len(line) < 450, line
    assert snapshot(run) == before
    assert not left_over(run)


def test_a_normal_number_in_waiting_is_kept(run: Path, monkeypatch: pytest.MonkeyPatch):
    """Python's generator makes two at a time."""
    random.seed(0)
    random.gauss(0, 1)
    waiting = random.getstate()
    saved = load(run / CHECKPOINT)
    saved["learner"]["random"] = global_random_state()
    torch.save(saved, run / CHECKPOINT)
    random.seed(1)
    found: list[object] = []
    monkeypatch.setattr("dyna_ail.algorithm.DynaAIL.learn", lambda *_, **__: found.append(random.getstate()))
    assert resumed(run) == 0
    assert found == [waiting]


SETTING = [("policy.hidden", (9,)), ("planner.tail", False), ("task", "Acrobot-v1"), ("seed", 3), ("demos", None)]


@pytest.mark.parametrize(("setting", "value"), SETTING)
def test_another_configuration(setting: str, value: object, run: Path, capsys):
    """Edited by hand, and then neither the one run nor the other."""
    config = with_values(read_config(run), {setting: value})
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    assert resumed(run) == 2
    *warnings, error = capsys.readouterr().err.splitlines()
    assert [line.split(" does not fit: ")[0] for line in warnings] == [
        f"warning: '{run / name}'" for name in (CHECKPOINT, PREVIOUS)
    ]
    assert error.startswith(f"error: no checkpoint in {run} can be used.")


def test_what_no_result_depends_on_may_change(run: Path, stopped_once: tuple[Path, Any]):
    """Such as the time that a step may take, after one took longer."""
    config = with_values(read_config(run), {"safety.step_timeout": 5.0, "safety.checkpoint_minutes": 1.0})
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    assert resumed(run) == 0
    assert outcome(run) == stopped_once[1]
