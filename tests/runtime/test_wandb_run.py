"""The real wandb: its own variables rule, and no server means seconds, not the end of a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlvr.config import Config
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.wandb_run import WandbRun, wandb_mode

VARIABLES = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED")


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
    ],
)
def test_wandbs_variables_rule(environment, setting, variables, mode):
    for name, value in variables.items():
        environment.setenv(name, value)
    cfg = Config(recipe="test")
    cfg.tracking.wandb = setting
    assert wandb_mode(cfg)[0] == mode


@pytest.mark.slow
def test_without_a_server_the_run_goes_on_offline(environment, tmp_path: Path):
    environment.setenv("WANDB_API_KEY", "0" * 40)
    environment.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    environment.setattr("rlvr.runtime.wandb_run.SERVER_SECONDS", 4)
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
