"""The wheel: built from the tracked files, installed into an environment of its own, used outside the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import ninja
import pytest

from rlvr.learner.compiled import extensions_folder
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import SMALL

pytestmark = pytest.mark.e2e
COMPILED = extensions_folder(*(name + version(name) for name in ("torch", "deepspeed")))


def run(*command: str | Path, cwd: Path, timeout: float = 900) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        # Neither PYTHONPATH nor an active environment; what DeepSpeed compiles is the same in the checkout's.
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "TORCH_EXTENSIONS_DIR": str(COMPILED)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    run(sys.executable, *pip, cwd=source)
    [built] = target.glob("rlvr-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that has the wheel, and sees this one's other packages."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", home, cwd=home)
    run(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=home)
    [site] = home.glob("lib/python*/site-packages")
    # A line of a .pth adds a folder but not what its own .pth files name, so not the editable checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "bin" / "ninja").symlink_to(Path(ninja.BIN_DIR, "ninja"))
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


def test_it_lists_trains_and_evaluates_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import rlvr; print(rlvr.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)
    assert run(installed / "rlvr", "--version", cwd=tmp_path).startswith("rlvr ")
    listed = run(installed / "rlvr", "recipes", cwd=tmp_path)
    assert "dapo_divweight" in listed
    assert str(installed.parent) in listed
    small = [part for part in SMALL if not part.startswith(("steps", "eval.every"))]
    run(installed / "rlvr", "train", "recipe=dapo_divweight", *small, "steps=1", "run.name=one", cwd=tmp_path)
    assert json.loads((tmp_path / "runs" / "one" / "summary.json").read_text())["steps"] == 1
    told = run(
        installed / "rlvr",
        "evaluate",
        "model=runs/one/policy",
        "n=1",
        "data.eval.0.limit=4",
        "cluster.threads_per_actor=1",
        cwd=tmp_path,
    )
    assert "4 problems x 1 samples" in told
