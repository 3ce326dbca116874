"""Read the rows of a data set from the Hugging Face hub, or from local json, jsonl, parquet, arrow and csv files."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.data.catalog import CatalogEntry
from rlvr.data.reading.json_tables import refuse_tables
from rlvr.data.reading.local_files import SUFFIXES, local_files, suffix_of
from rlvr.data.reading.parquet import arrow_values, labelled, parquet_values
from rlvr.data.reading.wrong_files import what_instead
from rlvr.errors import DataError

_TOO_DEEP = "is nested too deep to be read"
OTHER_COMMAS = ";\t|"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as read: its values, or the reason why there are none."""

    file: str  # the file, or the hub data set and split
    part: str  # stem of the file, or the split: the stable middle of a generated id
    number: int  # counted from 1; in jsonl the line of the file, in csv the first row after the header
    values: dict[str, Any] | None
    reason: str = ""


def hub_rows(entry: CatalogEntry, split: str) -> Iterator[Row]:
    """Yield the rows of a hub data set; a folder in the hub's layout can stand in for the hub id.

    Raises DataError without the `datasets` library, and where the hub, the configuration or the split fails.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"data set {entry.hub_id!r} comes from the Hugging Face hub; that needs the `datasets` library: "
            "pip install 'rlvr[hub]', or download the files and set the source's path"
        ) from error
    try:
        table = datasets.load_dataset(entry.hub_id, entry.config, split=split)
    except Exception as error:  # the hub is outside our control, as that library: say what was asked of it
        raise DataError(
            f"cannot load split {split!r} of {entry.hub_id!r} (configuration {entry.config!r}) from the hub: "
            f"{error}. Check the name of the split and the network, or download the files and set the path"
        ) from error
    labels = {
        name: kind.names for name, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)
    }
    number = 0
    for batch in table.iter(batch_size=1000):
        for values in zip(*(labelled(batch[name], labels.get(name)) for name in batch), strict=True):
            number += 1
            yield Row(f"{entry.hub_id}[{split}]", split, number, dict(zip(batch, values, strict=True)))


def local_rows(path: Path, split: str | None) -> Iterator[Row]:
    """Yield the rows of a file, or of a folder's files in the order of their names.

    In a folder a split means the files that `is_of` it. A file alone is the split that its name tells, else the
    training split, as for the `datasets` library. Raises DataError for a path that does not exist or holds no data
    file, for a folder of several splits when none is named, for a file that is another split than the one named, and
    for a file that cannot be read.
    """
    readers = {
        ".jsonl": _jsonl_rows,
        ".jsonl.gz": _packed_rows,
        ".json": _json_rows,
        ".parquet": _table_rows,
        ".arrow": _table_rows,
        ".csv": _csv_rows,
    }
    files = local_files(path, split)
    for file in files:
        try:
            instead = what_instead(file)
        except OSError as error:
            raise DataError(f"data file {file} cannot be read: {error.strerror}") from error
        if instead is not None:
            raise DataError(f"data file {file} is {instead}")
        yield from readers[suffix_of(file)](file)


def _jsonl_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        yield from _rows_of_lines(file, lines)


def _packed_rows(file: Path) -> Iterator[Row]:
    try:
        with gzip.open(file, "rb") as lines:
            yield from _rows_of_lines(file, lines)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:  # untrusted input: say which file it was
        raise DataError(f"data file {file} is not a readable gzip file: {error}") from error


def _json_rows(file: Path) -> Iterator[Row]:
    """The objects of a list, or of the only list in an object; a file with an object a line is read as such."""
    raw = file.read_bytes()
    try:
        content, repeated = _parsed(raw)
    except ValueError:  # no single value: lines, of which each bad one is reported
        yield from _rows_of_lines(file, raw.splitlines())
        return
    except RecursionError as error:
        if not raw.lstrip().startswith(b"["):  # one of the lines
            yield from _rows_of_lines(file, raw.splitlines())
            return
        raise DataError(f"data file {file} {_TOO_DEEP}") from error
    if repeated:
        raise DataError(f"data file {file} has an object with the key {repeated[0]!r} twice")
    if isinstance(content, dict):
        refuse_tables(file, content)
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(content) == len(lists) == 1 else [content]
    if not isinstance(content, list):
        raise DataError(
            f"data file {file} is a JSON {type(content).__name__}; expected a list of objects, or an object a line"
        )
    for number, values in enumerate(content, start=1):
        yield _row(file, number, values)


def _parsed(raw: bytes) -> tuple[Any, list[str]]:
    """A JSON value, and the keys that stand in one object twice, where a parser would keep the last value.

    Raises:
        ValueError: it is not JSON, or not UTF-8.
        RecursionError: it is nested too deep.
    """
    repeated: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.append(next(name for name in names if names.count(name) > 1))
        return found

    return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=read), repeated


def _rows_of_lines(file: Path, lines: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values, repeated = _parsed(line)
        except ValueError as error:  # untrusted input: covers bad JSON and bad UTF-8
            spread = line.strip() in (b"{", b"[") and file.name.lower().endswith(SUFFIXES[:2])
            hint = "; a value over several lines belongs in a .json file" if spread else ""
            yield Row(str(file), _part(file), number, None, f"is not JSON: {error}{hint}")
        except RecursionError:
            yield Row(str(file), _part(file), number, None, _TOO_DEEP)
        else:
            if repeated:
                yield Row(str(file), _part(file), number, None, f"has the key {repeated[0]!r} twice")
            else:
                yield _row(file, number, values)


def _row(file: Path, number: int, values: Any) -> Row:
    if isinstance(values, dict):
        return Row(str(file), _part(file), number, values)
    kind = type(values).__name__
    hint = "; a list of rows belongs in a .json file" if kind == "list" else ""
    return Row(str(file), _part(file), number, None, f"is a JSON {kind}, expected an object{hint}")


def _part(file: Path) -> str:
    return file.name[: len(file.name) - len(suffix_of(file))]


def _table_rows(file: Path) -> Iterator[Row]:
    read = arrow_values if suffix_of(file) == ".arrow" else parquet_values
    for number, values in enumerate(read(file), start=1):
        yield Row(str(file), file.stem, number, values)


def _csv_rows(file: Path) -> Iterator[Row]:
    start = 1  # line on which the row begins
    usual = csv.field_size_limit(sys.maxsize)  # 128 kB, for all readers of the process
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            # Strict: a quote that never closes would else take all later rows into its field, without a word.
            table = csv.DictReader(lines, strict=True)
            table.fieldnames = [name.strip() for name in table.fieldnames or ()]
            names = [name for name in table.fieldnames if name]
            others = [mark for mark in OTHER_COMMAS if len(names) == 1 and mark in names[0]]
            if others:
                raise DataError(
                    f"data file {file} separates its columns by {others[0]!r}: {names[0]!r}; write it with commas"
                )
            if len(set(names)) < len(names):
                raise DataError(f"data file {file} has two columns of one name: {', '.join(names)}")
            start = table.line_num + 1
            for number, values in enumerate(table, start=1):
                start = table.line_num + 1
                if None in values or None in values.values():
                    yield Row(str(file), file.stem, number, None, "has more or fewer fields than the header")
                else:
                    yield Row(str(file), file.stem, number, dict(values))
    except csv.Error as error:  # untrusted input: say where it was
        raise DataError(
            f"data file {file}: the row that begins on line {start} is no csv ({error}); a quote that opens a field "
            "has to close it, and one within a field is written twice"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"data file {file} is not a readable UTF-8 csv file: {error}") from error
    finally:
        csv.field_size_limit(usual)
