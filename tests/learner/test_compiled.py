"""Builds of one process at a time, and what a killed builder leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rlvr.errors import DeadlineError
from rlvr.learner.compiled import OURS, build_alone, extensions_folder

HOLDER = """
import sys, time
from pathlib import Path
from rlvr.learner.compiled import build_alone
with build_alone(Path(sys.argv[1]), deadline_seconds=5):
    (Path(sys.argv[1]) / "op").mkdir()
    (Path(sys.argv[1]) / "op" / "lock").touch()
    print("building", flush=True)
    time.sleep(120)
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("TORCH_EXTENSIONS_DIR", OURS):
        monkeypatch.setenv(name, "")  # restored after the test, whatever the code sets
        monkeypatch.delenv(name)


def test_a_killed_builder_blocks_nobody(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "building\n"
        with pytest.raises(DeadlineError, match="another process has been compiling"):  # noqa: SIM117
            with build_alone(tmp_path, deadline_seconds=0.3):
                pass
        assert (tmp_path / "op" / "lock").exists()
    finally:
        holder.kill()
        holder.wait()
    with build_alone(tmp_path, deadline_seconds=5):
        assert not (tmp_path / "op" / "lock").exists()
        assert os.environ["TORCH_EXTENSIONS_DIR"] == str(tmp_path)
    with build_alone(tmp_path, deadline_seconds=5):  # our own setting is not taken for the user's
        assert os.environ["TORCH_EXTENSIONS_DIR"] == str(tmp_path)


def test_a_folder_that_the_user_chose_is_left_as_it_is(tmp_path, monkeypatch):
    chosen = tmp_path / "chosen"
    (chosen / "op").mkdir(parents=True)
    (chosen / "op" / "lock").touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(chosen))
    with build_alone(tmp_path / "ours", deadline_seconds=5):
        assert os.environ["TORCH_EXTENSIONS_DIR"] == str(chosen)
    assert (chosen / "op" / "lock").exists()
    assert not (tmp_path / "ours").exists()


def test_versions_and_environments_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert extensions_folder("torch2.13") != extensions_folder("torch2.12")
    assert extensions_folder("torch2.13").is_relative_to(tmp_path)
    here = extensions_folder("torch2.13")
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert extensions_folder("torch2.13") != here
