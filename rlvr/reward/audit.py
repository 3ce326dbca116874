"""The pure part of `python -m rlvr.audit_reward`: reading rows and counting verdicts."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rlvr.errors import DataError
from rlvr.reward.example import Example
from rlvr.reward.grader import gold_text
from rlvr.reward.verdict import Outcome, Verdict

_ID_COLUMNS = ("sample_id", "id")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns to read; `response` None: problems only, each answer is graded against itself."""

    answer: str
    response: str | None
    label: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the file. `problem` says why it cannot be graded, and is empty where it can.

    `id` is the row's own (any JSON value, not necessarily unique), or "line N" where it has none.
    `label` is the given verdict on the response, where the file has one.
    """

    line: int
    id: Any
    gold: str
    response: str
    label: bool | None
    problem: str
    # the whole row, for verifiers that read more of it
    columns: Mapping[str, Any] = field(default_factory=dict)

    def example(self, source: str) -> Example:
        """The row as a verifier sees it."""
        return Example(str(self.id), str(self.columns.get("question", "")), self.gold, source, self.columns)

    @property
    def key(self) -> str:
        return f"line {self.line}"


def read_rows(lines: Iterable[bytes], columns: Columns) -> Iterator[AuditRow]:
    """Every line that is not blank as an AuditRow, bad ones with the reason; never raises over a line's content."""
    for number, raw in enumerate(lines, start=1):
        if raw.strip():
            yield _read_row(number, raw, columns)


def has_column(lines: Iterable[bytes], column: str) -> bool:
    """Whether the first line that is a JSON object has that column; raises DataError where no line is one."""
    for raw in lines:
        content = _parse(raw)
        if isinstance(content, dict):
            return column in content
    raise DataError("no line of the file is a JSON object: expected rows such as {id, answer, response}")


def _parse(raw: bytes) -> Any:
    # The file is a user's: a broken line must not end the audit of the others.
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return error


def _read_row(number: int, raw: bytes, columns: Columns) -> AuditRow:
    content = _parse(raw)
    if not isinstance(content, dict):
        reason = f"not JSON: {content}" if isinstance(content, Exception) else "not a JSON object"
        return AuditRow(number, f"line {number}", "", "", None, reason)
    row_id = next((content[name] for name in _ID_COLUMNS if content.get(name) is not None), f"line {number}")
    try:
        gold = _text(content, columns.answer, numbers=True)
        if columns.response is None:
            response = rf"\boxed{{{gold_text(gold)}}}"
        else:
            response = _text(content, columns.response, numbers=False)
        label = _label(content.get(columns.label)) if columns.label else None
    except DataError as error:
        return AuditRow(number, row_id, "", "", None, str(error))
    return AuditRow(number, row_id, gold, response, label, "", content)


def _text(content: dict[str, Any], column: str, *, numbers: bool) -> str:
    value = content.get(column)
    if isinstance(value, str):
        return value
    if numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    found = f"{column!r} is {type(value).__name__}" if column in content else f"no column {column!r}"
    raise DataError(f"{found}: expected {'text or a number' if numbers else 'text'}")


def _label(value: Any) -> bool | None:
    if value is None:
        return None
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in {"true", "false", *(str(outcome) for outcome in Outcome)}:
        return value.lower() in ("true", "correct")
    raise DataError(f"label {value!r:.40}: expected true, false, 0, 1 or the name of a verdict")


@dataclass(frozen=True, slots=True)
class Noted:
    """A row worth a look, with its verdict."""

    line: int
    id: Any
    verdict: str
    gold: str | None
    extracted: str | None
    seconds: float
    detail: str
    other: str = ""  # the second grader's verdict or the label, in a disagreement


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be graded."""

    line: int
    id: Any  # as in `AuditRow`
    reason: str


@dataclass
class AuditTally:
    """What an audit counts while it goes; only the lists of findings grow with the file."""

    keep_slowest: int
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)  # (verdict, second grader's verdict)
    label_confusion: Counter[tuple[str, str]] = field(default_factory=Counter)  # (verdict, label)
    bad_rows: list[BadLine] = field(default_factory=list)
    failed: list[Noted] = field(default_factory=list)
    slowest: list[Noted] = field(default_factory=list)
    disagreements: list[Noted] = field(default_factory=list)
    unread: list[Noted] = field(default_factory=list)  # gold answers in which nothing is read

    def add(
        self, row: AuditRow, verdict: Verdict, second: Verdict | None, reading: Verdict | None = None
    ) -> None:
        """Count a row; `reading` says whether its gold answer can be read."""
        self.rows += 1
        if reading is not None and not reading.correct:
            self.unread.append(_noted(row, reading))
        self.counts[str(verdict.outcome)] += 1
        if row.problem:
            self.bad_rows.append(BadLine(row.line, row.id, row.problem))
            return
        if verdict.failed:
            self.failed.append(_noted(row, verdict))
        self.slowest.append(_noted(row, verdict))
        self.slowest = sorted(self.slowest, key=lambda noted: -noted.seconds)[: self.keep_slowest]
        if second is not None:
            self.confusion[str(verdict.outcome), str(second.outcome)] += 1
            if second.correct != verdict.correct:
                self.disagreements.append(_noted(row, verdict, f"second grader: {second.outcome}"))
        if row.label is not None:
            label = "correct" if row.label else "not correct"
            self.label_confusion[str(verdict.outcome), label] += 1
            if row.label != verdict.correct:
                self.disagreements.append(_noted(row, verdict, f"label: {label}"))

    def summary(self) -> dict[str, Any]:
        """Everything counted, as JSON values; `bad_rows` are contained in the count of failed."""
        graded = self.rows - len(self.bad_rows)
        correct = self.counts[Outcome.CORRECT]
        return {
            "rows": self.rows,
            "counts": {str(outcome): self.counts[outcome] for outcome in Outcome},
            "graded": graded,
            "accuracy": correct / graded if graded else None,
            "bad_row_count": len(self.bad_rows),
            "bad_rows": [asdict(bad) for bad in self.bad_rows],
            "failed_or_timed_out": [asdict(noted) for noted in self.failed],
            "unread_golds": [asdict(noted) for noted in self.unread],
            "slowest": [asdict(noted) for noted in self.slowest],
            "confusion_with_second": _nested(self.confusion),
            "confusion_with_label": _nested(self.label_confusion),
            "disagreements": [asdict(noted) for noted in self.disagreements],
        }


def _noted(row: AuditRow, verdict: Verdict, other: str = "") -> Noted:
    return Noted(
        row.line,
        row.id,
        str(verdict.outcome),
        verdict.gold,
        verdict.extracted,
        verdict.seconds,
        verdict.detail,
        other,
    )


def _nested(confusion: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (verdict, other), count in sorted(confusion.items()):
        table.setdefault(verdict, {})[other] = count
    return table
