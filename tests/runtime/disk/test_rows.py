"""Files of rows: only a last line cut short goes without a word, and no other row goes with a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.errors import DataError
from rlvr.runtime.disk.folder import BATCHES
from rlvr.runtime.disk.rewind import rewind
from rlvr.runtime.disk.rows import new_rows, read_rows

ROWS = [{"step": step, "loss": step / 7} for step in range(1, 6)]


def write(path: Path, lines: dict[int, bytes], end: bytes = b"") -> None:
    """The rows with other lines in the place of some."""
    whole = [lines.get(row["step"], json.dumps(row).encode()) for row in ROWS]
    path.write_bytes(b"".join(line + b"\n" for line in whole) + end)


@pytest.mark.parametrize(
    "line",
    [b'{"step": 3, "lo', b"", b"[3]", b"3", b"null", b'{"loss": 0.1}', b'{"step": "3"}', b'{"step": 3, "\xe9": 1}',
     bytes(8)],
)  # fmt: skip
def test_a_damaged_line_costs_itself_and_is_named(tmp_path, caplog, line):
    path = tmp_path / "metrics.jsonl"
    write(path, {3: line}, end=b'{"step": 6, "lo')
    assert [row["step"] for row in read_rows(path)] == [1, 2, 4, 5]
    assert f"{path}: line 3 holds no row" in caplog.text


@pytest.mark.parametrize("value", ['"0.3"', "null", "[0.3]", "true", "{}"])
def test_a_row_of_metrics_whose_value_is_no_number_is_left_out_and_named(tmp_path, caplog, value):
    path = tmp_path / "metrics.jsonl"
    line = f'{{"step": 3, "kind": "train", "loss": {value}}}\n'.encode()
    write(path, {3: line.strip(), 4: b'{"step": 4, "kind": "train", "loss": NaN}'})
    assert [row["step"] for row in read_rows(path, numbers=True)] == [1, 2, 4, 5]
    said = f"{path}: line 3 holds no row (JSON with a step, and numbers beside it) and is left out"
    assert said in caplog.text
    caplog.clear()
    assert [row["step"] for row in new_rows(path, 0)[0]] == [1, 2, 4, 5]
    assert said in caplog.text
    caplog.clear()
    assert len(read_rows(path)) == 5  # batches.jsonl holds lists as well
    assert not caplog.text


@pytest.mark.parametrize(
    "end", [b"", b"{", b'{"step": 6, "lo', b'{"step": 6}', '{"step": 6, "é'.encode()[:-1]]
)
def test_a_last_line_that_was_being_written_needs_no_word(tmp_path, caplog, end):
    path = tmp_path / "metrics.jsonl"
    write(path, {}, end)
    assert read_rows(path)[:5] == ROWS
    assert not caplog.text


def test_what_is_no_beginning_of_a_row_is_named_at_the_end_too(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    write(path, {}, end=bytes(9))
    assert read_rows(path) == ROWS
    assert "line 6 holds no row" in caplog.text


def test_many_damaged_lines_are_counted(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_text("x\n" * 8)
    assert read_rows(path) == []
    assert "line 1, 2, 3, 4, 5 and 3 more holds no row" in caplog.text


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert read_rows(tmp_path / "absent") == []
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path)


def test_new_rows_are_those_behind_what_has_been_read(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    assert new_rows(path, 0) == ([], 0, 0)
    write(path, {4: b'{"step": 4, "lo'}, end=b'{"step": 6, "lo')
    second = len(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    whole = path.read_bytes().rfind(b"\n") + 1
    assert new_rows(path, second) == ([ROWS[2], ROWS[4]], second, whole)
    assert f"{path}: line 4 holds no row" in caplog.text
    caplog.clear()
    assert new_rows(path, whole) == ([], whole, whole)
    assert not caplog.text
    for other in (-1, 0, second + 1, whole + 1, 10_000):  # a file that has been written anew
        assert new_rows(path, other) == ([ROWS[0], ROWS[1], ROWS[2], ROWS[4]], 0, whole)
    with pytest.raises(DataError, match="cannot be read"):
        new_rows(tmp_path, 0)


@pytest.mark.parametrize("name", ["metrics.jsonl", BATCHES])
def test_going_back_keeps_the_rows_after_a_damaged_one_and_the_file_as_it_was(folder, caplog, name):
    path = folder.path / name
    write(path, {2: b'{"step": 2, "lo'})
    before = path.read_bytes()
    rewind(folder, 4)
    assert [row["step"] for row in read_rows(path)] == [1, 3, 4]
    assert f"{path}: line 2 holds no row" in caplog.text
    assert (folder.path / f"abandoned_{name}").read_bytes() == before
    caplog.clear()
    rewind(folder, 4)
    assert not caplog.text


def test_an_odd_version_in_a_row_is_no_reason_to_end(folder):
    row = {"step": 1, "kind": "eval", "eval/a/version_last": "two"}
    folder.append_metrics(row)
    rewind(folder, 1)
    assert read_rows(folder.metrics_file) == [row]
