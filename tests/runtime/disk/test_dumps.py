"""Sample dumps: written beside the loop, compressed where they are large, read either way."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from rlvr.analysis.shift.responses import response_files
from rlvr.config import Config
from rlvr.errors import DataError, RlvrError
from rlvr.runtime.disk import dumps
from rlvr.runtime.disk.dumps import DumpWriter, dump_files, dump_lines, dump_name, write_dump
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.rewind import rewind
from tests.helpers.disks import fill, small_disk
from tests.helpers.records import group

GROUPS = [group("a", [1.0, 0.0]), group("b", [0.0])]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in dump_lines(path)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_both_forms_hold_the_same_and_one_replaces_the_other(tmp_path):
    plain = rows(write_dump(tmp_path, "step_000001", GROUPS, compress=False))
    assert names(tmp_path) == ["step_000001.jsonl"]
    packed = write_dump(tmp_path, "step_000001", GROUPS, compress=True)
    assert names(tmp_path) == ["step_000001.jsonl.gz"]
    assert rows(packed) == plain
    first = packed.read_bytes()
    assert write_dump(tmp_path, "step_000001", GROUPS, compress=True).read_bytes() == first


@pytest.mark.parametrize("compress", [False, True])
def test_a_dump_that_cannot_be_read_to_its_end_is_named(tmp_path, compress):
    path = write_dump(tmp_path, "step_000001", GROUPS * 50, compress=compress)
    content = path.read_bytes()
    if compress:
        for damaged in (content[:-20], content[:40] + b"\xff" * 40 + content[80:], b"no gzip"):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"step_000001\.jsonl\.gz, line \d+: cannot be read"):
                rows(path)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}, line 1: cannot be read .*No such file"):
        rows(path)


def test_only_large_dumps_are_compressed(tmp_path, monkeypatch):
    writer = DumpWriter(tmp_path)
    writer.write("small", GROUPS)  # six tokens
    writer.flush()
    monkeypatch.setattr(dumps, "COMPRESS_ABOVE_TOKENS", 5)
    writer.write("large", GROUPS)
    writer.flush()
    assert names(tmp_path) == ["large.jsonl.gz", "small.jsonl"]


def test_files_come_in_the_order_of_their_names(tmp_path):
    for name in (
        "eval_000003.jsonl.gz",
        "eval_000000.jsonl",
        "eval_000020.jsonl",
        "step_000001.jsonl",
        "x.txt",
    ):
        (tmp_path / name).touch()
    found = dump_files(tmp_path, "eval_*")
    assert [dump_name(path) for path in found] == ["eval_000000", "eval_000003", "eval_000020"]
    assert len(response_files([str(tmp_path)])) == 4


def test_the_loop_goes_on_while_a_dump_is_written_and_waits_where_many_are(tmp_path, monkeypatch):
    disk, entered = threading.Event(), threading.Event()

    def slow(folder: Path, name: str, groups: object, *, compress: bool) -> None:
        entered.set()
        assert disk.wait(60)
        (folder / name).touch()

    monkeypatch.setattr(dumps, "write_dump", slow)
    writer = DumpWriter(tmp_path)
    for step in range(1 + dumps.WAITING):  # the first is being written, the others wait
        writer.write(str(step), GROUPS)
        assert entered.wait(60)
    assert names(tmp_path) == []
    blocked = threading.Thread(target=writer.write, args=("last", GROUPS))
    blocked.start()
    blocked.join(0.2)
    assert blocked.is_alive()
    disk.set()
    blocked.join(60)
    writer.flush()
    assert names(tmp_path) == sorted([*map(str, range(1 + dumps.WAITING)), "last"])


def test_a_full_disk_is_told_once_with_what_to_do(tmp_path):
    folder = RunFolder(tmp_path, "mine")
    folder.create(Config(recipe="test"))
    (folder.path / "samples").rmdir()
    folder.dump_later("step_000001", GROUPS)
    with pytest.raises(RlvrError, match=r"cannot be written .*run\.resume=auto"):
        folder.finish_dumps()
    folder.finish_dumps()
    (folder.path / "samples").mkdir()
    folder.dump_later("step_000002", GROUPS)
    folder.finish_dumps()
    assert names(folder.path / "samples") == ["step_000002.jsonl"]


def test_a_rewind_drops_both_forms(tmp_path):
    folder = RunFolder(tmp_path, "mine")
    folder.create(Config(recipe="test"))
    for name in ("step_000003.jsonl.gz", "step_000004.jsonl.gz", "eval_000005.jsonl"):
        (folder.path / "samples" / name).touch()
    rewind(folder, 3)
    assert names(folder.path / "samples") == ["step_000003.jsonl.gz"]


@pytest.mark.slow
@pytest.mark.parametrize("compress", [False, True])
def test_a_dump_that_finds_the_disk_full_leaves_no_part_of_itself(tmp_path, compress):
    with small_disk(tmp_path / "small", "64k") as disk:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            write_dump(disk, "step_000001", GROUPS, compress=compress)
        assert names(disk) == ["filler"]
