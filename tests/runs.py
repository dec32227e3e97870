"""Folders of runs with made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dyna_ail.config import make_run_config, to_dict


def make_run(folder: Path, returns: list[float], preset: str = "dyna-ail", interval: int = 2000, **values: Any) -> Path:
    """A run's folder with made-up returns, from a random policy's 0 to an expert's 100."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_dict(make_run_config(preset, **values))))
    (folder / "versions.json").write_text(json.dumps({"references": {"random": 0.0, "expert": 100.0}}))
    lines = ["interactions,imagined,return_mean,return_std,score,seconds"]
    lines += [f"{i * interval},0,{value},1,{value / 100},{i}" for i, value in enumerate(returns)]
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    return folder
