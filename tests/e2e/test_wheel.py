"""The wheel: built from the tracked files, installed into an environment of its own, used outside the checkout.

On a machine without a compiler: nothing is compiled at the first start, or at any.
"""

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

from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import SMALL

pytestmark = pytest.mark.e2e
COMPILERS = re.compile(r"(^|-)(cc|c\+\+|gcc|g\+\+|cpp|c89|c99|clang|clang\+\+|nvcc|ninja)(-[\d.]+)?$")


def run(*command: str | Path, cwd: Path, path: Path, timeout: float = 900) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": str(path), "HOME": str(cwd)},  # neither PYTHONPATH nor an active environment
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system's programs but for those that compile."""
    folder = tmp_path_factory.mktemp("tools")
    programs = {path.name: path for place in ("/bin", "/usr/bin") for path in Path(place).iterdir()}
    for name, program in programs.items():
        if not COMPILERS.search(name):
            (folder / name).symlink_to(program)
    assert not any(
        shutil.which(name, path=str(folder)) for name in ("cc", "c++", "gcc", "g++", "nvcc", "ninja")
    )
    return folder


@pytest.fixture(scope="module")
def wheel(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, so that the checkout gets no build folder and no untracked file gets into the wheel."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=REPOSITORY, text=True).split("\0")
    for name in filter(None, tracked):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name)
    pip = (
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        target,
        source,
    )
    run(sys.executable, *pip, cwd=source, path=tools)
    [built] = target.glob("rlvr-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and sees this one's other packages."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", home, cwd=home, path=tools)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=home, path=tools)
    [site] = home.glob("lib/python*/site-packages")
    # A line of a .pth adds a folder but not what its own .pth files name, so not the editable checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_what_the_wheel_installs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"rlvr", wheel.name.split("-py3")[0] + ".dist-info"}
    data = {name.removeprefix("rlvr/") for name in names if name.endswith(".yaml")}
    recipes = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "recipes").rglob("*.yaml")}
    package = REPOSITORY / "rlvr"
    assert data == recipes | {str(path.relative_to(package)) for path in package.rglob("*.yaml")}
    assert "rlvr/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_lists_trains_and_evaluates_outside_the_checkout(
    installed: Path, tools: Path, tmp_path: Path
) -> None:
    where = run(
        installed / "python", "-c", "import rlvr; print(rlvr.__file__)", cwd=tmp_path, path=tools
    ).strip()
    assert Path(where).is_relative_to(installed.parent)
    assert run(installed / "rlvr", "--version", cwd=tmp_path, path=tools).startswith("rlvr ")
    listed = run(installed / "rlvr", "recipes", cwd=tmp_path, path=tools)
    assert "dapo_divweight" in listed
    assert str(installed.parent) in listed
    small = [part for part in SMALL if not part.startswith(("steps", "eval.every"))]
    run(
        installed / "rlvr",
        "train",
        "recipe=dapo_divweight",
        *small,
        "steps=1",
        "run.name=one",
        cwd=tmp_path,
        path=tools,
    )
    assert json.loads((tmp_path / "runs" / "one" / "summary.json").read_text())["steps"] == 1
    told = run(
        installed / "rlvr",
        "evaluate",
        "model=runs/one/policy",
        "n=1",
        "data.eval.0.limit=4",
        "cluster.threads_per_actor=1",
        cwd=tmp_path,
        path=tools,
    )
    assert "4 problems x 1 samples" in told
