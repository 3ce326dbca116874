"""What the folder in which a command starts does to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.cli.surroundings import shadows
from rlvr.errors import EXIT_INTERRUPTED
from tests.helpers.paths import REPOSITORY


def started_in(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """The help of a command, asked for in a folder after these shell commands."""
    line = "; ".join([*before, f'exec "{sys.executable}" -m rlvr.train --help'])
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def test_files_that_stand_in_for_modules_are_found(tmp_path: Path) -> None:
    for name in ("random.py", "ray.py", "my_keywords.py", "torch.txt", "queue"):
        (tmp_path / name).write_text("")
    (tmp_path / "types").mkdir()  # a folder alone is no package that comes before Python's own
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("")
    assert shadows(str(tmp_path)) == ["numpy", "random.py", "ray.py"]
    assert shadows(str(tmp_path / "gone")) == []


@pytest.mark.parametrize("safe", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_they_are_named_before_the_import_fails(tmp_path: Path, safe: bool) -> None:
    (tmp_path / "random.py").write_text("from os import nothing_of_this_name\n")
    done = started_in(tmp_path, *["export PYTHONSAFEPATH=1"] * safe)
    if safe:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.stderr.startswith(f"rlvr: random.py in {tmp_path} may be imported in place of")


def test_an_interrupt_while_libraries_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt\n")
    done = started_in(tmp_path)
    assert done.returncode == EXIT_INTERRUPTED
    assert done.stderr.splitlines()[1:] == ["", "stopped by the user"]  # after the line about hydra.py


def test_an_error_while_libraries_load_is_told_whole(tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text("raise ValueError('odd')\n")
    done = started_in(tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("ValueError: odd\n")


@pytest.mark.parametrize("level", ["1", "2"])
def test_nothing_starts_where_python_leaves_out_assertions(tmp_path: Path, level: str) -> None:
    done = started_in(tmp_path, f"export PYTHONOPTIMIZE={level}")
    assert done.returncode == 1
    assert done.stderr.startswith("rlvr: Python leaves out assertions here")
    assert "unset PYTHONOPTIMIZE" in done.stderr


def test_a_deleted_folder_is_said_in_one_line(tmp_path: Path) -> None:
    (folder := tmp_path / "gone").mkdir()
    done = started_in(folder, 'rmdir "$PWD"')
    assert done.returncode == 1
    assert done.stderr == "rlvr: the working folder has been deleted; cd to one that exists\n"
