"""What a user installs: each file once, nothing but dyna_ail at the top level, no clash with folders of their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def _expected_files() -> list[str]:
    modules = [str(p.relative_to(ROOT)) for p in (ROOT / "dyna_ail").rglob("*.py")]  # which does not follow the links
    modules += [
        f"dyna_ail/{p.relative_to(ROOT)}" for folder in ("planners", "envs") for p in (ROOT / folder).rglob("*.py")
    ]
    data = [f"dyna_ail/{p.relative_to(ROOT)}" for p in (ROOT / "envs/bundled").rglob("*.*")]
    return sorted([*modules, *data, "dyna_ail/py.typed"])


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the source with its links, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for folder in ("dyna_ail", "planners", "envs"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "direct", cwd=source)
    (built,) = (source / "direct").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of an empty environment that holds the wheel and sees this environment's dependencies."""
    place = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=place)
    python = place / "venv/bin/python"
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=place,
    )
    # A path in a .pth file is searched last, and .pth files inside it (an editable install) are not followed.
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


@pytest.fixture
def project(tmp_path) -> Path:
    """A user's project with packages of the same names as ours."""
    for name in ("envs", "planners"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"OWNER = 'the user of {name}'\n", encoding="utf-8")
    return tmp_path


def test_wheel_holds_each_file_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == _expected_files()
    assert sum(name.endswith("LICENSE") for name in names) == 1


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size <= 12 << 20


def test_wheel_from_the_sdist_is_the_same(source, wheel):
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "via-sdist", cwd=source)
    (via_sdist,) = (source / "via-sdist").glob("*.whl")
    assert sorted(zipfile.ZipFile(via_sdist).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_works_beside_the_users_own_envs_and_planners(installed, project):
    code = """
import json
import dyna_ail, dyna_ail.envs, dyna_ail.planners
import envs, planners
print(json.dumps({m.__name__: [m.__file__, getattr(m, "OWNER", "")]
                  for m in (dyna_ail, dyna_ail.envs, dyna_ail.planners, envs, planners)}))
"""
    found = json.loads(_run(installed, "-c", code, cwd=project))
    for name in ("envs", "planners"):
        assert found[name] == [str(project / name / "__init__.py"), f"the user of {name}"]
    environment = str(installed.parents[1])
    for name in ("dyna_ail", "dyna_ail.envs", "dyna_ail.planners"):
        file, owner = found[name]
        assert file.startswith(environment) and not owner


def test_installs_nothing_else_at_the_top_level(installed, tmp_path):
    code = "import importlib.util as u; print([u.find_spec(name) for name in ('envs', 'planners')])"
    assert _run(installed, "-c", code, cwd=tmp_path).strip() == "[None, None]"


def test_bundled_demonstrations_load_from_the_wheel(installed, project):
    code = """
from dyna_ail import Demonstrations
from dyna_ail.envs.tasks import get_task
for task in ("Hopper-v5", "CartPole-v1"):
    path = get_task(task).demos
    print(len(Demonstrations.load(path).trajectories), path)
"""
    hopper, cartpole = _run(installed, "-c", code, cwd=project).splitlines()
    assert hopper.startswith("25 ") and cartpole.startswith("10 ")
    assert str(installed.parents[1]) in hopper


@pytest.mark.parametrize("command", [["dyna-ail"], ["python", "-m", "dyna_ail"]], ids=["script", "module"])
def test_console_script_prints_help(installed, project, command):
    output = _run(installed.parent / command[0], *command[1:], "--help", cwd=project)
    for subcommand in ("train", "evaluate", "plot", "expert", "demos"):
        assert subcommand in output


def test_version_is_the_same_everywhere(wheel):
    version = re.search(r'__version__ = "(.+)"', (ROOT / "dyna_ail/__init__.py").read_text(encoding="utf-8"))
    assert version is not None
    assert wheel.name.split("-")[1] == version[1]
    assert f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version[1]} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
