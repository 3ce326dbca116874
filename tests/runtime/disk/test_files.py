"""Folders that take the place of earlier ones whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr.config import Config
from rlvr.errors import RlvrError
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.disk.files import replacing_folder
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.session import Session
from rlvr.timing import Stopwatch


def parts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.mkdir()
    for part in ("1-of-2", "2-of-2"):
        (path / part).write_text("old")
    return path


def test_a_folder_is_replaced_as_a_whole(there: Path):
    with replacing_folder(there) as draft:
        (draft / "1-of-1").write_text("new")
        assert parts(there) == {"1-of-2": "old", "2-of-2": "old"}
    assert parts(there.parent) == {"policy/1-of-1": "new"}


@pytest.mark.parametrize("failed", [1, 2])
def test_an_interrupt_between_the_two_renames_brings_the_old_folder_back(
    there: Path, monkeypatch, failed: int
):
    replace, calls = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failed:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(there) as draft:
        (draft / "1-of-2").write_text("new")
    assert parts(there.parent) == {"policy/1-of-2": "old", "policy/2-of-2": "old"}


def test_what_a_kill_has_left_is_not_in_the_way(there: Path):
    for left in (".policy.draft", ".policy.old"):
        (there.parent / left).mkdir()
        (there.parent / left / "half").write_text("")
    with replacing_folder(there) as draft:
        (draft / "1-of-1").write_text("new")
    assert parts(there.parent) == {"policy/1-of-1": "new"}


def test_an_export_that_ends_half_way_leaves_the_policy_of_before(there: Path):
    def half(folder: str) -> None:
        (Path(folder) / "1-of-2").write_text("new")
        raise OSError("no space left")

    folder, state = RunFolder(there.parent.parent, there.parent.name), TrainingState(0, 0, 0, 0.0, 0.0, {})
    session = SimpleNamespace(
        cfg=Config(recipe="test"),
        folder=folder,
        start=state,
        loop=Stopwatch(),
        learner=SimpleNamespace(export=half),
    )
    with pytest.raises(RlvrError, match=r"no space left.*run\.resume=auto"):
        Session.finish(session, state, [])  # type: ignore[arg-type]
    assert parts(there.parent) == {"policy/1-of-2": "old", "policy/2-of-2": "old"}
