"""Read problems from the Hugging Face hub or from local jsonl, parquet and csv files.

Files are untrusted input: every row that cannot become a problem is reported with its file and row number.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.config import SourceConfig
from rlvr.data.arithmetic import held_out, train_problem
from rlvr.data.catalog import CATALOG, LOCAL_FILE, CatalogEntry, as_text
from rlvr.types import Problem

log = logging.getLogger(__name__)

ARITHMETIC = "arithmetic"
ARITHMETIC_HELD_OUT = "arithmetic_heldout"
HELD_OUT_SIZE = 200  # problems of arithmetic_heldout when the configuration sets no limit
SUFFIXES = (".jsonl", ".parquet", ".csv")
KINDS = ", ".join(SUFFIXES)
SPLITS = ("train", "validation", "test")
ROWS_LISTED = 5  # bad rows that an error message names


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not become a problem."""

    file: str  # the file, or the hub data set and split
    row: int  # counted from 1; in jsonl the line of the file, in csv the first row after the header
    column: str  # empty where the whole row is unreadable
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        return f"{self.file}, row {self.row}{column}: {self.reason}"


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """The problems of one data set, and what was left out of it."""

    name: str
    problems: tuple[Problem, ...]
    bad_rows: tuple[BadRow, ...] = ()
    repeated: int = 0  # exact repetitions that the published file is known to contain


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as read: its values, or the reason why there are none."""

    file: str
    part: str  # stem of the file, or the split: the stable middle of a generated id
    number: int
    values: dict[str, Any] | None
    reason: str = ""


class _BadCell(ValueError):
    def __init__(self, column: str, reason: str):
        super().__init__(reason)
        self.column = column


def load_problems(cfg: SourceConfig, *, on_bad_row: str = "refuse", evaluation: bool = False) -> LoadedSource:
    """Load a data set: from `cfg.path` if that is set, else built in or from the hub by `cfg.name`.

    A problem's id is `<name>/<id column>`, or `<name>/<file stem or split>/<row>` where a row has no id.
    Without `cfg.split` the hub's training split is read, or its test split when `evaluation` is set.
    With `on_bad_row="skip"` bad rows are logged, counted and returned; with "refuse" they raise ValueError,
    as do an unknown name, a missing file and a source without any problem.
    """
    if on_bad_row not in ("refuse", "skip"):
        raise ValueError(f"data.on_bad_row is {on_bad_row!r}; expected 'refuse' or 'skip'")
    if cfg.limit is not None and cfg.limit < 1:
        raise ValueError(f"data source {cfg.name!r}: limit is {cfg.limit}; expected at least 1, or null")
    if cfg.path is None and cfg.name in (ARITHMETIC, ARITHMETIC_HELD_OUT):
        return _load_arithmetic(cfg)
    entry = _entry(cfg)
    if cfg.path is not None:
        rows = _local_rows(Path(cfg.path).expanduser(), cfg.split)
    else:
        rows = _hub_rows(entry, cfg.split or (entry.eval_split if evaluation else entry.train_split))
    loaded = _collect(cfg, entry, rows)
    _report(loaded, on_bad_row)
    return loaded


def _load_arithmetic(cfg: SourceConfig) -> LoadedSource:
    if cfg.name == ARITHMETIC_HELD_OUT:
        return LoadedSource(cfg.name, tuple(held_out(HELD_OUT_SIZE if cfg.limit is None else cfg.limit)))
    if cfg.limit is None:
        raise ValueError(
            f"data source {ARITHMETIC!r} is endless; set its limit, or evaluate on {ARITHMETIC_HELD_OUT!r}"
        )
    return LoadedSource(cfg.name, tuple(train_problem(0, index) for index in range(cfg.limit)))


def _entry(cfg: SourceConfig) -> CatalogEntry:
    """The catalogue entry of the name, with the configuration's columns in place of the usual ones."""
    if cfg.path is None and cfg.name not in CATALOG:
        known = ", ".join([ARITHMETIC, ARITHMETIC_HELD_OUT, *CATALOG])
        raise ValueError(
            f"unknown data set {cfg.name!r}; expected one of {known}, or any label together with the path of "
            f"a {KINDS} file or a folder of them"
        )
    entry = CATALOG.get(cfg.name, LOCAL_FILE)
    return replace(
        entry,
        question=(cfg.question,) if cfg.question else entry.question,
        answer=(cfg.answer,) if cfg.answer else entry.answer,
        id=(cfg.id,) if cfg.id else entry.id,
    )


def _collect(cfg: SourceConfig, entry: CatalogEntry, rows: Iterator[_Row]) -> LoadedSource:
    problems: dict[str, Problem] = {}
    bad: list[BadRow] = []
    repeated = 0
    for row in rows:
        if cfg.limit is not None and len(problems) == cfg.limit:
            break
        try:
            problem = _problem(cfg, entry, row)
        except _BadCell as error:  # untrusted input: reported with its place, by the policy of on_bad_row
            bad.append(BadRow(row.file, row.number, error.column, str(error)))
            continue
        first = problems.setdefault(problem.id, problem)
        if first is problem:
            continue
        if entry.repeats and first == problem:
            repeated += 1
        else:
            reason = f"the id {problem.id!r} is already taken by an earlier row"
            bad.append(BadRow(row.file, row.number, entry.id[0], reason))
    return LoadedSource(cfg.name, tuple(problems.values()), tuple(bad), repeated)


def _problem(cfg: SourceConfig, entry: CatalogEntry, row: _Row) -> Problem:
    if row.values is None:
        raise _BadCell("", row.reason)
    question = _cell(row.values, entry.question, entry.read_question)
    answer = _cell(row.values, entry.answer, entry.read_answer)
    if cfg.id is not None or any(_find(row.values, column)[1] is not None for column in entry.id):
        name = _cell(row.values, entry.id, as_text)
    else:
        name = f"{row.part}/{row.number}"
    return Problem(id=f"{cfg.name}/{name}", question=question, answer=answer, source=cfg.name)


def _cell(values: dict[str, Any], columns: tuple[str, ...], read: Any) -> str:
    for column in columns:
        there, value = _find(values, column)
        if not there:
            continue
        try:
            text = read(value)
        except ValueError as error:  # untrusted input: the reader says what is wrong with the cell
            raise _BadCell(column, str(error)) from error
        if not text:
            raise _BadCell(column, "is empty")
        return text
    wanted = " or ".join(repr(column) for column in columns)
    raise _BadCell(columns[0], f"there is no column {wanted}; the row has {', '.join(values) or 'none'}")


def _find(values: dict[str, Any], column: str) -> tuple[bool, Any]:
    """Look a column up: the name as it stands, else step by step along its dots."""
    if column in values:
        return True, values[column]
    value: Any = values
    for key in column.split("."):
        if not isinstance(value, dict) or key not in value:
            return False, None
        value = value[key]
    return True, value


def _report(loaded: LoadedSource, on_bad_row: str) -> None:
    listed = "".join(f"\n  {row}" for row in loaded.bad_rows[:ROWS_LISTED])
    more = len(loaded.bad_rows) - ROWS_LISTED
    listed += f"\n  and {more} more" if more > 0 else ""
    if loaded.bad_rows and on_bad_row == "refuse":
        raise ValueError(
            f"data source {loaded.name!r}: {len(loaded.bad_rows)} bad rows:{listed}\n"
            "Correct the rows, name the right columns (question, answer, id of the source), "
            "or set data.on_bad_row=skip to go on without them"
        )
    if not loaded.problems:
        raise ValueError(
            f"data source {loaded.name!r} holds no problem ({len(loaded.bad_rows)} bad rows){listed}"
        )
    if loaded.bad_rows:
        log.warning("data source %s: skipped %d bad rows:%s", loaded.name, len(loaded.bad_rows), listed)
    if loaded.repeated:
        log.info("data source %s: left out %d repeated rows", loaded.name, loaded.repeated)


def _hub_rows(entry: CatalogEntry, split: str) -> Iterator[_Row]:
    """Rows of a hub data set; a folder in the hub's layout can stand in for the hub id."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            f"data set {entry.hub_id!r} comes from the Hugging Face hub; that needs the `datasets` library: "
            "pip install 'rlvr[hub]', or download the files and set the source's path"
        ) from error
    table = datasets.load_dataset(entry.hub_id, entry.config, split=split)
    number = 0
    for batch in table.iter(batch_size=1000):
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield _Row(f"{entry.hub_id}[{split}]", split, number, dict(zip(batch, values, strict=True)))


def _local_rows(path: Path, split: str | None) -> Iterator[_Row]:
    readers = {".jsonl": _jsonl_rows, ".parquet": _parquet_rows, ".csv": _csv_rows}
    files = _local_files(path, split)
    for file in files:
        yield from readers[file.suffix](file)


def _local_files(path: Path, split: str | None) -> list[Path]:
    """The files to read, sorted; in a folder a split means the files whose names start with it."""
    if not path.exists():
        raise ValueError(f"data path {path} does not exist; expected a {KINDS} file or a folder of them")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise ValueError(f"data file {path} ends in {path.suffix!r}; expected {KINDS}")
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if split is not None:
        files = [file for file in files if file.name.startswith(split)]
    splits = {name for name in SPLITS if any(file.name.startswith(name) for file in files)}
    if len(splits) > 1:
        raise ValueError(
            f"data folder {path} holds the splits {', '.join(sorted(splits))}; set the source's split"
        )
    if not files:
        wanted = f" whose names start with {split!r}" if split else ""
        raise ValueError(f"data folder {path} holds no {KINDS} files{wanted}")
    return files


def _jsonl_rows(file: Path) -> Iterator[_Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line.decode("utf-8-sig"))
            except ValueError as error:  # untrusted input: covers bad JSON and bad UTF-8
                yield _Row(str(file), file.stem, number, None, f"is not JSON: {error}")
                continue
            if isinstance(values, dict):
                yield _Row(str(file), file.stem, number, values)
            else:
                kind = type(values).__name__
                yield _Row(str(file), file.stem, number, None, f"is a JSON {kind}, expected an object")


def _parquet_rows(file: Path) -> Iterator[_Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:  # untrusted input: say which file it was
        raise ValueError(f"data file {file} is not a readable parquet file: {error}") from error
    number = 0
    for batch in table.iter_batches(batch_size=1000):
        for values in batch.to_pylist():
            number += 1
            yield _Row(str(file), file.stem, number, values)


def _csv_rows(file: Path) -> Iterator[_Row]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, values in enumerate(csv.DictReader(lines), start=1):
                if None in values or None in values.values():
                    yield _Row(str(file), file.stem, number, None, "has more or fewer fields than the header")
                else:
                    yield _Row(str(file), file.stem, number, dict(values))
    except (csv.Error, UnicodeDecodeError) as error:  # untrusted input: say which file it was
        raise ValueError(f"data file {file} is not a readable UTF-8 csv file: {error}") from error
