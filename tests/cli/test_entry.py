"""How a command starts and ends: its folder, and errors that reach the user."""

from __future__ import annotations

import os
import sys

import pytest

from rlvr.cli.entry import hydra_entry, make_hydra_folder
from rlvr.config import Config
from rlvr.errors import ConfigError, DataError
from tests.helpers.forked import Done, forked


def test_a_folder_that_hydra_cannot_make_is_said_in_our_words(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below", "/proc/x"):
        with pytest.raises(ConfigError, match=f"hydra.run.dir={folder}: cannot be made .*leave it out"):
            make_hydra_folder(["seed=1", f"hydra.run.dir={folder}"])
    for unused in (["--cfg", "job"], ["-m"], ["--info"]):
        make_hydra_folder(["hydra.run.dir=/proc/x", *unused])
    make_hydra_folder([f"hydra.run.dir={tmp_path / 'a/b'}"])
    assert (tmp_path / "a/b").is_dir()


def run(cfg: Config) -> None:
    if cfg.seed == 13:
        error = DataError("row 7 is bad")
        error.add_note("(inside an actor)")
        raise error
    print("ran with", cfg.recipe, cfg.data.train.name)


def program(*arguments: str, **env: str) -> Done:
    """Run a tiny command in a process of its own."""

    def command() -> None:
        os.environ.update(env)
        sys.argv = ["tiny", *arguments]
        hydra_entry(run)()

    return forked(command)


@pytest.mark.slow
def test_errors_meant_for_the_user_come_without_a_traceback():
    done = program("seed=13")
    assert done.returncode == 1
    assert "DataError: row 7 is bad\n(inside an actor)" in done.stderr
    assert "Traceback" not in done.stderr
    done = program("stepz=3")
    assert done.returncode == 1
    assert "stepz: there is no such key; did you mean steps" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_traceback_can_be_asked_for():
    done = program("seed=13", RLVR_TRACEBACK="1")
    assert done.returncode == 1
    assert "row 7 is bad" in done.stderr
    assert "in run" in done.stderr


@pytest.mark.slow
def test_hydras_options_work_behind_the_overrides():
    done = program("steps=3", "--cfg", "job", "seed=5")
    assert done.returncode == 0, done.stderr
    assert {"steps: 3", "seed: 5"} <= set(done.stdout.splitlines())


@pytest.mark.slow
def test_a_good_command_runs_with_typed_values(tmp_path):
    done = program("data.train.name=gsm8k")
    assert (done.returncode, done.stdout.strip()) == (0, "ran with dapo_divweight gsm8k")
