"""Write the tables in the studies' pages anew from the runs beside them: ``python results/tables.py``.

In a page a table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dyna_ail.reports.tables import scores

RESULTS = Path(__file__).resolve().parent
INTERACTIONS, ABLATION, PAPER, OWN = (
    RESULTS / study for study in ("interactions", "ablation", "dyna_ail", "own_environment")
)
CLASSIC = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"]
TASKS = [*CLASSIC, "Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"]
PRESETS = ["dyna-ail", "dyna-mgail", "mgail", "dyna-trpo", "gail", "bc"]
HELD = "interactions to held 90%"
SCORES = ["best score", "final score", "interquartile mean"]
KEPT = [HELD, "median", *SCORES, "least once held"]
OTHERS = {  # from few demonstrations, from 64, model-based RL with the true reward, this project's target
    "CartPole-v1": ["offline", "", "", "3,000"],
    "Acrobot-v1": ["offline", "", "", "5,000"],
    "MountainCar-v0": ["unknown (budget 1,500,000)", "", "", "10,000"],
    "Hopper-v5": ["220,000 to 250,000", "60,000", "30,000", "15,000"],
    "Walker2d-v5": ["475,000", "120,000", "40,000 to 50,000", "60,000"],
    "HalfCheetah-v5": ["67,000", "", "20,000", "30,000"],
    "Ant-v5": ["125,000", "22,000", "30,000 to 40,000", "60,000"],
    "Humanoid-v5": ["550,000", "89,000", "50,000 to 110,000", "200,000"],
}
PARTS = {
    "the default": INTERACTIONS / "Hopper-v5/dyna-ail",
    "no planning: `--preset model-free`": ABLATION / "planning/Hopper-v5/model-free",
    "no TRPO: `--preset model-based`": ABLATION / "trpo/Hopper-v5/model-based",
    "no tail: `--planner.no_tail`": ABLATION / "tail/Hopper-v5/dyna-ail",
    "no cloning loss: `--planner.cloning 0`": ABLATION / "cloning/Hopper-v5/dyna-ail",
    "no averaging: `--policy.averaging 1`": ABLATION / "averaging/Hopper-v5/dyna-ail",
    "noise as it comes: `--policy.least_std 0`": ABLATION / "noise/Hopper-v5/dyna-ail",
    "all of `B` alike for `D`: `--discriminator.recent 0`": ABLATION / "recent/Hopper-v5/dyna-ail",
    "iterations of 500: `--steps_per_iteration 500`": ABLATION / "short_iterations/Hopper-v5/dyna-ail",
    "T_p = 10: `--planner.horizon 10`": ABLATION / "short_horizon/Hopper-v5/dyna-ail",
    "no episode cut off: `--lost_after 0`": ABLATION / "lost/Hopper-v5/dyna-ail",
    "critics on imagined steps alone: `--planner.critic.real_updates 0`": ABLATION / "real_updates/Hopper-v5/dyna-ail",
}

Cells = dict[str, str]
"""A setting's line of ``dyna-ail table``, by column."""


def cells(folder: Path, until: int | None = None) -> Cells:
    """What ``dyna-ail table`` says of the runs of one setting, which ``folder`` holds by seed."""
    heads, _, line = scores(sorted(folder.glob("[0-4]")), until=until).splitlines()
    found = dict(zip(*(row.strip("| ").split(" | ") for row in (heads, line)), strict=True))
    for column in (HELD, "least once held"):  # all seeds alike: said once
        told = set(found[column].split(", "))
        found[column] = told.pop() if told in ({"-"}, {"n/a"}) else found[column]
    return found


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """A table; what the first cell of a row repeats is left blank."""
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    before = None
    for first, *others in rows:
        lines.append(" | ".join(["|" if first == before else f"| {first}", *others]) + " |")
        before = first
    return "\n".join(lines)


def side_by_side(settings: Mapping[str, Path], columns: list[str], until: int | None = None) -> list[list[str]]:
    """A row for each setting: its name and these columns, the smallest median in bold."""
    found = {name: cells(folder, until) for name, folder in settings.items() if folder.exists()}
    medians = {name: float(row["median"].replace(",", "")) for name, row in found.items() if row["median"][0].isdigit()}
    for name, median in medians.items():
        if median == min(medians.values()):
            found[name]["median"] = f"**{found[name]['median']}**"
    return [[name, *(row[column] for column in columns)] for name, row in found.items()]


def seeds(columns: list[str]) -> list[str]:
    """The columns' names, saying whose the listed numbers are."""
    return [f"{column}, seeds 0-4" if column == HELD else column for column in columns]


def presets(folder: Path) -> dict[str, Path]:
    """The settings of a task, in the order of the tables."""
    return {preset: folder / preset for preset in PRESETS}


def held() -> str:
    """Every task and every setting."""
    columns = ["interactions", *KEPT]
    rows = [[task, *row] for task in TASKS for row in side_by_side(presets(INTERACTIONS / task), columns)]
    return markdown(["task", "setting", *seeds(columns)], rows)


def ratios() -> str:
    """How many times the default's interactions the published algorithms take."""
    others, rows = ["dyna-mgail", "mgail", "gail"], []
    for task in TASKS:
        if not all((INTERACTIONS / task / other).exists() for other in others):
            continue
        runs = sorted((INTERACTIONS / task).glob("*/[0-4]"))
        lines = [line.strip("| ").split(" | ") for line in scores(runs, against="dyna-ail").splitlines()]
        ratio = {line[1]: line[lines[0].index("times dyna-ail's")] for line in lines[2:]}
        rows.append([task, *(ratio[other] for other in others)])
    return markdown(["task", *others], rows)


def beside() -> str:
    """The default's medians beside what others have published."""
    heads = ["task", "here", "from few demonstrations", "from 64", "model-based RL with the true reward", "target"]
    here = {task: f"**{cells(INTERACTIONS / task / 'dyna-ail')['median']}**" for task in TASKS}
    return markdown(heads, [[task, here[task], *OTHERS[task]] for task in TASKS])


def without(part: str, tasks: list[str], flag: str, default: Path, named: str = "the default") -> str:
    """Tasks with and without a part of the default."""
    rows = []
    for task in tasks:
        settings = {named: default / task / "dyna-ail", f"`{flag}`": ABLATION / part / task / "dyna-ail"}
        rows += [[task, *row] for row in side_by_side(settings, KEPT)]
    return markdown(["task", "setting", *seeds(KEPT)], rows)


def paper() -> str:
    """The Dyna-AIL paper's comparisons, with its demonstrations and with few."""
    rows, columns = [], ["interactions", HELD, "median", *SCORES]
    for data, said in (("50-full", "50 demonstrations"), ("4-thinned", "4 thinned")):
        for task in ("CartPole-v1", "Hopper-v5", "HalfCheetah-v5"):
            rows += [[f"{task}, {said}", *row] for row in side_by_side(presets(PAPER / data / task), columns)]
    return markdown(["task and data", "setting", *seeds(columns)], rows)


def hopper() -> str:
    """The front page's."""
    columns = [HELD, "median", "interquartile mean"]
    rows = side_by_side(presets(INTERACTIONS / "Hopper-v5"), columns)
    return markdown(["setting", *seeds(columns[:2]), "final score"], [[f"`{name}`", *row] for name, *row in rows])


def own() -> str:
    """The example's environment."""
    columns = [HELD, "median", *SCORES, "minutes"]
    return markdown(["setting", *seeds(columns)], side_by_side(presets(OWN), columns))


def pages() -> dict[Path, str]:
    """Every page that has such tables, as it should be."""
    real = [*CLASSIC, "HalfCheetah-v5", "Walker2d-v5", "Ant-v5"]
    lost = ABLATION / "real_updates"
    tables = {
        RESULTS.parent / "README.md": {"HOPPER": hopper()},
        INTERACTIONS / "README.md": {"HELD": held(), "RATIOS": ratios(), "BESIDE": beside()},
        ABLATION / "README.md": {
            "PARTS": markdown(["setting", *seeds(KEPT)], side_by_side(PARTS, KEPT, until=20_000)),
            "REAL": without("real_updates", real, "--planner.critic.real_updates 0", INTERACTIONS),
            "LOST": without("lost", ["Walker2d-v5", "Ant-v5"], "--lost_after 0", lost, "`--lost_after 50`"),
        },
        PAPER / "README.md": {"PAPER": paper()},
        OWN / "README.md": {"OWN": own()},
    }
    return {page: _rewritten(page.read_text(encoding="utf-8"), found) for page, found in tables.items()}


def _rewritten(text: str, tables: dict[str, str]) -> str:
    for name, table in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        assert start and end, f"the page has no place for the table {name}"
        text = before + start + table + end + after
    return text


if __name__ == "__main__":
    for path, page in pages().items():
        path.write_text(page, encoding="utf-8")
