"""What the tracker records and prints, and what wandb is told: where a run belongs, which run is the same."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.evaluation import EvalReport
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.runtime.tracking.waiting import StartConsole


@pytest.fixture
def cfg(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    made = Config(recipe="test")
    made.tracking.console = "off"
    made.tracking.group, made.tracking.tags = "alpha_scale", ["alpha=10", "seed=3"]
    return made


def opened(cfg: Config, folder: RunFolder, first_step: int = 1, *, goes_on: bool = False) -> Tracker:
    """A tracker whose run on wandb has begun."""
    tracker = Tracker(cfg, folder, first_step, StartConsole(cfg.tracking.console, dict), goes_on=goes_on)
    tracker.open_boards()
    return tracker


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments with which runs were opened; nothing is sent."""
    seen: list[dict[str, Any]] = []

    def init(**arguments: Any) -> SimpleNamespace:
        seen.append(arguments)
        return SimpleNamespace(
            id=arguments["id"] or f"made-{len(seen)}",
            settings=SimpleNamespace(),
            finish=lambda exit_code: None,
            log=lambda row, step: None,
        )

    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(init=init, Settings=SimpleNamespace(model_fields={}))
    )
    return seen


@pytest.mark.slow
def test_a_resumed_run_is_the_same_run_on_the_server(tmp_path: Path, cfg: Config, calls, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x")  # makes "offline", the default, online
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    for first_step, goes_on in ((1, False), (7, True), (9, True), (9, False)):
        opened(cfg, folder, first_step, goes_on=goes_on).close()
    assert [c["mode"] for c in calls] == ["online"] * 4
    # The last one does steps again that are on the server, where they cannot be replaced.
    assert [(c["id"], c["resume"]) for c in calls] == [
        (None, None),
        ("made-1", "allow"),
        ("made-1", "allow"),
        (None, None),
    ]


@pytest.mark.slow
def test_offline_every_attempt_is_a_run_of_its_own(tmp_path: Path, cfg: Config, calls):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    for first_step, goes_on in ((1, False), (7, True)):
        opened(cfg, folder, first_step, goes_on=goes_on).close()
    assert [(c["mode"], c["id"], c["resume"]) for c in calls] == [("offline", None, None)] * 2


@pytest.mark.slow
def test_wandb_itself_takes_it(tmp_path: Path, cfg: Config):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = opened(cfg, folder)
    try:
        run = tracker._boards[0]._run
        assert (run.name, run.group, set(run.tags)) == ("mine", "alpha_scale", {"alpha=10", "seed=3"})
        tracker.evaluation(0, ())
    finally:
        tracker.close({"eval_accuracy_after": 0.5})
    (written,) = (tmp_path / "mine" / "wandb").glob("offline-run-*/run-*.wandb")
    assert written.stat().st_size > 0


def test_the_tracker_records_steps_and_evaluations(tmp_path: Path, capsys):
    cfg = Config(recipe="test", steps=4)
    cfg.tracking.wandb, cfg.tracking.console = "off", "plain"
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = opened(cfg, folder)
    metrics = {
        "reward/mean": 0.5,
        "accuracy": 0.25,
        "length/mean": 3.0,
        "mismatch/mean": 1e-6,
        "rate/tokens_per_second": 10.0,
        "seconds/update": 0.5,
        "seconds/step": 2.0,
        "js_base/p50": 0.0,
        "js_base/p95": 0.01,
        "js_base/p99": 0.2,
    }
    tracker.step(1, metrics)
    report = EvalReport("held out", 0.5, 0.25, 0.75, 8, 4, 3.5, 0.125, {"correct": 16, "wrong": 16}, ())
    tracker.evaluation(1, (report,))
    tracker.close()
    tracker.close()  # closing twice is harmless
    train, evaluation = folder.read_metrics()
    assert train == {"step": 1, "kind": "train", **metrics}
    assert evaluation["kind"] == "eval"
    assert evaluation["eval/held out/accuracy"] == 0.5
    assert evaluation["eval/held out/ci_high"] == 0.75
    assert evaluation["eval/held out/outcome/wrong"] == 16
    said = capsys.readouterr().out
    assert "failed" not in said
    assert "JS p50/95/99 0.000/0.010/0.200" in said
    assert "held out: 0.500 (95% 0.250..0.750, 8 problems x 4)" in said


def test_an_evaluation_that_is_done_later_says_of_which_weights_it_is(
    tmp_path: Path, cfg: Config, calls, capsys
):
    cfg.tracking.console = "plain"
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = opened(cfg, folder)
    sent = []
    tracker._boards[0]._run.log = lambda row, step: sent.append((step, row))
    for step in (2, 3):
        tracker._boards[0].log({"loss": 1.0}, step)
    report = EvalReport("held", 0.5, 0.25, 0.75, 8, 4, 3.5, 0.125, {"correct": 16, "wrong": 16}, (), (2, 3))
    tracker.evaluation(2, (report,))
    [row] = folder.read_metrics()
    assert (row["step"], row["eval/held/version_first"], row["eval/held/version_last"]) == (2, 2, 3)
    assert "eval after 2 steps (weights 2..3)  held: 0.500" in capsys.readouterr().out
    # wandb drops what comes for an earlier step than its newest.
    assert [step for step, _ in sent] == [2, 3, 3]
    assert (sent[-1][1]["eval/step"], sent[-1][1]["eval/held/accuracy"]) == (2, 0.5)


def test_a_silent_tracker_still_records(tmp_path: Path, capsys):
    cfg = Config(recipe="test")
    cfg.tracking.wandb, cfg.tracking.console = "off", "off"
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = opened(cfg, folder)
    tracker.note("hello")
    tracker.evaluation(0, ())
    assert capsys.readouterr().out == ""
    assert len(folder.read_metrics()) == 1
