"""Figures: how runs are grouped and labelled, what is drawn, and which folders are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from runs import make_run

from dyna_ail.config import make_run_config
from dyna_ail.errors import InputError
from dyna_ail.records.reading import read
from dyna_ail.reports.groups import by_setting, settings
from dyna_ail.reports.plots import learning_curves
from dyna_ail.reports.plots.curves import _panel
from dyna_ail.reports.plots.style import styles


def panel(*folders: Path) -> Axes:
    axes = Figure().subplots()
    groups = by_setting([read(folder) for folder in folders])
    _panel(axes, groups, styles([groups]))
    return axes


def test_runs_that_differ_in_seed_alone_are_one_setting():
    configs = [make_run_config(seed=0), make_run_config(seed=1), make_run_config("gail"), make_run_config("bc", seed=2)]
    assert settings(configs) == ["dyna-ail", "dyna-ail", "gail", "bc"]


def test_settings_of_one_preset_are_told_apart_by_what_differs():
    configs = [
        make_run_config(),
        make_run_config(**{"planner.horizon": 7, "policy.hidden": (8, 8)}),
        make_run_config("gail"),
    ]
    assert settings(configs) == [
        "dyna-ail, policy.hidden=[100,50], planner.horizon=5",
        "dyna-ail, policy.hidden=[8,8], planner.horizon=7",
        "gail",
    ]


def test_ablations_are_named_by_what_each_leaves_out():
    without = [{"planner.tail": False}, {"planner.cloning": 0.0}, {"model_free.method": "none"}]
    assert settings([make_run_config(**values) for values in [{}, *without]]) == [
        "dyna-ail",
        "dyna-ail, planner.tail=false",
        "dyna-ail, planner.cloning=0.0",
        "dyna-ail, model_free.method=none",
    ]


def test_a_setting_looks_the_same_in_all_panels(tmp_path: Path):
    hopper = by_setting([read(make_run(tmp_path / name, [0, 50], preset=name)) for name in ("mgail", "gail")])
    cheetah = by_setting([read(make_run(tmp_path / "other", [0, 50], preset="gail", task="HalfCheetah-v5"))])
    looks = styles([hopper, cheetah])
    drawn = []
    for groups in (hopper, cheetah):
        axes = Figure().subplots()
        _panel(axes, groups, looks)
        drawn.append({str(line.get_label()).split()[0]: (line.get_color(), line.get_marker()) for line in axes.lines})
    assert drawn[0]["gail"] == drawn[1]["gail"] != drawn[0]["mgail"]


def test_a_run_that_has_just_begun_is_no_level_line(tmp_path: Path):
    axes = panel(make_run(tmp_path / "begun", [10.0]), make_run(tmp_path / "bc", [50.0], preset="bc"))
    extents = {str(line.get_label()).split()[0]: list(line.get_xdata()) for line in axes.lines}
    assert extents["dyna-ail"] == [0] and extents["bc"] == [0, 1]


def test_single_run_is_drawn_as_it_is(tmp_path: Path):
    axes = panel(make_run(tmp_path / "run", [0, 50, 90], seed=3))
    (curve,) = (line for line in axes.lines if line.get_label() == "dyna-ail (seed 3)")
    np.testing.assert_allclose(curve.get_xdata(), [0, 2000, 4000])
    np.testing.assert_allclose(curve.get_ydata(), [0, 50, 90])
    assert axes.get_title() == "Hopper-v5, 4 demonstrations, every 20th pair"
    assert axes.get_xlabel() == "environment interactions"
    assert {text.get_text(): text.get_position()[1] for text in axes.texts} == {"expert": 100.0, "random": 0.0}
    assert not axes.collections  # no band around one seed


def test_seeds_are_drawn_as_interquartile_mean_with_a_band(tmp_path: Path):
    folders = [make_run(tmp_path / str(seed), [0, 10.0 * seed, 100], seed=seed) for seed in range(5)]
    axes = panel(*folders)
    (curve,) = (line for line in axes.lines if "5 seeds" in str(line.get_label()))
    np.testing.assert_allclose(curve.get_ydata(), [0, 20, 100])  # mean of 10, 20, 30
    low, high = (extent(axes.collections[0].get_paths()[0].vertices[:, 1]) for extent in (np.min, np.max))
    assert low == 0
    assert high == 100
    assert len(axes.lines) == 5 + 1 + 2  # seeds, their mean, expert and random


def test_interrupted_seed_ends_the_mean_and_not_the_other_seed(tmp_path: Path):
    axes = panel(make_run(tmp_path / "0", [0, 10, 20], seed=0), make_run(tmp_path / "1", [0, 20], seed=1))
    (curve,) = (line for line in axes.lines if "2 seeds" in str(line.get_label()))
    np.testing.assert_allclose(curve.get_xdata(), [0, 2000])
    assert max(line.get_xdata()[-1] for line in axes.lines[:2]) == 4000  # type: ignore[index]


def test_run_without_interactions_is_a_level_line(tmp_path: Path):
    axes = panel(make_run(tmp_path / "a", [0, 50, 90]), make_run(tmp_path / "b", [70], preset="bc"))
    (curve,) = (line for line in axes.lines if str(line.get_label()).startswith("bc"))
    np.testing.assert_allclose(curve.get_xdata(), [0, 4000])
    np.testing.assert_allclose(curve.get_ydata(), [70, 70])


def test_settings_differ_in_colour_dashes_and_marker(tmp_path: Path):
    axes = panel(make_run(tmp_path / "a", [0, 1]), make_run(tmp_path / "b", [1, 2], preset="gail"))
    first, second = (line for line in axes.lines if "seed" in str(line.get_label()))
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


def test_title_leaves_out_demonstrations_that_differ(tmp_path: Path):
    axes = panel(make_run(tmp_path / "a", [0, 1]), make_run(tmp_path / "b", [1, 2], trajectories=1))
    assert axes.get_title() == "Hopper-v5"
    assert panel(make_run(tmp_path / "c", [0, 1], trajectories=1, every=1)).get_title() == (
        "Hopper-v5, 1 demonstration, all pairs"
    )


def test_one_run_gives_a_png_and_several_a_pdf_and_the_numbers_too(tmp_path: Path):
    first, second = make_run(tmp_path / "a", [0, 90]), make_run(tmp_path / "b", [0, 80], seed=1)
    assert learning_curves([first], tmp_path / "one.png") == [tmp_path / "one.png"]
    assert learning_curves([first, first], tmp_path / "one.png") == [tmp_path / "one.png"], "one run given twice"
    files = learning_curves([first, second], tmp_path / "new" / "two.v1.png")
    assert files == [tmp_path / "new" / f"two.v1.{kind}" for kind in ("png", "pdf", "csv")]
    assert all(file.stat().st_size > 1000 for file in files[:2])
    height, width = imread(files[0]).shape[:2]
    assert (width, height) == (960, 630)


def test_a_figure_drawn_on_another_day_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = [make_run(tmp_path / "a", [0, 90]), make_run(tmp_path / "b", [0, 80], seed=1)]
    drawn = []
    for day in ("0", "86400"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)  # what matplotlib takes for the time
        drawn.append([file.read_bytes() for file in learning_curves(runs, tmp_path / day / "two.png")])
    assert drawn[0] == drawn[1]


def test_more_than_three_tasks_take_several_rows(tmp_path: Path):
    tasks = ("Hopper-v5", "CartPole-v1", "Acrobot-v1", "Walker2d-v5")
    png, *_ = learning_curves([make_run(tmp_path / task, [0, 90], task=task) for task in tasks], tmp_path / "tasks.png")
    assert imread(png).shape[:2] == (2 * 630, 3 * 960)


def test_each_task_has_its_panel(tmp_path: Path):
    folders = [make_run(tmp_path / "a", [0, 90]), make_run(tmp_path / "b", [0, 80], task="CartPole-v1")]
    png, *_ = learning_curves(folders, tmp_path / "tasks.png")
    assert imread(png).shape[1] == 2 * 960


def test_study_without_versions_is_drawn(tmp_path: Path):
    folder = make_run(tmp_path / "a", [0, 90])
    (folder / "versions.json").unlink()
    assert learning_curves([folder], tmp_path / "one.png")[0].exists()


HEADER = "interactions,imagined,return_mean,return_std,score,seconds\n"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("progress.csv", "", "holds no evaluation"),
        ("progress.csv", HEADER, "holds no evaluation"),
        ("progress.csv", "interactions,score\n0,1\n", "lacks the columns imagined, return_mean"),
        ("progress.csv", HEADER + "0,0,x,1,1,1\n", "damaged"),
        ("progress.csv", HEADER + "0,0,1\n", "damaged"),
        ("progress.csv", HEADER + "0,0,1,1,1,1,7\n", "damaged"),
        (
            "progress.csv",
            HEADER + "nan,0,1,1,1,1\n",
            "interactions must rise from 0",
        ),
        (
            "progress.csv",
            HEADER + "0,0,1,1,1,1\n0,0,1,1,1,1\n",
            "interactions must rise from 0",
        ),
        (
            "progress.csv",
            HEADER + "500,0,1,1,1,1\n",
            "interactions must rise from 0",
        ),
        ("progress.csv", "\x00\x01\xff", "progress.csv"),
        ("config.json", "{", "cannot be read as JSON"),
        ("config.json", "[]", "must hold a JSON object"),
        ("config.json", '{"sede": 1}', "unknown setting 'sede'"),
        ("versions.json", "?", "cannot be read as JSON"),
        ("versions.json", '{"references": 3}', "versions.json"),
    ],
)
def test_damaged_run_is_refused(tmp_path: Path, file: str, text: str, message: str):
    folder = make_run(tmp_path / "run", [0, 90])
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=message):
        learning_curves([folder], tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


def test_long_labels_take_several_lines(tmp_path: Path):
    demos = "a/very/long/path/to/the/demonstrations/" * 5 + "demos.npz"
    runs = [make_run(tmp_path / "a", [0, 90], demos=demos), make_run(tmp_path / "b", [0, 90], demos=demos[2:])]
    axes = panel(*runs)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert all(len(line) <= 72 for text in texts for line in text.splitlines())
    assert "".join(texts[0].split()) == f"dyna-ail,demos={demos}(seed0)"


def test_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"no config\.json"):
        learning_curves([tmp_path], tmp_path / "figure.png")
    with pytest.raises(InputError, match="not a folder"):
        learning_curves([tmp_path / "missing"], tmp_path / "figure.png")
    with pytest.raises(InputError, match="no run"):
        learning_curves([], tmp_path / "figure.png")


def test_figure_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write the figure"):
        learning_curves([make_run(tmp_path / "run", [0, 90])], tmp_path / "file" / "figure.png")
