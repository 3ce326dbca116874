"""Tables with typed columns, the CSV files that hold them, the one way to read them back; and tables of text.

    COLUMNS = (Column("condition", pa.string(), "name", "..."), Column("mean", pa.float64(), "nats", "..."))
    path.write_text(as_csv(table_of(COLUMNS, rows), digits=9))
    table = read_csv(path, COLUMNS)        # table["mean"].to_numpy(), table.to_pylist()

A number that is not known is nan; its cell in a file is empty. A `TextTable` is what people see, the same in Markdown
and on a page. The columns of a parquet file carry their units and meanings in its schema.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from rlvr.errors import DataError

FORMAT_VERSION = "1"  # of the parquet files
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, type, unit and meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


def columns_of(record: type) -> tuple[Column, ...]:
    """The columns of a dataclass with fields of text, whole numbers and numbers; its comments say what they mean."""
    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    # Annotations are text: "float | None".
    return tuple(Column(f.name, kinds[str(f.type).partition(" ")[0]], "", "") for f in fields(record))


def schema(columns: Sequence[Column], **metadata: str) -> pa.Schema:
    """The arrow schema of the columns, each with its unit and meaning as field metadata."""
    return pa.schema(
        [pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning}) for c in columns],
        metadata={"format_version": FORMAT_VERSION, **metadata},
    )


def table_of(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> pa.Table:
    """A table of rows, whose cells stand in the order of the columns; None becomes nan in a column of numbers.

    Raises:
        RuntimeError: a row has another number of cells.
        pa.ArrowException: a cell is not of its column's type.
    """
    kept = list(rows)
    for row in kept:
        if len(row) != len(columns):
            raise RuntimeError(f"a row of {len(row)} cells under {len(columns)} columns: {row}")
    cells = zip(*kept, strict=True) if kept else ((),) * len(columns)
    arrays = [
        _with_nan(pa.array(values, c.type, from_pandas=False))
        for c, values in zip(columns, cells, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema(columns))


def as_csv(table: pa.Table, *, digits: int | None = None) -> str:
    """The text of a CSV file: numbers with so many significant digits, None: as many as tell them apart."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(
        [_cell(value, digits) for value in row]
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
    )
    return out.getvalue()


def records_as_csv(columns: Sequence[Column], records: Iterable[Any], *, digits: int) -> str:
    """The text of a CSV file with a row for each record of a dataclass, whose fields the columns are."""
    return as_csv(table_of(columns, map(astuple, records)), digits=digits)


def read_csv(path: Path, columns: Sequence[Column]) -> pa.Table:
    """Read these columns of a CSV file of ours; others in it are left out.

    Raises:
        DataError: there is no such file, or it does not hold these columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: missing; run the command that writes its folder again")
    names = [c.name for c in columns]
    options = arrow_csv.ConvertOptions(
        include_columns=names, column_types={c.name: c.type for c in columns}, strings_can_be_null=False
    )
    try:
        table = arrow_csv.read_csv(
            path, parse_options=arrow_csv.ParseOptions(newlines_in_values=True), convert_options=options
        )
    except (pa.ArrowException, KeyError, OSError) as error:  # a file that a user may have touched
        raise DataError(
            f"{path}: cannot be read as a table with the columns {', '.join(names)} ({error}); run the command that "
            "writes its folder again"
        ) from error
    filled = [_with_nan(column.combine_chunks()) for column in table.columns]
    return pa.Table.from_arrays(filled, schema=schema(columns))


def where(table: pa.Table, **wanted: object) -> pa.Table:
    """The rows whose columns have these values."""
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def known(table: pa.Table, name: str) -> pa.Table:
    """The rows that have a number in this column."""
    return table.filter(pc.is_finite(table[name]))


def _with_nan(values: pa.Array) -> pa.Array:
    return values.fill_null(math.nan) if pa.types.is_floating(values.type) else values


def _cell(value: Any, digits: int | None) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) and digits is not None else value


@dataclass(frozen=True, slots=True)
class TextTable:
    """Text cells; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def as_markdown(self) -> list[str]:
        """The caption and the lines of the table."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return [
            self.caption,
            "",
            *("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines),
        ]


def text_table(
    caption: str, rows: Iterable[Record], *columns: tuple[str, Callable[[Record], str]]
) -> TextTable:
    """A table with a row for each record; a column is its head and what it shows of a record."""
    cells = tuple(tuple(show(row) for _, show in columns) for row in rows)
    return TextTable(tuple(head for head, _ in columns), cells, caption)
