"""Read response files and write the index: one row per response, one row group per part.

Every line is checked here, before a model is loaded. Files are untrusted input.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from rlvr.analysis.config import SelectConfig
from rlvr.analysis.shift.columns import RESPONSE_COLUMNS
from rlvr.analysis.store import write_parquet
from rlvr.analysis.tables import schema, where
from rlvr.errors import DataError
from rlvr.reward.verdict import FAILURES, Outcome
from rlvr.reward.workers.pool import OFFENDERS_FILE
from rlvr.runtime.disk.dumps import dump_files, dump_lines

REQUIRED = ("problem_id", "prompt_ids", "response_ids", "reward")
DIGESTED = ("trajectory", "problem_id", "reward", "correct", "prompt_ids", "response_ids")


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it is scored; see RESPONSE_COLUMNS for the meaning of the fields."""

    response: int
    trajectory: str
    problem_id: str
    reward: float
    correct: bool
    prompt_ids: list[int]
    response_ids: list[int]


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """What the index holds."""

    parts: int
    responses: dict[str, int]  # trajectory -> count
    problems: dict[str, int]
    tokens: dict[str, int]
    correct: dict[str, int]
    empty: int  # responses without a token, left out
    digest: str  # of every id, reward and token
    failed: int = 0  # responses on which the verifier failed, left out


def response_files(patterns: Sequence[str]) -> list[Path]:
    """The files behind paths, folders and glob patterns.

    Raises:
        DataError: one of them matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():  # a run keeps what its verifier failed on beside its samples
            matches = [file for file in dump_files(path) if file.name != OFFENDERS_FILE]
        else:
            matches = sorted(path.parent.glob(path.name))
        if not matches:
            raise DataError(
                f"responses: nothing at {path}; expected a .jsonl or .jsonl.gz file, a folder of them, or a pattern"
            )
        found += matches
    return found


def build_index(
    path: Path,
    files: dict[str, list[Path]],
    select: SelectConfig,
    responses_per_part: int,
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: int,
) -> IndexSummary:
    """Check all responses and write them to `path`; `files` are those of each trajectory.

    Raises:
        DataError: a line is not a response, names a token outside the vocabulary, or nothing is selected.
        RlvrError: the file cannot be written.
    """
    left_out: Counter[str] = Counter()
    digest = hashlib.blake2b(digest_size=16)

    def tables() -> Iterator[pa.Table]:
        part = number = 0
        for trajectory, paths in files.items():
            chosen = _select(_usable(_rows(paths, vocabulary), left_out), select)
            for rows in _chunks(chosen, responses_per_part):
                whole = [_whole(row, number + k, part, trajectory, tokenizer) for k, row in enumerate(rows)]
                for row in whole:
                    digest.update(json.dumps([row[name] for name in DIGESTED]).encode())
                yield pa.Table.from_pylist(whole, schema=schema(RESPONSE_COLUMNS))
                part, number = part + 1, number + len(rows)

    write_parquet(path, tables(), schema(RESPONSE_COLUMNS))
    index = pq.ParquetFile(path)
    counted = index.read(columns=["trajectory", "problem_id", "tokens", "correct"])
    of = {trajectory: where(counted, trajectory=trajectory) for trajectory in files}
    for trajectory, paths in files.items():
        if not len(of[trajectory]):
            raise DataError(
                f"no response of the {trajectory} model is selected from {', '.join(map(str, paths))} with "
                f"select.verdict={select.verdict} ({left_out['empty']} empty ones and {left_out['failed']} on which "
                "the verifier failed left out); select others, or set trajectory to the other model's"
            )
    return IndexSummary(
        parts=index.num_row_groups,
        responses={name: len(own) for name, own in of.items()},
        problems={name: pc.count_distinct(own["problem_id"]).as_py() for name, own in of.items()},
        tokens={name: pc.sum(own["tokens"]).as_py() for name, own in of.items()},
        correct={name: pc.sum(own["correct"]).as_py() for name, own in of.items()},
        empty=left_out["empty"],
        digest=digest.hexdigest(),
        failed=left_out["failed"],
    )


def read_part(index: pq.ParquetFile, part: int) -> list[Response]:
    """The responses of one part."""
    names = [field.name for field in fields(Response)]
    return [Response(**row) for row in index.read_row_group(part, columns=names).to_pylist()]


def _usable(rows: Iterator[dict[str, Any]], left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows that are known to be right or wrong and have a token to score."""
    for row in rows:
        if row.get("verdict") in FAILURES:
            left_out["failed"] += 1
        elif row["response_ids"]:
            yield row
        else:
            left_out["empty"] += 1


def _whole(
    row: dict[str, Any], number: int, part: int, trajectory: str, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """The row of a response in the index."""
    text = row.get("response")
    if text is None:
        text = tokenizer.decode(row["response_ids"], skip_special_tokens=True)
    return {column.name: row.get(column.name) for column in RESPONSE_COLUMNS} | {
        "response": number,
        "part": part,
        "trajectory": trajectory,
        "problem_id": str(row["problem_id"]),
        "sample_id": str(row.get("sample_id", number)),
        "source": row["_file"],
        "data": row.get("source"),
        "text": text,
        "reward": float(row["reward"]),
        "correct": _correct(row),
        "tokens": len(row["response_ids"]),
    }


def _correct(row: dict[str, Any]) -> bool:
    """Written down by the source, else: a positive reward."""
    if row.get("verdict") is not None:
        return bool(row["verdict"] == Outcome.CORRECT)
    correct = row.get("correct")
    return float(row["reward"]) > 0 if correct is None else bool(correct)


def _rows(paths: Iterable[Path], vocabulary: int) -> Iterator[dict[str, Any]]:
    for path in paths:
        for number, line in enumerate(dump_lines(path), start=1):
            if line.strip():
                yield {**_checked(line, f"{path}, line {number}", vocabulary), "_file": str(path)}


def _checked(line: bytes, where: str, vocabulary: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # untrusted input
        raise DataError(f"{where}: not JSON ({error}); expected one response a line") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{where}: a JSON {type(row).__name__}; expected an object with {', '.join(REQUIRED)}"
        )
    verdict, correct = row.get("verdict"), row.get("correct")
    if verdict is not None and verdict not in list(Outcome):
        raise DataError(f"{where}: verdict is {verdict!r}; expected {', '.join(Outcome)}, or none")
    if correct is not None and correct not in (0, 1):  # the text "false" would count as right
        raise DataError(f"{where}: correct is {correct!r}; expected true or false, or none")
    failed = verdict in FAILURES  # such a row has no reward
    missing = [name for name in REQUIRED if row.get(name) is None and not (failed and name == "reward")]
    if missing:
        raise DataError(
            f"{where}: field {', '.join(map(repr, missing))} is missing; a response needs "
            f"{', '.join(REQUIRED)}, as a run's samples/*.jsonl have them (ids are lists of token ids)"
        )
    if not failed and (isinstance(row["reward"], bool) or not isinstance(row["reward"], int | float)):
        raise DataError(f"{where}: reward is {row['reward']!r}; expected a number")
    for name in ("prompt_ids", "response_ids"):
        ids = row[name]
        if not isinstance(ids, list) or any(not isinstance(i, int) or isinstance(i, bool) for i in ids):
            raise DataError(f"{where}: {name} is not a list of whole numbers; expected token ids")
        outside = [i for i in ids if not 0 <= i < vocabulary]
        if outside:
            raise DataError(
                f"{where}: {name} holds {outside[0]}, the models have tokens 0..{vocabulary - 1}; the responses "
                "were written with another tokenizer"
            )
    if not row["prompt_ids"]:
        raise DataError(f"{where}: prompt_ids is empty; the first response token needs something to follow")
    return row


def _select(rows: Iterator[dict[str, Any]], select: SelectConfig) -> Iterator[dict[str, Any]]:
    """The selected rows; only the number of responses of each problem is remembered."""
    taken: dict[str, int] = {}
    for row in rows:
        problem = str(row["problem_id"])
        if problem not in taken and select.problems is not None and len(taken) == select.problems:
            continue
        count = taken.setdefault(problem, 0)
        if select.verdict != "all" and _correct(row) != (select.verdict == "correct"):
            continue
        if select.samples is not None and count == select.samples:
            continue
        taken[problem] = count + 1
        yield row


def _chunks(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, size)):
        yield chunk
