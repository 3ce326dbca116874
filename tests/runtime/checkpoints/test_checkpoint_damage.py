"""Damaged checkpoints: named, with the intact one before them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.errors import CheckpointError
from rlvr.runtime.checkpoints.checkpoint import (
    find_checkpoint,
    load_state,
    restore,
)
from rlvr.runtime.disk.manifest import WHOLE_BYTES
from rlvr.runtime.disk.summary import ChangedSetting
from tests.helpers.checkpoints import STATE, learner, save


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" + path.read_bytes()[2:])


@pytest.mark.slow
@pytest.mark.parametrize("harm", [cut, zeroed, Path.unlink])
@pytest.mark.parametrize(
    "name", ["deepspeed/weights.pt", "state.json", "config.yaml", "changes.jsonl", "manifest.json"]
)
def test_a_damaged_checkpoint_names_the_intact_one_before_it(folder, cfg, name, harm):
    cfg.run.keep_last = 3
    folder.write_changes([ChangedSetting(3, "learner.lr", 1.0, 2.0)])
    intact, broken, last = (save(folder, cfg, step) for step in (10, 20, 30))
    for path in (broken, last):
        harm(path / name)
    assert find_checkpoint(folder, "auto") == last  # it is not passed over in silence
    if name == "manifest.json" and harm is Path.unlink:
        assert load_state(last, cfg).step == 30  # as a checkpoint that was written before there were any
        return
    with pytest.raises(CheckpointError, match=rf"step_000030: cannot be read .*run\.resume={intact}"):
        load_state(find_checkpoint(folder, str(last)), cfg)
    assert load_state(intact, cfg).step == 10


@pytest.mark.parametrize("name", ["state.json", "config.yaml", "manifest.json"])
def test_a_binary_file_is_damage_too(folder, cfg, name):
    path = save(folder, cfg, 10)
    binary(path / name)
    with pytest.raises(CheckpointError, match="step_000010: cannot be read"):
        load_state(path, cfg)


def test_without_an_intact_checkpoint_the_message_says_so(folder, cfg):
    path = save(folder, cfg, 10)
    (path / "deepspeed" / "weights.pt").unlink()
    with pytest.raises(CheckpointError, match=r"weights\.pt is missing\)\. There is no intact one before it"):
        load_state(path, cfg)


@pytest.mark.slow
def test_large_files_are_known_by_their_ends(folder, cfg):
    def large(target: str) -> None:
        learner(target)
        with (Path(target) / "deepspeed" / "weights.pt").open("wb") as file:
            file.truncate(WHOLE_BYTES + 10)
            file.seek(WHOLE_BYTES)
            file.write(b"the end")

    path = save(folder, cfg, 10, large)
    assert load_state(path, cfg) == STATE
    with (path / "deepspeed" / "weights.pt").open("r+b") as file:
        file.seek(WHOLE_BYTES)
        file.write(bytes(7))
    with pytest.raises(CheckpointError, match=r"weights\.pt holds other content than was written"):
        load_state(path, cfg)


@pytest.mark.slow
def test_weights_that_cannot_be_loaded_are_damage_too(folder, cfg):
    """What the manifest cannot know: it is missing, or the damage lies in the middle of a large file."""
    earlier, path = save(folder, cfg, 10), save(folder, cfg, 20)

    def load(target: str) -> None:
        assert target == str(path.absolute())
        raise CheckpointError("loading its weights failed: EOFError: Ran out of input")

    with pytest.raises(CheckpointError, match=rf"step_000020: .*EOFError.*run\.resume={earlier}"):
        restore(path, load)


@pytest.mark.slow
def test_files_that_are_added_later_do_no_harm(folder, cfg):
    path = save(folder, cfg, 10)
    (path / "policy").mkdir()
    (path / "policy" / "config.json").write_text("{}")
    assert load_state(path, cfg) == STATE


def test_a_checkpoint_of_an_earlier_version_is_loaded(folder, cfg):
    path = save(folder, cfg, 10)
    (path / "manifest.json").unlink()
    content = json.loads((path / "state.json").read_text())
    del content["data"]
    (path / "state.json").write_text(json.dumps(content))
    assert load_state(path, cfg) == replace(STATE, data=None)
