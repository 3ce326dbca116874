"""Read parquet and arrow files row by row, with numbers as their writer had them. Pure but for reading the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr.errors import DataError

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 1000
INDEXED = b"ARROW1"  # how an arrow file begins that is no stream


def parquet_values(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the values of each row by column.

    Raises:
        DataError: the file is damaged, holds a column twice, or holds values that Python has no form for.
    """
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        yield from _rows(file, table.schema_arrow, table.iter_batches(batch_size=BATCH_ROWS))
    except (pyarrow.ArrowException, OSError) as error:  # untrusted input: say which file it was
        raise DataError(f"data file {file} is not a readable parquet file: {error}") from error


def arrow_values(file: Path) -> Iterator[dict[str, Any]]:
    """The same of an arrow file, a stream as the `datasets` library saves it or a file with an index.

    Raises:
        DataError: as `parquet_values`.
    """
    import pyarrow

    try:
        with pyarrow.memory_map(str(file)) as source:
            indexed = source.read(len(INDEXED)) == INDEXED
            source.seek(0)
            if indexed:
                table = pyarrow.ipc.open_file(source)
                batches = (table.get_batch(place) for place in range(table.num_record_batches))
                yield from _rows(file, table.schema, batches)
            else:
                stream = pyarrow.ipc.open_stream(source)
                yield from _rows(file, stream.schema, stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"data file {file} is not a readable arrow file: {error}") from error


def _rows(
    file: Path, schema: pyarrow.Schema, batches: Iterable[pyarrow.RecordBatch]
) -> Iterator[dict[str, Any]]:
    names = schema.names
    if len(set(names)) < len(names):
        raise DataError(f"data file {file} has two columns of one name among {', '.join(names)}")
    labels = _labels(schema)
    for batch in batches:
        columns = [labelled(_values(file, batch, name), labels.get(name)) for name in names]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _labels(schema: pyarrow.Schema) -> dict[str, list[str]]:
    """The names of the classes of each column that holds their places, as the `datasets` library notes them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): list(kind["names"]) for name, kind in features.items() if "names" in kind}
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody else's notes, or none
        return {}


def labelled(values: Iterable[Any], names: Sequence[str] | None) -> list[Any]:
    """Places of classes as the classes' names: MMLU writes its answer B as 1."""
    if names is None:
        return list(values)
    return [
        names[value] if isinstance(value, int) and 0 <= value < len(names) else None if value == -1 else value
        for value in values
    ]


def _values(file: Path, batch: pyarrow.RecordBatch, name: str) -> list[Any]:
    """The values of a column; a date that Python has no form for as text."""
    import pyarrow

    column = batch.column(name)
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError):
        try:
            values = column.cast(pyarrow.string()).to_pylist()
        except (pyarrow.ArrowException, ValueError) as error:
            raise DataError(
                f"data file {file}: column {name!r} of type {column.type} cannot be read: {error}; write it without "
                "that column"
            ) from error
    return [_shortened(value, column.type) for value in values] if _is_short(column.type) else values


def _is_short(kind: pyarrow.DataType) -> bool:
    """Whether numbers of fewer than 64 bits are among the values of a type."""
    import pyarrow

    if pyarrow.types.is_float16(kind) or pyarrow.types.is_float32(kind):
        return True
    return any(_is_short(kind.field(place).type) for place in range(kind.num_fields))


def _shortened(value: Any, kind: pyarrow.DataType) -> Any:
    """The value with its short numbers as their shortest decimals: 0.1 is no 0.10000000149011612."""
    import pyarrow

    if isinstance(value, list) and kind.num_fields == 1:
        return [_shortened(part, kind.field(0).type) for part in value]
    if isinstance(value, dict):
        return {name: _shortened(part, kind.field(name).type) for name, part in value.items()}
    if value is None or not _is_short(kind) or kind.num_fields:
        return value
    return float(str(np.float16(value) if pyarrow.types.is_float16(kind) else np.float32(value)))
