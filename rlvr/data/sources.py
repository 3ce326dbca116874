"""Turn the rows of a data set into problems.

Files are untrusted input: every row that cannot become a problem is reported with its file and row number.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.catalog import CATALOG, LOCAL_FILE, CatalogEntry, as_text
from rlvr.data.reading.cells import BadCellError, columns_of, read_cell
from rlvr.data.reading.formats import FORMATS, described, likely_format
from rlvr.data.reading.local_files import KINDS
from rlvr.data.reading.rows import Row, hub_rows, local_rows
from rlvr.data.tasks.generated import FINITE, GENERATED_SETS, HELD_OUT, HELD_OUT_SIZE, task_of
from rlvr.errors import DataError
from rlvr.reward.example import find_column
from rlvr.reward.verdict import Rules, options_text
from rlvr.reward.verifiers import reads_row
from rlvr.types import Message, Problem

log = logging.getLogger(__name__)

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
ROWS_LISTED = 5  # bad rows that an error message names
ROWS_LOOKED_AT = 20  # objects among which there has to be a good row that tells a file's format
_CONVERSATION = "is a conversation ({}), which only data.template=chat passes on whole"


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
    # Of its rows, a name in `rlvr.data.reading.formats`; empty for known sets and built-in tasks.
    format: str = ""


def load_problems(
    cfg: SourceConfig,
    *,
    on_bad_row: str = "refuse",
    evaluation: bool = False,
    conversations: bool = True,
    verifier: str | None = None,
) -> LoadedSource:
    """Load a data set: from `cfg.path` if that is set, else built in or from the hub by `cfg.name`.

    A problem's id is `<name>/<id column>`, or `<name>/<file stem or split>/<row>` where a row has no id.
    Without `cfg.split` the hub's training split is read, or its test split when `evaluation` is set.
    With `on_bad_row="skip"` bad rows are logged, counted and returned; with "refuse" they raise DataError,
    as do an unknown name, a missing file and a source without any problem. Without `conversations`, questions of
    more than one user message are bad rows. Rows without an answer are read where what grades them, `cfg.verifier` or
    else `verifier`, reads the whole row.
    """
    if on_bad_row not in ("refuse", "skip"):
        raise DataError(f"data.on_bad_row is {on_bad_row!r}; expected 'refuse' or 'skip'")
    if cfg.format is not None and cfg.format not in FORMATS:
        raise DataError(
            f"data source {cfg.name!r}: format is {cfg.format!r}; expected {', '.join(FORMATS)}, or null"
        )
    if cfg.limit is not None and cfg.limit < 1:
        raise DataError(f"data source {cfg.name!r}: limit is {cfg.limit}; expected at least 1, or null")
    if cfg.path is None and (made := _made_here(cfg)) is not None:
        rules = rules_of(cfg)
        return LoadedSource(cfg.name, tuple(replace(problem, rules=rules) for problem in made))
    known = _known(cfg)
    if cfg.path is not None and not cfg.path.strip():  # which would be the working folder
        raise DataError(
            f"data source {cfg.name!r}: its path is empty (a variable that is not set?); name a file or a folder, or "
            "leave the path out"
        )
    if cfg.path is not None:
        rows = local_rows(Path(cfg.path).expanduser(), cfg.split)
    else:
        hub = known or CatalogEntry(cfg.name)
        hub = hub if cfg.subset is None else replace(hub, config=cfg.subset)
        rows = hub_rows(hub, cfg.split or (hub.eval_split if evaluation else hub.train_split))
    chosen, entry, rows = _format_of_rows(cfg, known, rows, verifier)
    loaded = replace(_collect(cfg, entry, rows, conversations), format=chosen)
    _report(loaded, on_bad_row, cfg.path or cfg.name)
    return loaded


def _made_here(cfg: SourceConfig) -> Sequence[Problem] | None:
    """The problems of a built-in task; None where the name is of no such task."""
    if cfg.name in FINITE:
        return FINITE[cfg.name]()[: cfg.limit]
    task = task_of(cfg.name)
    if task is None:
        return None
    if cfg.name.endswith(HELD_OUT):
        return task.held_out(HELD_OUT_SIZE if cfg.limit is None else cfg.limit)
    if cfg.limit is None:
        raise DataError(
            f"data source {cfg.name!r} is endless; set its limit, or evaluate on {cfg.name + HELD_OUT!r}"
        )
    return [task.train(0, index) for index in range(cfg.limit)]


def _known(cfg: SourceConfig) -> CatalogEntry | None:
    """The catalogue entry of the name, with the configuration's columns in place of the usual ones, if it is known.

    Raises:
        DataError: a name that is neither known nor of the form that the hub has, without a path.
    """
    if cfg.path is None and cfg.name not in CATALOG and not HUB_NAME.fullmatch(cfg.name):
        known = ", ".join([*GENERATED_SETS, *FINITE, *CATALOG])
        raise DataError(
            f"unknown data set {cfg.name!r}; expected one of {known}, owner/name on the hub, or any label together "
            f"with the path of a {KINDS} file or a folder of them"
        )
    if cfg.name not in CATALOG or cfg.format is not None:
        return None
    return _with_columns(CATALOG[cfg.name], cfg)


def _with_columns(entry: CatalogEntry, cfg: SourceConfig) -> CatalogEntry:
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


def _format_of_rows(
    cfg: SourceConfig, known: CatalogEntry | None, rows: Iterator[Row], verifier: str | None
) -> tuple[str, CatalogEntry, Iterator[Row]]:
    """How to read rows: the format's name, what it looks for, and all the rows.

    A known set on the hub is read as such. Otherwise the first row that can be read decides: a known name means a copy
    of that set, unless only another format can read that row; then the first format that can, with its answers before
    without them. Where none of the first rows can be read, the format whose columns they have says what is wrong.
    """
    formats = {
        name: _with_columns(entry, cfg)
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
        _problem(cfg, entry, row)
    except BadCellError as error:
        return f", column {error.column!r}: {error}"
    return ""


def _collect(
    cfg: SourceConfig, entry: CatalogEntry, rows: Iterator[Row], conversations: bool = True
) -> LoadedSource:
    problems: dict[str, Problem] = {}
    places: dict[str, str] = {}  # the file of each id
    bad: list[BadRow] = []
    repeated = 0
    for row in rows:
        if cfg.limit is not None and len(problems) == cfg.limit:
            break
        try:
            problem = _problem(cfg, entry, row)
            if problem.messages and not conversations:
                raise BadCellError(entry.question[0], _CONVERSATION.format(turns(problem.messages)))
        except BadCellError as error:  # untrusted input: reported with its place, by the policy of on_bad_row
            bad.append(BadRow(row.file, row.number, error.column, str(error)))
            continue
        first = problems.setdefault(problem.id, problem)
        if first is problem:
            places[problem.id] = row.file
            continue
        if entry.repeats and first == problem:
            repeated += 1
        else:
            other = "" if places[problem.id] == row.file else f" of {places[problem.id]}"
            reason = f"the id {problem.id!r} is already taken by an earlier row{other}"
            bad.append(BadRow(row.file, row.number, entry.id[0], reason))
    return LoadedSource(cfg.name, tuple(problems.values()), tuple(bad), repeated)


def _problem(cfg: SourceConfig, entry: CatalogEntry, row: Row) -> Problem:
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


def all_sources(cfg: DataConfig) -> list[SourceConfig]:
    """Every source of a run, those that it trains on first."""
    return [*cfg.training, *cfg.eval]


def is_on_the_hub(cfg: SourceConfig) -> bool:
    """Whether a source is read from the hub."""
    return cfg.path is None and (cfg.name in CATALOG or HUB_NAME.fullmatch(cfg.name) is not None)


def is_endless(cfg: SourceConfig) -> bool:
    """Whether a training source has no last problem."""
    made = task_of(cfg.name) is not None and not cfg.name.endswith(HELD_OUT)
    return made and cfg.path is None and cfg.limit is None


def turns(messages: tuple[Message, ...]) -> str:
    """The roles of a conversation, for a person."""
    return " + ".join(message.role for message in messages)


def _report(loaded: LoadedSource, on_bad_row: str, place: str) -> None:
    listed = "".join(f"\n  {row}" for row in loaded.bad_rows[:ROWS_LISTED])
    more = len(loaded.bad_rows) - ROWS_LISTED
    listed += f"\n  and {more} more" if more > 0 else ""
    if loaded.bad_rows and on_bad_row == "refuse":
        raise DataError(
            f"data source {loaded.name!r}: {len(loaded.bad_rows)} bad rows:{listed}\n"
            "Correct the rows, name the right columns (question, answer, id of the source), "
            "or set data.on_bad_row=skip to go on without them"
            + ("" if loaded.problems else f". Rows that are read unasked: {described(FORMATS)}")
        )
    if not loaded.problems:
        raise DataError(
            f"data source {loaded.name!r} holds no problem: {place} has {len(loaded.bad_rows)} bad rows and no other"
            f"{listed}"
        )
    if loaded.bad_rows:
        log.warning("data source %s: skipped %d bad rows:%s", loaded.name, len(loaded.bad_rows), listed)
    if loaded.repeated:
        log.info("data source %s: left out %d repeated rows", loaded.name, loaded.repeated)
