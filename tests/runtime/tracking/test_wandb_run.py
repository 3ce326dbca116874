"""The real wandb: its own variables rule, and no server means seconds, not the end of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.tracking.wandb_run import WandbRun, wandb_mode

VARIABLES = (
    "WANDB_API_KEY",
    "WANDB_MODE",
    "WANDB_DISABLED",
    "WANDB_PROJECT",
    "WANDB_NAME",
    "WANDB_FINISH_TIMEOUT",
)


@pytest.fixture
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("setting", "variables", "mode"),
    [
        ("offline", {}, "offline"),
        ("offline", {"WANDB_API_KEY": "k"}, "online"),
        ("offline", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("offline", {"WANDB_API_KEY": "k", "WANDB_MODE": "dryrun"}, "offline"),
        ("offline", {"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "off"),
        ("online", {"WANDB_DISABLED": "true"}, "off"),
        ("online", {"WANDB_MODE": "offline"}, "offline"),
        ("offline", {"WANDB_MODE": "online"}, "online"),
        ("off", {"WANDB_API_KEY": "k", "WANDB_MODE": "online"}, "off"),
        ("online", {"WANDB_MODE": "shared"}, "offline"),
    ],
)
def test_wandbs_variables_rule(environment, setting, variables, mode):
    for name, value in variables.items():
        environment.setenv(name, value)
    cfg = Config(recipe="test")
    cfg.tracking.wandb = setting
    assert wandb_mode(cfg)[0] == mode


@pytest.fixture
def asked(environment) -> dict[str, Any]:
    """What wandb.init is called with."""
    found: dict[str, Any] = {}

    def init(**options: Any) -> SimpleNamespace:
        found.update(options)
        return SimpleNamespace(id="id")

    settings = SimpleNamespace(model_fields={"init_timeout": 0, "finish_timeout": 0})
    environment.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Settings=settings))
    return found


@pytest.mark.parametrize(
    ("project", "variables", "said"),
    [
        ("rlvr", {}, ("rlvr", "mine")),
        ("rlvr", {"WANDB_PROJECT": "theirs"}, ("theirs", "mine")),
        ("own", {"WANDB_PROJECT": "theirs", "WANDB_NAME": "named"}, ("own", "named")),
    ],
)
def test_project_and_name_of_wandbs_variables(environment, asked, tmp_path, project, variables, said):
    for name, value in variables.items():
        environment.setenv(name, value)
    cfg = Config(recipe="test")
    cfg.tracking.project = project
    WandbRun(cfg, RunFolder(tmp_path, "mine"), print, goes_on=False)
    assert (asked["project"], asked["name"]) == said


def test_wandb_keeps_a_run_waiting_as_long_as_its_variables_say(environment, asked, tmp_path):
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), print, goes_on=False)
    assert asked["settings"] == {"init_timeout": 20.0, "finish_timeout": 120.0}
    environment.setenv("WANDB_FINISH_TIMEOUT", "600")
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), print, goes_on=False)
    assert asked["settings"] == {"init_timeout": 20.0}


def test_a_mode_that_does_not_exist_is_named_and_not_passed_on(environment, asked, tmp_path):
    environment.setenv("WANDB_MODE", "shared")
    notes: list[str] = []
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), notes.append, goes_on=False)
    assert notes == [
        "wandb is offline: WANDB_MODE=shared, which is none of online, run, offline, dryrun, disabled"
    ]
    assert asked["mode"] == "offline"
    assert "WANDB_MODE" not in os.environ


def test_what_a_server_has_not_taken_in_time_is_said(asked, environment, tmp_path):
    notes: list[str] = []
    run = WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), notes.append, goes_on=False)
    run._run = SimpleNamespace(
        settings=SimpleNamespace(finish_timeout=0.01), finish=lambda exit_code: time.sleep(0.05)
    )
    run.close(None)
    assert len(notes) == 1
    assert "`wandb sync " in notes[0]


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "HOME"])
def test_a_cache_that_cannot_be_written_is_replaced_and_named(environment, asked, tmp_path, name):
    environment.delenv("XDG_CACHE_HOME", raising=False)
    environment.setenv("WANDB_CACHE_DIR", "")
    (tmp_path / "taken").touch()
    environment.setenv(name, str(tmp_path / "taken"))
    notes: list[str] = []
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), notes.append, goes_on=False)
    own = tmp_path / "mine" / "wandb" / "cache"
    assert os.environ["WANDB_CACHE_DIR"] == str(own)
    [note] = notes
    assert note.startswith(f"wandb keeps its cache in {own} (WANDB_CACHE_DIR): {tmp_path / 'taken'}/")
    assert note.endswith("cannot be written (Not a directory)")


def test_a_user_without_a_home_costs_no_training(environment, asked, tmp_path):
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    environment.setenv("WANDB_CACHE_DIR", "")
    environment.delenv("XDG_CACHE_HOME", raising=False)
    environment.setattr(Path, "expanduser", no_home)
    notes: list[str] = []
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), notes.append, goes_on=False)
    assert [note.partition("): ")[2] for note in notes] == [
        "~/.cache/wandb cannot be written (Could not determine home directory.)"
    ]


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "WANDB_CACHE_DIR"])
def test_a_cache_that_can_be_written_or_was_chosen_stays(environment, asked, tmp_path, name):
    environment.setenv("WANDB_CACHE_DIR", "")
    environment.setenv(name, str(tmp_path))
    chosen = os.environ["WANDB_CACHE_DIR"]
    notes: list[str] = []
    WandbRun(Config(recipe="test"), RunFolder(tmp_path, "mine"), notes.append, goes_on=False)
    assert (notes, os.environ["WANDB_CACHE_DIR"]) == ([], chosen)


@pytest.mark.slow
def test_wandbs_own_service_says_nothing_without_a_cache(tmp_path: Path):
    (tmp_path / "taken").touch()
    program = (
        "from pathlib import Path\n"
        "from rlvr.config import Config\n"
        "from rlvr.runtime.disk.folder import RunFolder\n"
        "from rlvr.runtime.tracking.wandb_run import WandbRun\n"
        f"WandbRun(Config(recipe='test'), RunFolder(Path({str(tmp_path)!r}), 'mine'), print, goes_on=False).close(None)"
    )
    variables = {"HOME": str(tmp_path / "taken"), "XDG_CACHE_HOME": "", "WANDB_MODE": "offline"}
    (tmp_path / "mine").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={name: text for name, text in os.environ.items() if not name.startswith("WANDB_")} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    assert list(tmp_path.glob("mine/wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
def test_without_a_server_the_run_goes_on_offline(environment, tmp_path: Path):
    environment.setenv("WANDB_API_KEY", "0" * 40)
    environment.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    environment.setattr("rlvr.runtime.tracking.wandb_run.SERVER_SECONDS", 4)
    folder = RunFolder(tmp_path, "alone")
    folder.path.mkdir()
    notes: list[str] = []
    began = time.monotonic()
    run = WandbRun(Config(recipe="test"), folder, notes.append, goes_on=False)
    run.log({"loss": 1.0}, 1)
    run.close({"steps": 1})
    assert time.monotonic() - began < 60
    assert "wandb (online: WANDB_API_KEY is set) failed" in notes[0]
    assert "goes on offline" in notes[1]
    assert list(folder.path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
def test_a_failure_while_logging_ends_nothing(environment, tmp_path: Path):
    cfg = Config(recipe="test")
    folder = RunFolder(tmp_path, "failing")
    folder.path.mkdir()
    notes: list[str] = []
    run = WandbRun(cfg, folder, notes.append, goes_on=False)
    run.log({"loss": object()}, -(10**30))  # type: ignore[dict-item]
    run.log({"loss": 1.0}, 1)
    run.close(None)
    assert len(notes) <= 1


@pytest.mark.slow
def test_a_run_that_another_has_left_open_stays_its_own(environment, tmp_path: Path):
    runs = []
    for name in ("theirs", "mine"):
        folder = RunFolder(tmp_path, name)
        folder.path.mkdir()
        runs.append(WandbRun(Config(recipe="test"), folder, print, goes_on=False))
    theirs, mine = (run._run for run in runs)
    assert (theirs.name, mine.name) == ("theirs", "mine")
    for run in reversed(runs):
        run.close(None)
