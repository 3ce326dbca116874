"""What the rows of a data set become: the format that they have, by its columns, and the problem of one row."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from rlvr.config import SourceConfig
from rlvr.data.catalog import LOCAL_FILE, CatalogEntry, as_text
from rlvr.data.reading.cells import BadCellError, columns_of, read_cell
from rlvr.data.reading.formats import FORMATS, likely_format
from rlvr.data.reading.rows import Row
from rlvr.data.tasks.generated import task_of
from rlvr.reward.example import find_column
from rlvr.reward.verdict import Rules, options_text
from rlvr.reward.verifiers import reads_row
from rlvr.types import Problem

log = logging.getLogger(__name__)

ROWS_LOOKED_AT = 20  # objects among which there has to be a good row that tells a file's format


def format_of_rows(
    cfg: SourceConfig, known: CatalogEntry | None, rows: Iterator[Row], verifier: str | None
) -> tuple[str, CatalogEntry, Iterator[Row]]:
    """How to read rows: the format's name, what it looks for, and all the rows.

    A known set on the hub is read as such. Otherwise the first row that can be read decides: a known name means a copy
    of that set, unless only another format can read that row; then the first format that can, with its answers before
    without them. Where none of the first rows can be read, the format whose columns they have says what is wrong.
    """
    formats = {
        name: with_columns(cfg, entry)
        for name, entry in FORMATS.items()
        if cfg.format is None or name == cfg.format
    }
    if known is not None and cfg.path is None:
        return "", known, rows
    seen: list[Row] = []
    for row in islice((row for row in _noting(rows, seen) if row.values is not None), ROWS_LOOKED_AT):
        reason = "" if known is None else _unreadable(cfg, known, row)
        if known is not None and not reason:
            return "", known, chain(seen, rows)
        fitting = _first_that_reads(row, cfg, formats, verifier)
        if fitting is None:
            continue
        if known is not None:
            log.warning(
                "data source %s: %s is no copy of that data set (row %d%s): it is read as it stands",
                cfg.name,
                row.file,
                row.number,
                reason,
            )
        return *fitting, chain(seen, rows)
    if known is not None:
        return "", known, chain(seen, rows)
    likely = likely_format([row.values for row in seen if row.values is not None], formats)
    return likely, formats[likely], chain(seen, rows)


def _first_that_reads(
    row: Row, cfg: SourceConfig, formats: dict[str, CatalogEntry], verifier: str | None
) -> tuple[str, CatalogEntry] | None:
    """The first format that can read a row; without its answer only where nothing asks for one."""
    for name, entry in formats.items():
        if not _unreadable(cfg, entry, row):
            return name, entry
    if cfg.answer is not None or not reads_row(cfg.verifier or verifier):
        return None
    for name, entry in formats.items():
        without = replace(entry, answer=())
        if not _unreadable(cfg, without, row):
            return name, without
    return None


def _noting(rows: Iterator[Row], seen: list[Row]) -> Iterator[Row]:
    for row in rows:
        seen.append(row)
        yield row


def _unreadable(cfg: SourceConfig, entry: CatalogEntry, row: Row) -> str:
    """Why a row cannot be read by an entry; empty where it can."""
    try:
        problem_of(cfg, entry, row)
    except BadCellError as error:
        return f", column {error.column!r}: {error}"
    return ""


def with_columns(cfg: SourceConfig, entry: CatalogEntry) -> CatalogEntry:
    """The entry with the configuration's columns; one that is not the data set's own is read as it stands."""
    own_question = cfg.question is not None and cfg.question not in entry.question
    own_answer = cfg.answer is not None and cfg.answer not in entry.answer
    return replace(
        entry,
        question=(cfg.question,) if cfg.question else entry.question,
        answer=(cfg.answer,) if cfg.answer else entry.answer,
        id=(cfg.id,) if cfg.id else entry.id,
        read_question=LOCAL_FILE.read_question if own_question else entry.read_question,
        read_answer=LOCAL_FILE.read_answer if own_answer else entry.read_answer,
    )


def problem_of(cfg: SourceConfig, entry: CatalogEntry, row: Row) -> Problem:
    """The problem of a row, read by an entry.

    Raises:
        BadCellError: the row, or a cell of it, cannot be read so; with its column.
    """
    if row.values is None:
        raise BadCellError("", row.reason)
    question = read_cell(row.values, entry.question, entry.read_question)
    answer = read_cell(row.values, entry.answer, entry.read_answer) if entry.answer else ""
    if cfg.id is not None or any(find_column(row.values, column)[1] is not None for column in entry.id):
        name = read_cell(row.values, entry.id, as_text)
    else:
        name = f"{row.part}/{row.number}"
    messages = question if isinstance(question, tuple) else ()
    if messages:
        question = "\n\n".join(f"{message.role}: {message.content}" for message in messages)
    columns = columns_of(row.values)
    return Problem(f"{cfg.name}/{name}", question, answer, cfg.name, messages, columns, rules_of(cfg))


def rules_of(cfg: SourceConfig) -> Rules:
    """How a source says that its answers are graded; a built-in task may know it by itself."""
    task = task_of(cfg.name) if cfg.path is None else None
    verifier = cfg.verifier if cfg.verifier is not None or task is None else task.verifier
    return Rules(verifier, cfg.policy, cfg.correct_from, options_text(cfg.verifier_options))
