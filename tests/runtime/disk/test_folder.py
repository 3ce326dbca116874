"""The run folder: metrics survive a kill, files are replaced whole, runs are not overwritten."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.config import Config
from rlvr.errors import ConfigError, DeadlineError, RlvrError
from rlvr.runtime.disk.files import write_atomically
from rlvr.runtime.disk.folder import RunFolder, run_folder
from rlvr.runtime.disk.rewind import rewind
from tests.helpers.checkpoints import save
from tests.helpers.records import group


@pytest.fixture
def cfg() -> Config:
    return Config(recipe="test")


@pytest.fixture
def folder(tmp_path: Path, cfg: Config) -> RunFolder:
    made = RunFolder(tmp_path / "runs", "mine")
    made.create(cfg)
    return made


def test_create_writes_the_whole_configuration(folder, cfg):
    cfg.learner.lr = 3e-5
    folder.create(cfg)
    saved = OmegaConf.load(folder.path / "config.yaml")
    assert saved.learner.lr == 3e-5
    assert saved.data.train.name == "arithmetic"
    merged = OmegaConf.merge(OmegaConf.structured(Config), saved)
    assert OmegaConf.to_object(merged) == cfg


def test_latest_points_at_the_newest_run(tmp_path, cfg):
    for name in ("first", "second"):
        RunFolder(tmp_path, name).create(cfg)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".latest")]
    # Relative, so that the folder of runs can be moved.
    assert not (tmp_path / "latest").readlink().is_absolute()


def test_a_run_is_not_overwritten(folder, cfg):
    folder.create(cfg)  # nothing was recorded yet
    folder.append_metrics({"step": 1})
    with pytest.raises(ConfigError, match=r"run\.name=mine.*run\.resume=auto"):
        folder.create(cfg)
    cfg.run.resume = "auto"
    folder.create(cfg)
    assert folder.read_metrics() == [{"step": 1}]


def test_resuming_another_run_does_not_write_into_a_third(folder, cfg, tmp_path):
    folder.append_metrics({"step": 1})
    cfg.run.resume = str(tmp_path / "runs" / "other" / "checkpoints" / "step_000020")
    with pytest.raises(ConfigError, match=r"run\.name=mine.*already holds a run"):
        folder.create(cfg)
    RunFolder(tmp_path / "runs", "fresh").create(cfg)
    cfg.run.resume = str(folder.checkpoints / "step_000020")
    folder.create(cfg)
    assert folder.read_metrics() == [{"step": 1}]


@pytest.mark.parametrize(
    ("left", "content"),
    [
        ("summary.json", "{}"),
        ("metrics.jsonl", "\0" * 9),
        ("batches.jsonl", '{"step": 1'),
        ("samples/step_000001.jsonl", ""),
        ("checkpoints/step_000020/state.json", "{}"),
        ("policy/config.json", "{}"),
    ],
)
def test_whatever_a_run_has_left_is_not_overwritten(folder, cfg, left, content):
    (folder.path / left).parent.mkdir(parents=True, exist_ok=True)
    (folder.path / left).write_text(content)
    with pytest.raises(ConfigError, match=rf"already holds a run \({left.partition('/')[0]}\)"):
        folder.create(cfg)


def test_a_folder_called_latest_costs_the_link_alone(tmp_path, cfg, caplog):
    (tmp_path / "latest").mkdir()
    made = RunFolder(tmp_path, "mine")
    made.create(cfg)
    assert "latest: cannot be made the link to the newest run" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "mine"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path, cfg):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RlvrError, match=r"run folder .*file/mine: cannot be written"):
        RunFolder(tmp_path / "file", "mine").create(cfg)


def test_two_runs_do_not_write_to_one_folder(folder, cfg):
    other = RunFolder(folder.path.parent, folder.path.name)
    with pytest.raises(ConfigError, match=r"run\.name=mine: another process is writing to .*run\.name"):
        other.create(cfg)
    assert other.read_metrics() == []  # reading is free
    del folder._lock  # as the operating system does when the process ends
    other.create(cfg)


def test_a_full_disk_is_one_message(folder):
    folder.metrics_file.symlink_to("/dev/full")
    with pytest.raises(RlvrError, match=r"cannot be written .*No space.*run\.name=mine run\.resume=auto"):
        folder.append_metrics({"step": 1})
    with pytest.raises(DeadlineError, match="stuck"), folder.writing():  # no matter of the disk
        raise DeadlineError("stuck")


def test_metrics_come_back_as_written(folder):
    rows = [{"step": 1, "kind": "train", "loss": 0.1 + 0.2}, {"step": 1, "kind": "eval", "é": -1e-30}]
    for row in rows:
        folder.append_metrics(row)
    assert folder.read_metrics() == rows
    folder.append_metrics({"step": 2, "loss": math.nan})
    assert math.isnan(folder.read_metrics()[-1]["loss"])
    assert RunFolder(folder.path.parent, "absent").read_metrics() == []


@given(steps=st.lists(st.integers(0, 9), min_size=1, max_size=8), cut=st.integers(0, 200))
def test_a_kill_at_any_byte_costs_at_most_the_row_being_written(tmp_path_factory, steps, cut):
    folder = RunFolder(tmp_path_factory.mktemp("runs"), "mine")
    folder.path.mkdir()
    rows = [{"step": s, "kind": "train", "loss": s / 7} for s in steps]
    for row in rows:
        folder.append_metrics(row)
    whole = folder.metrics_file.read_bytes()
    torn = whole[: min(cut, len(whole))]
    folder.metrics_file.write_bytes(torn)
    complete = torn.count(b"\n")
    found = folder.read_metrics()
    # A row whose newline alone is missing is complete as well.
    assert found in (rows[:complete], rows[: complete + 1])
    rewind(folder, 5)
    kept = [row for row in found if row["step"] <= 5]
    assert folder.read_metrics() == kept
    folder.append_metrics({"step": 6})
    assert folder.read_metrics() == [*kept, {"step": 6}]


def test_write_atomically_keeps_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")  # fails while writing
    assert path.read_text() == "old"
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_samples_are_dumped_one_a_line(folder):
    folder.dump_samples("step_000001", [group("a", [1.0, 0.0]), group("b", [0.0])])
    lines = (folder.path / "samples" / "step_000001.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [r["sample_id"] for r in rows] == ["a/0", "a/1", "b/0"]
    assert rows[0]["verdict"] == "correct"
    assert rows[1]["verdict"] == "wrong"
    assert rows[0]["response_ids"] == [4, 5]
    assert rows[0]["logprobs"] == [-0.5, -0.5]
    assert rows[0]["advantage"] is None  # NaN is no JSON
    assert rows[2]["problem_id"] == "b"


@pytest.mark.parametrize("another_run", [False, True])
def test_a_folder_that_has_been_moved_away_is_written_to_no_more(
    folder: RunFolder, cfg: Config, another_run: bool
) -> None:
    folder.append_metrics({"step": 1})
    moved = folder.path.rename(folder.path.with_name("moved"))
    if another_run:
        RunFolder(folder.path.parent, "mine").create(cfg)
    before = sorted(folder.path.rglob("*"))
    for write in (lambda: folder.append_metrics({"step": 2}), lambda: save(folder, cfg, 2)):
        with pytest.raises(RlvrError, match=r"run\.name=mine: .*/mine has been removed or moved") as caught:
            write()
        assert type(caught.value) is RlvrError
    assert sorted(folder.path.rglob("*")) == before
    assert RunFolder(moved.parent, "moved").read_metrics() == [{"step": 1}]


def test_a_lock_that_somebody_has_deleted_is_no_reason_to_stop(folder: RunFolder) -> None:
    (folder.path / ".lock").unlink()
    folder.append_metrics({"step": 1})
    assert folder.read_metrics() == [{"step": 1}]


def test_runs_without_a_name_that_begin_in_one_second_have_a_folder_each(tmp_path, cfg, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20260131-235959")
    cfg.run.root, cfg.run.name = str(tmp_path / "runs"), None
    begun = [run_folder(cfg, "grpo") for _ in range(3)]  # before any of them has made its own
    for folder in begun:
        folder.create(cfg)
        folder.append_metrics({"step": 1})
    names = ["grpo-20260131-235959", "grpo-20260131-235959-2", "grpo-20260131-235959-3"]
    assert [folder.path.name for folder in begun] == names
    assert [len(RunFolder(tmp_path / "runs", name).read_metrics()) for name in names] == [1, 1, 1]
    assert (tmp_path / "runs" / "latest").resolve().name == names[-1]
    evaluation = run_folder(cfg, "grpo")
    evaluation.claim()
    assert evaluation.path.name == "grpo-20260131-235959-4"
