"""Figures that compare settings or show what happened inside runs: what is drawn, and the numbers beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from runs import make_run

from dyna_ail.cli import main
from dyna_ail.errors import InputError
from dyna_ail.reports.plots import diagnostics_page, held_interactions, planning_share, scores_at


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def drawn(files: list[Path], out: Path) -> list[dict[str, str]]:
    """The numbers beside a figure, after a look at whether there is one."""
    assert files == [out.with_suffix(suffix) for suffix in (".png", ".pdf", ".csv")]
    assert imread(files[0])[..., :3].std() > 0.05 and files[1].read_bytes().startswith(b"%PDF")
    return rows(files[2])


def study(folder: Path) -> list[Path]:
    """Two horizons, three seeds each; with T_p = 5 seed 2 never holds 90%."""
    runs = []
    for horizon, first in ((5, 4), (10, 2)):
        for seed in range(3):
            level = 95 if (horizon, seed) != (5, 2) else 60
            returns = [10.0] * (first + seed) + [level] * (10 - first - seed)
            values = {"interactions": 18_000, "planner.horizon": horizon}
            runs.append(make_run(folder / f"{horizon}-{seed}", returns, seed=seed, **values))
    return runs


def test_held_interactions_against_a_setting(tmp_path: Path):
    out = tmp_path / "held.png"
    # Touching it is not holding it.
    touches = make_run(tmp_path / "5-3", [10.0, 95.0, *[10.0] * 8], seed=3, interactions=18_000)
    found = drawn(held_interactions([*study(tmp_path), touches], out), out)
    medians = [(row["planner.horizon"], float(row["median"])) for row in found if row["median"]]
    assert medians == [("5", np.inf), ("10", 6000)]
    assert [(row["planner.horizon"], row["seed"], row["held_from"]) for row in found if row["seed"]] == [
        ("5", "0", "8000"),
        ("5", "1", "10000"),
        ("5", "2", ""),
        ("10", "0", "4000"),
        ("10", "1", "6000"),
        ("10", "2", "8000"),
        ("5", "3", ""),
    ]
    assert {row["setting"] for row in found} == {"dyna-ail"}  # the horizon itself tells no settings apart


def test_a_run_that_may_still_hold_it_is_not_drawn_as_one_that_does_not(tmp_path: Path):
    runs = [
        make_run(tmp_path / "holds", [10.0, *[95.0] * 3], interactions=18_000),
        make_run(tmp_path / "part", [10.0, 80.0], seed=1, interactions=18_000),
    ]
    with pytest.raises(InputError, match="part is not finished, at 2,000 of 18,000 interactions"):
        held_interactions(runs, tmp_path / "held.png")
    held_interactions(runs[:1], tmp_path / "held.png")
    with pytest.raises(InputError, match="bc has fewer evaluations than 3, too few to hold"):
        held_interactions([make_run(tmp_path / "bc", [99.0], preset="bc")], tmp_path / "held.png")


def test_held_interactions_only_against_numbers(tmp_path: Path):
    run = make_run(tmp_path / "run", [0.0, 95.0])
    for key in ("planner.method", "planner.horizn", "planner.tail"):
        with pytest.raises(InputError, match=f"{key} is no setting with a number"):
            held_interactions([run], tmp_path / "held.png", key)


def test_scores_at_a_budget(tmp_path: Path):
    out = tmp_path / "score.pdf"
    found = drawn(scores_at(study(tmp_path), out, 7000), out)
    assert [float(row["score"]) for row in found] == [0.1, 0.1, 0.1, 0.95, 0.95, 0.1]  # the evaluation at 6,000
    assert found[0]["setting"] == "dyna-ail, planner.horizon=5"


def test_no_score_at_a_budget_that_a_run_has_not_reached(tmp_path: Path):
    out = tmp_path / "score.png"
    cloned = make_run(tmp_path / "bc", [30.0], preset="bc")
    whole, part = make_run(tmp_path / "whole", [0.0, 50.0, 90.0]), make_run(tmp_path / "part", [0.0, 80.0], seed=1)
    found = drawn(scores_at([cloned, whole], out, 4000), out)
    assert [float(row["score"]) for row in found] == [0.3, 0.9]  # cloning takes no interaction at all
    with pytest.raises(InputError, match="part has 2,000 interactions, not 4,000"):
        scores_at([whole, part], out, 4000)
    longer = make_run(tmp_path / "longer", [0.0, 50.0, 90.0], seed=2, interactions=60_000)
    found = drawn(scores_at([whole, longer], out, 4000), out)
    assert [row["setting"] for row in found] == ["dyna-ail", "dyna-ail"]  # a longer budget is no other setting
    with pytest.raises(InputError, match="at least 0; got -1"):
        scores_at([whole], out, -1)


def test_a_run_without_a_score_is_not_one_that_never_held_it(tmp_path: Path):
    run = make_run(tmp_path / "run", [float("nan")] * 4)
    with pytest.raises(InputError, match="run has no score"):
        held_interactions([run], tmp_path / "held.png")


def with_diagnostics(folder: Path, columns: Mapping[str, Sequence[Any]], **values: object) -> Path:
    run = make_run(folder, [0.0, 50.0, 100.0], **values)  # type: ignore[arg-type]
    lines = [",".join(columns), *(",".join(map(str, line)) for line in zip(*columns.values(), strict=True))]
    (run / "diagnostics.csv").write_text("\n".join(lines) + "\n")
    return run


def test_planning_share(tmp_path: Path):
    columns = {"interactions": [500, 1000], "seconds": [10, 40], "seconds/planner": [4, 8], "seconds/model": [2, 6]}
    run = with_diagnostics(tmp_path / "run", columns)
    out = tmp_path / "share.png"
    assert [float(row["share"]) for row in drawn(planning_share([run], out), out)] == [0.5]
    start = {"interactions": 0, "seconds": 1, "seconds/planner": "", "seconds/model": ""}
    cloned = with_diagnostics(tmp_path / "cloned", {name: [start[name], *column] for name, column in columns.items()})
    assert [float(row["share"]) for row in drawn(planning_share([cloned], out), out)] == [0.5]


def test_the_page_of_diagnostics(tmp_path: Path):
    errors = {f"model/error_{depth}": [0.1 * depth, 0.05 * depth] for depth in (1, 2, 10)}
    accuracy = {"discriminator/accuracy_policy": [0.5, 0.9], "discriminator/accuracy_expert": [0.6, 0.8]}
    runs = [
        with_diagnostics(
            tmp_path / str(norm),
            {"interactions": [500, 1000], "seconds": [1, 2], **accuracy, **errors, "planner/grad_norm": [norm, 3.0]},
            seed=seed,
        )
        for seed, norm in enumerate((1, "nan", 2, 4))  # a run that has no number there hides no other
    ]
    out = tmp_path / "page.png"
    found = drawn(diagnostics_page(runs, out), out)
    norms = [float(row["median"]) for row in found if row["column"] == "planner/grad_norm"]
    assert norms == [2.0, 3.0]
    depths = list(dict.fromkeys(row["column"] for row in found if row["column"].startswith("model/error_")))
    assert depths == ["model/error_1", "model/error_2", "model/error_10"]  # by number, not by letter


def test_a_cloned_start_is_not_on_the_page(tmp_path: Path):
    columns: dict[str, list[Any]] = {
        "interactions": [0, 500, 1000],
        "cloning/grad_norm": [2.0, "", ""],
        "planner/grad_norm": ["", 1.0, 3.0],
    }
    out = tmp_path / "page.png"
    found = drawn(diagnostics_page([with_diagnostics(tmp_path / "run", columns)], out), out)
    assert [(row["column"], float(row["median"])) for row in found] == [
        ("planner/grad_norm", 1.0),
        ("planner/grad_norm", 3.0),
    ]


def test_several_settings_on_a_page_show_the_first_and_the_last_depth(tmp_path: Path):
    errors = {f"model/error_{depth}": [0.1, 0.2] for depth in (1, 2, 3)}
    columns = {"interactions": [500, 1000], **errors}
    runs = [with_diagnostics(tmp_path / preset, columns, preset=preset) for preset in ("dyna-ail", "mgail")]
    out = tmp_path / "page.png"
    found = drawn(diagnostics_page(runs, out), out)
    assert {row["column"] for row in found} == {"model/error_1", "model/error_3"}
    assert {row["setting"] for row in found} == {"dyna-ail", "mgail"}
    assert imread(out).shape[1] == 2 * 630  # side by side: in one panel a line would tell no column


def test_a_page_shows_five_depths_at_most(tmp_path: Path):
    errors = {f"model/error_{depth}": [0.1, 0.2] for depth in range(1, 51)}
    run = with_diagnostics(tmp_path / "run", {"interactions": [500, 1000], **errors})
    out = tmp_path / "page.png"
    found = [row["column"] for row in drawn(diagnostics_page([run], out), out)]
    assert list(dict.fromkeys(found)) == [f"model/error_{depth}" for depth in (1, 13, 25, 37, 50)]


def test_a_page_is_for_one_task_and_needs_iterations(tmp_path: Path):
    hopper, cartpole = (make_run(tmp_path / t, [1.0], task=t) for t in ("Hopper-v5", "CartPole-v1"))
    with pytest.raises(InputError, match="for one task"):
        diagnostics_page([hopper, cartpole], tmp_path / "page.png")
    nameless = with_diagnostics(tmp_path / "nameless", {"policy/std": [0.2]})
    with pytest.raises(InputError, match="lacks the column interactions"):
        diagnostics_page([nameless], tmp_path / "page.png")
    cloned = with_diagnostics(tmp_path / "bc", {"interactions": [0], "policy/std": [0.2]}, preset="bc")
    for run in (hopper, cloned):
        with pytest.raises(InputError, match="holds no iteration"):
            diagnostics_page([run], tmp_path / "page.png")


def test_diagnostics_that_are_no_text_are_refused(tmp_path: Path):
    run = make_run(tmp_path / "run", [0.0, 95.0])
    (run / "diagnostics.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"diagnostics\.csv cannot be read"):
        diagnostics_page([run], tmp_path / "page.png")


def test_a_run_s_tables_are_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run", [0.0, 95.0])
    for name in ("progress", "diagnostics"):
        assert main(["plot", str(run), "--score", "5000", "--out", str(run / f"{name}.png")]) == 2
        assert "would overwrite a run's table" in capsys.readouterr().err
    assert len(rows(run / "progress.csv")) == 2


def test_one_figure_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run", [0.0, 95.0])
    assert main(["plot", str(run), "--score", "0", "--share"]) == 2
    assert "one figure at a time: give one of --score, --share" in capsys.readouterr().err
    assert main(["plot", str(run), "--score", "2000"]) == 0
    assert capsys.readouterr().out.split() == [str(run / f"score_figure.{kind}") for kind in ("png", "pdf", "csv")]


def test_numbers_beside_learning_curves(tmp_path: Path):
    runs = study(tmp_path)
    assert main(["plot", *map(str, runs), "--out", str(tmp_path / "curves.png")]) == 0
    ten = [row for row in rows(tmp_path / "curves.csv") if row["setting"].endswith("horizon=10")]
    raw, found = ([row for row in ten if bool(row["seed"]) == single] for single in (True, False))
    assert [row["seed"] for row in raw] == ["0"] * 10 + ["1"] * 10 + ["2"] * 10
    assert [float(row["return"]) for row in raw[:10]] == [10.0] * 2 + [95.0] * 8
    assert [float(row["interactions"]) for row in found] == [2000.0 * i for i in range(10)]
    np.testing.assert_allclose([float(row["return_iqm"]) for row in found[:2]], 10)
    assert all(float(row["low"]) <= float(row["return_iqm"]) <= float(row["high"]) for row in found)
