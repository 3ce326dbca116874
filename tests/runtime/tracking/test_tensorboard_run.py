"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.tracking.tensorboard_run import FOLDER, TensorboardRun
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.runtime.tracking.waiting import StartConsole
from rlvr.validate import validate


@pytest.fixture
def cfg() -> Config:
    made = Config(recipe="test")
    made.tracking.console, made.tracking.wandb, made.tracking.tensorboard = "off", "off", True
    return made


@pytest.fixture
def folder(tmp_path: Path, cfg: Config) -> RunFolder:
    made = RunFolder(tmp_path, "mine")
    made.create(cfg)
    return made


def scalars(folder: RunFolder, name: str) -> list[tuple[int, float]]:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(folder.path / FOLDER)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def train(cfg: Config, folder: RunFolder, first: int, last: int, reward: float) -> None:
    tracker = Tracker(cfg, folder, first, StartConsole("off", dict), goes_on=first > 1)
    tracker.open_boards()
    for step in range(first, last + 1):
        row = {
            "reward/mean": reward + step,
            "accuracy": 0.5,
            "length/mean": 3.0,
            "seconds/step": 0.1,
            "rate/tokens_per_second": 9.0,
        }
        tracker.step(step, row)
    tracker.close()


def test_a_resumed_run_takes_back_the_steps_that_it_does_again(cfg: Config, folder: RunFolder) -> None:
    train(cfg, folder, 1, 5, 0.0)
    train(cfg, folder, 4, 6, 10.0)
    assert scalars(folder, "reward/mean") == [(1, 1), (2, 2), (3, 3), (4, 14), (5, 15), (6, 16)]
    assert scalars(folder, "accuracy")[-1] == (6, 0.5)


def test_without_the_key_no_event_file_is_written(cfg: Config, folder: RunFolder) -> None:
    cfg.tracking.tensorboard = False
    train(cfg, folder, 1, 1, 0.0)
    assert not (folder.path / FOLDER).exists()


def test_a_failure_is_said_once_and_ends_nothing(folder: RunFolder) -> None:
    (folder.path / FOLDER).write_text("in the way")
    said: list[str] = []
    run = TensorboardRun(folder, 1, said.append)
    run.log({"accuracy": 0.5}, 1)
    run.close(None)
    assert len(said) == 1
    assert "tensorboard failed and gets no more of this run" in said[0]


def test_packages_that_do_not_fit_together_end_nothing(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if its import failed
    said: list[str] = []
    run = TensorboardRun(folder, 1, said.append)
    run.log({"accuracy": 0.5}, 1)
    run.close(None)
    assert len(said) == 1
    assert "tensorboard failed and gets no more of this run: ModuleNotFoundError" in said[0]


def test_a_missing_package_is_named_before_anything_starts(
    cfg: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "rlvr\[tensorboard\]"'):
        validate(cfg)
