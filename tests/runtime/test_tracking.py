"""What wandb is told: where a run belongs, and that a resumed run is the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config import Config
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.tracking import Tracker


@pytest.fixture
def cfg(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    made = Config(recipe="test")
    made.tracking.console = "off"
    made.tracking.group, made.tracking.tags = "alpha_scale", ["alpha=10", "seed=3"]
    return made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments with which runs were opened; nothing is sent."""
    seen: list[dict[str, Any]] = []

    def init(**arguments: Any) -> SimpleNamespace:
        seen.append(arguments)
        return SimpleNamespace(
            id=arguments["id"] or f"made-{len(seen)}",
            finish=lambda exit_code: None,
            log=lambda row, step: None,
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return seen


def test_a_resumed_run_is_the_same_run_on_the_server(tmp_path: Path, cfg: Config, calls, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x")  # makes "offline", the default, online
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    for first_step, goes_on in ((1, False), (7, True), (9, True), (9, False)):
        Tracker(cfg, folder, first_step, goes_on=goes_on).close()
    assert [c["mode"] for c in calls] == ["online"] * 4
    # The last one does steps again that are on the server, where they cannot be replaced.
    assert [(c["id"], c["resume"]) for c in calls] == [
        (None, None),
        ("made-1", "allow"),
        ("made-1", "allow"),
        (None, None),
    ]


def test_offline_every_attempt_is_a_run_of_its_own(tmp_path: Path, cfg: Config, calls):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    for first_step, goes_on in ((1, False), (7, True)):
        Tracker(cfg, folder, first_step, goes_on=goes_on).close()
    assert [(c["mode"], c["id"], c["resume"]) for c in calls] == [("offline", None, None)] * 2


@pytest.mark.slow
def test_wandb_itself_takes_it(tmp_path: Path, cfg: Config):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = Tracker(cfg, folder, first_step=1)
    try:
        run = tracker._wandb._run
        assert (run.name, run.group, set(run.tags)) == ("mine", "alpha_scale", {"alpha=10", "seed=3"})
        tracker.evaluation(0, ())
    finally:
        tracker.close({"eval_accuracy_after": 0.5})
    (written,) = (tmp_path / "mine" / "wandb").glob("offline-run-*/run-*.wandb")
    assert written.stat().st_size > 0
