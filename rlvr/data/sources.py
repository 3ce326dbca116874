"""Turn the rows of a data set into problems.

Files are untrusted input: every row that cannot become a problem is reported with its file and row number.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.catalog import CATALOG, CatalogEntry
from rlvr.data.problems import format_of_rows, problem_of, rules_of, with_columns
from rlvr.data.reading.cells import BadCellError
from rlvr.data.reading.formats import FORMATS, described
from rlvr.data.reading.local_files import KINDS
from rlvr.data.reading.rows import Row, hub_rows, local_rows
from rlvr.data.tasks.generated import FINITE, GENERATED_SETS, HELD_OUT, HELD_OUT_SIZE, task_of
from rlvr.errors import DataError
from rlvr.types import Problem

log = logging.getLogger(__name__)

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
ROWS_LISTED = 5  # bad rows that an error message names
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
    chosen, entry, rows = format_of_rows(cfg, known, rows, verifier)
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
    return with_columns(cfg, CATALOG[cfg.name])


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
            problem = problem_of(cfg, entry, row)
            if problem.messages and not conversations:
                raise BadCellError(
                    entry.question[0],
                    _CONVERSATION.format(" + ".join(message.role for message in problem.messages)),
                )
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
