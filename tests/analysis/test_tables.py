"""Typed tables: what is written is read back as numbers, and the text of the files stays what it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from rlvr.analysis.tables import Column, as_csv, columns_of, read_csv, table_of
from rlvr.errors import DataError

COLUMNS = (
    Column("name", pa.string(), "name", "its name"),
    Column("tokens", pa.int64(), "tokens", "how many"),
    Column("js", pa.float64(), "nats", "mean"),
)
ROWS = [("a", 3, 0.1 + 0.2), ('b "quoted", with\na line', 4, math.nan), ("NA", 5, None), ("", 6, math.inf)]


def test_text_of_numbers_and_of_what_is_not_known() -> None:
    written = as_csv(table_of(COLUMNS, ROWS), digits=9)
    assert written == 'name,tokens,js\na,3,0.3\n"b ""quoted"", with\na line",4,\nNA,5,\n,6,inf\n'
    assert "0.30000000000000004" in as_csv(table_of(COLUMNS, ROWS))


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(as_csv(table_of(COLUMNS, ROWS)))
    read = read_csv(file, COLUMNS)
    assert read.schema.equals(table_of(COLUMNS, ROWS).schema)
    assert read["name"].to_pylist() == [row[0] for row in ROWS]
    assert read["tokens"].to_pylist() == [3, 4, 5, 6]
    js = read["js"].to_pylist()
    assert js[0] == 0.1 + 0.2
    assert math.isnan(js[1])
    assert math.isnan(js[2])
    assert js[3] == math.inf


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text(as_csv(table_of(COLUMNS, [])))
    assert file.read_text() == "name,tokens,js\n"
    assert read_csv(file, COLUMNS).num_rows == 0
    assert read_csv(file, COLUMNS).schema.field("js").type == pa.float64()


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    file.write_text("js,odd,name,tokens\n0.5,x,a,1\n")
    assert read_csv(file, COLUMNS).to_pylist() == [{"name": "a", "tokens": 1, "js": 0.5}]


@pytest.mark.parametrize("content", ["name,tokens\na,1\n", "name,tokens,js\na,many,0.1\n", ""])
def test_another_table_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=r"other\.csv: cannot be read as a table.*write"):
        read_csv(file, COLUMNS)
    with pytest.raises(DataError, match="missing; run the command"):
        read_csv(tmp_path / "none.csv", COLUMNS)


def test_cells_must_fit_their_columns() -> None:
    with pytest.raises(RuntimeError, match="2 cells under 3 columns"):
        table_of(COLUMNS, [("a", 1)])
    with pytest.raises(pa.ArrowException):
        table_of(COLUMNS, [("a", "one", 0.1)])


def test_columns_of_a_record() -> None:
    @dataclass(frozen=True)
    class Measured:
        name: str
        runs: int
        mean: float
        gain: float | None = None

    kinds = [(c.name, c.type) for c in columns_of(Measured)]
    assert kinds == [
        ("name", pa.string()),
        ("runs", pa.int64()),
        ("mean", pa.float64()),
        ("gain", pa.float64()),
    ]
