"""Only folders called step_<number> are checkpoints; copies that somebody made are left alone."""

from __future__ import annotations

import shutil

import pytest

from rlvr.errors import CheckpointError
from rlvr.runtime.checkpoints.checkpoint import find_checkpoint, list_checkpoints, load_state, set_aside_later
from tests.helpers.checkpoints import names, save

COPIES = (
    "step_000010.bak",
    "step_000010 (copy)",
    "step_000010_keep",
    "step_best",
    "step_",
    "step_-5",
    "old_step_000010",
)


@pytest.fixture
def with_copies(folder, cfg):
    cfg.run.keep_last = 1
    path = save(folder, cfg, 10)
    for name in COPIES:
        shutil.copytree(path, folder.checkpoints / name)
    return folder


def test_copies_are_neither_found_nor_deleted(with_copies, cfg):
    assert list_checkpoints(with_copies) == [with_copies.checkpoints / "step_000010"]
    save(with_copies, cfg, 20)
    assert names(with_copies) == sorted([*COPIES, "step_000020"])
    assert find_checkpoint(with_copies, "auto") == with_copies.checkpoints / "step_000020"


def test_copies_stay_where_a_run_goes_back(with_copies, cfg):
    cfg.run.keep_last = 2
    save(with_copies, cfg, 20)
    set_aside_later(with_copies, 10)
    assert names(with_copies) == sorted([*COPIES, "step_000010", "abandoned_step_000020"])


def test_a_copy_can_be_gone_on_from_by_its_path(with_copies, cfg):
    copy = with_copies.checkpoints / "step_000010_keep"
    assert load_state(find_checkpoint(with_copies, str(copy)), cfg).step == 10
    (copy / "state.json").write_text("")
    with pytest.raises(CheckpointError, match=r"run\.resume=.*/step_000010,"):
        load_state(copy, cfg)


def test_steps_are_in_the_order_of_their_numbers(folder, cfg):
    cfg.run.keep_last = 2
    for step in (999_998, 999_999, 1_000_000):
        save(folder, cfg, step)
    assert [path.name for path in list_checkpoints(folder)] == ["step_999999", "step_1000000"]
    assert find_checkpoint(folder, "auto").name == "step_1000000"


def test_the_home_folder_is_written_out(folder, cfg, monkeypatch):
    path = save(folder, cfg, 10)
    monkeypatch.setenv("HOME", str(folder.path))
    assert find_checkpoint(folder, "~/checkpoints/step_000010") == path
    cfg.run.resume = "~/checkpoints/step_000010"
    folder.append_metrics({"step": 1})
    folder.create(cfg)  # it is this run's own
