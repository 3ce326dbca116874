r"""Audit the grader on a file of rows: `python -m rlvr.audit_reward file=rows.jsonl output=verdicts.jsonl`.

Rows are JSON objects, one a line: {id, answer, response}, or a run's sample dump with `sample_id` for `id`.
Every gold answer is read as the grader would, and those in which it finds nothing are reported: only the same text
would be correct there. In a file of problems without responses, graded answer against itself, they count as failed.
`second=package.module:function` compares with another grader.
"""

import errno
import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rlvr.cli.entry import command_entry
from rlvr.cli.overrides.command_line import CommandLine
from rlvr.config import RewardConfig
from rlvr.errors import ConfigError, DataError, where_it_fails
from rlvr.reward.audit import AuditRow, AuditTally, Columns, Noted, has_column, read_rows
from rlvr.reward.verdict import GradeRequest, Outcome, Rules, Verdict, options_text
from rlvr.reward.verifiers import is_math
from rlvr.reward.workers.pool import GraderPool
from rlvr.runtime.disk.dumps import dump_lines
from rlvr.runtime.disk.files import path_of
from rlvr.timing import Stopwatch

READER = "rlvr.reward.grader:read_gold"


@dataclass
class AuditConfig:
    """Every key of the audit; times in seconds, sizes in MiB."""

    file: str | None = None  # jsonl or jsonl.gz; must be given
    output: str | None = None  # jsonl of verdicts, one per row; a summary goes beside it
    policy: str = RewardConfig.policy  # last_box | last_box_or_unboxed | strict | whole
    verifier: str | None = None  # a verifier's name or package.module:function, instead of our grader
    verifier_options: dict[str, Any] = field(default_factory=dict)  # its keyword arguments
    correct_from: float | None = None  # least score that counts as correct
    second: str | None = None  # package.module:function to compare with
    answer_column: str = "answer"  # gold answers
    response_column: str = "response"  # without it each answer is graded against itself
    label_column: str | None = "label"  # given verdicts, where a row has one
    workers: int = 2  # processes that grade
    deadline_seconds: float = 5.0  # per answer
    start_timeout_seconds: float = 60.0  # until a worker has started
    memory_mb: int = 1024  # per worker
    save_folder: str | None = None  # keeps the samples that timed out or failed
    batch_rows: int = 1024  # graded, then written, together
    show: int = 10  # rows printed of each kind of finding


LINE = CommandLine(AuditConfig, "audit_reward", ("hydra",))


def audit(config: AuditConfig) -> dict[str, Any]:
    """Grade the file, write verdicts and summary where asked to, print the findings; returns the summary.

    Raises:
        ConfigError, DataError: settings or a file that cannot be graded.
        RlvrError: the output cannot be written; the verdicts so far are kept.
    """
    if config.file is None:
        raise ConfigError("no file named: expected file=PATH of a jsonl file, such as file=rows.jsonl")
    source = path_of(config.file, "file")
    if not source.is_file():
        raise ConfigError(f"file={config.file}: no such file: expected a jsonl file of rows")
    if config.batch_rows < 1 or config.show < 0:
        raise ConfigError(f"batch_rows={config.batch_rows}, show={config.show}: expected >= 1 and >= 0")
    columns = _columns(source, config)
    watch = Stopwatch()
    tally = AuditTally(keep_slowest=config.show)
    with ExitStack() as stack:
        pool = stack.enter_context(_pool(config, config.verifier, options_text(config.verifier_options)))
        second = stack.enter_context(_pool(config, config.second)) if config.second else None
        reader = stack.enter_context(_pool(config, READER)) if is_math(Rules(config.verifier)) else None
        output = stack.enter_context(_Output(config.output))
        for batch in _batches(read_rows(dump_lines(source), columns), config.batch_rows):
            graded, compared, read = (
                _grade(one, batch, source.stem) if one else {} for one in (pool, second, reader)
            )
            for row in batch:
                verdict, reading = graded.get(row.key) or _ungradable(row), read.get(row.key)
                if columns.response is None and verdict.correct and reading is not None:
                    verdict = reading
                tally.add(row, verdict, compared.get(row.key), reading)
                output.write(_verdict_row(row, verdict, pool))
            output.flush()
    summary = {
        "file": config.file,
        "mode": "answers against themselves" if columns.response is None else "responses",
        "policy": pool.policy,
        "verifier": pool.verifier,
        "second": config.second,
        "grader_version": pool.version,
        "seconds": watch.seconds,
        **tally.summary(),
    }
    output.finish(summary)
    _print_findings(summary, tally, config)
    return summary


class _Output:
    """The verdict file: grows as `<output>.partial` and takes its name when complete, so nothing is lost."""

    def __init__(self, path: str | None) -> None:
        self._path = path_of(path, "output") if path else None
        self._file: IO[str] | None = None

    def __enter__(self) -> "_Output":
        if self._path is not None:
            with self._writing():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                for path in (self._path, self._summary):  # found out now, not when all is graded
                    if path.is_dir():
                        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
                self._file = open(self._partial, "w", encoding="utf-8")
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk has left in the buffer; the error is on its way
                self._file.close()
            if kind is not None:
                print(
                    f"audit_reward: stopped early; the verdicts so far are in {self._partial}",
                    file=sys.stderr,
                )

    @property
    def _partial(self) -> Path:
        return Path(f"{self._path}.partial")

    @property
    def _summary(self) -> Path:
        assert self._path is not None
        return self._path.with_suffix(".summary.json")

    def _writing(self) -> AbstractContextManager[None]:
        remedy = "name a file in a folder that can be written and has space"
        return where_it_fails(f"output={self._path}: cannot be written", remedy)

    def write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            with self._writing():
                self._file.write(json.dumps(row) + "\n")

    def flush(self) -> None:
        if self._file is not None:
            with self._writing():
                self._file.flush()

    def finish(self, summary: dict[str, Any]) -> None:
        """Give the verdicts their name and write the summary beside them."""
        if self._path is not None:
            with self._writing():
                os.replace(self._partial, self._path)
                self._summary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _columns(source: Path, config: AuditConfig) -> Columns:
    responses = has_column(dump_lines(source), config.response_column)
    if not responses and config.response_column != AuditConfig.response_column:
        raise DataError(
            f"response_column={config.response_column}: the first row of {source} has no such column"
        )
    if not responses:
        print(f"no {config.response_column!r} in the first row: grading each answer against itself")
    return Columns(config.answer_column, config.response_column if responses else None, config.label_column)


def _pool(config: AuditConfig, verifier: str | None, options: str = "") -> GraderPool:
    return GraderPool(
        workers=config.workers,
        deadline_seconds=config.deadline_seconds,
        memory_mb=config.memory_mb,
        policy=config.policy,
        verifier=verifier,
        options=options,
        correct_from=config.correct_from,
        save_folder=path_of(config.save_folder, "save_folder") if config.save_folder else None,
        start_timeout_seconds=config.start_timeout_seconds,
    )


def _batches(rows: Iterator[AuditRow], size: int) -> Iterator[list[AuditRow]]:
    while batch := list(itertools.islice(rows, size)):
        yield batch


def _grade(pool: GraderPool, batch: list[AuditRow], source: str) -> dict[str, Verdict]:
    return pool.grade(
        [
            GradeRequest(row.key, row.gold, row.response, row.example(source))
            for row in batch
            if not row.problem
        ]
    )


def _ungradable(row: AuditRow) -> Verdict:
    return Verdict(row.key, Outcome.FAILED, None, None, 0.0, f"bad row at line {row.line}: {row.problem}")


def _verdict_row(row: AuditRow, verdict: Verdict, pool: GraderPool) -> dict[str, Any]:
    return {
        "id": row.id,
        "verdict": str(verdict.outcome),
        "extracted": verdict.extracted,
        "gold": verdict.gold,
        "seconds": verdict.seconds,
        "detail": verdict.detail,
        "policy": pool.policy,
        "verifier": pool.verifier,
        "grader_version": pool.version,
    }


def _print_findings(summary: dict[str, Any], tally: AuditTally, config: AuditConfig) -> None:
    print(f"{summary['rows']} rows of {config.file} in {summary['seconds']:.1f} s, {summary['mode']}")
    print(f"policy {summary['policy']}, verifier {summary['verifier'] or summary['grader_version']}")
    for outcome, count in summary["counts"].items():
        print(f"  {outcome:<10} {count}")
    for title, name in (("second grader", "confusion_with_second"), ("labels", "confusion_with_label")):
        if summary[name]:
            print(f"confusion with the {title} (verdict -> theirs):")
            for verdict, others in summary[name].items():
                print(f"  {verdict:<10} " + ", ".join(f"{other}: {count}" for other, count in others.items()))
    _print_noted("disagreements", tally.disagreements, config.show)
    _print_noted("failed or timed out", tally.failed, config.show)
    _print_noted("gold answers in which nothing is read", tally.unread, config.show)
    _print_noted("slowest", tally.slowest, config.show)
    if tally.bad_rows:
        print(f"{len(tally.bad_rows)} bad rows, counted as failed:")
        for bad in tally.bad_rows[: config.show]:
            print(f"  line {bad.line}: {bad.reason}")
    if config.output:
        print(f"verdicts: {config.output}")


def _print_noted(title: str, findings: list[Noted], show: int) -> None:
    if findings:
        print(f"{title}: {len(findings)}" + (f", the first {show}" if len(findings) > show else ""))
    for noted in findings[:show]:
        answer = f"gold {noted.gold!r:.60} answer {noted.extracted!r:.60}"
        milliseconds = noted.seconds * 1e3
        notes = "; ".join(note for note in (noted.other, noted.detail) if note)
        print(f"  line {noted.line} id {noted.id}: {noted.verdict} {milliseconds:.1f} ms {answer} {notes}")


main = command_entry(LINE, audit)

if __name__ == "__main__":
    main()
