"""The tables and raw rows behind a study's page, as parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.analysis.cross.pairs import PAIR_COLUMNS
from rlvr.analysis.cross.raw import CLASS_COLUMNS
from rlvr.analysis.cross.records import BUDGET_COLUMNS
from rlvr.analysis.shift.columns import TABLES
from rlvr.analysis.store import write_parquet
from rlvr.analysis.study.plan import Piece
from rlvr.analysis.study.records import Records
from rlvr.analysis.sweep.runs import FinishedRun
from rlvr.analysis.tables import read_csv
from rlvr.reporting.study.found import Found

LISTS = ("policy_ids", "policy_texts", "policy_probs", "base_ids", "base_texts", "base_probs")
FOLDERS = (b"policy", b"base")  # of one machine, in a token table's metadata
OF_CROSS = {"budgets": BUDGET_COLUMNS, "pairs": PAIR_COLUMNS, "classes": CLASS_COLUMNS}


def write_raw(found: Found, records: Records, folder: Path, room: int) -> list[str]:
    """Write the tables, smallest rows first, while they fit into `room` bytes; returns what did not.

    Raises:
        DataError: a file of a finished piece is damaged.
        RlvrError: a file cannot be written.
    """
    left_out = []
    for name, complete in _tables(found, records):
        known = complete.schema.metadata or {}
        table = complete.replace_schema_metadata({k: v for k, v in known.items() if k not in FOLDERS})
        file = folder / f"{name}.parquet"
        write_parquet(file, [table], table.schema)
        room -= file.stat().st_size
        if room < 0:
            room += file.stat().st_size
            file.unlink()
            left_out.append(name)
    return left_out


def _tables(found: Found, records: Records) -> Iterator[tuple[str, pa.Table]]:
    yield "pieces", pa.Table.from_pylist([_piece(found, records, piece) for piece in found.pieces])
    runs = [(task, run) for task in found.study.cfg.tasks for run in found.runs(task)]
    if runs:
        yield "accuracy", pa.Table.from_pylist([row for task, run in runs for row in _accuracy(task, run)])
        yield "metrics", pa.Table.from_pylist([row for task, run in runs for row in _metrics(task, run)])
    analyses = found.analyses()
    for name in TABLES if analyses else ():
        parts = [_named(analysis.table(name), run) for run, analysis in analyses.items()]
        yield f"shift_{name}", pa.concat_tables(parts)
    cross = found.cross()
    if cross is not None:
        for name, columns in OF_CROSS.items():
            if (file := cross.folder / f"{name}.csv").is_file():
                yield f"cross_{name}", read_csv(file, columns)
        for name in ("responses", "switches"):
            if (file := cross.folder / f"{name}.parquet").is_file():
                yield f"cross_{name}", pq.read_table(file)
    main = found.analysis(found.study.main)
    if main is not None:
        yield "tokens", main.tokens().drop_columns(list(LISTS))


def without_paths(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The same, with folders of this machine by their last part alone."""
    return tuple(
        f"{key}=.../{Path(value).name}" if value.startswith("/") else argument
        for argument in arguments
        for key, _, value in (argument.partition("="),)
    )


def _piece(found: Found, records: Records, piece: Piece) -> dict[str, Any]:
    record = records.of(piece)
    arguments = tuple(a.replace(f"{found.study.output}/", "") for a in piece.arguments)
    return {
        "piece": piece.name,
        "kind": piece.kind,
        "command": " ".join((piece.module, *without_paths(arguments))),
        "finished": piece.name in found.finished,
        "seconds": None if record is None else record.seconds,
        "ended": None if record is None else record.finished,
        "machine": None if record is None else record.machine,
    }


def _accuracy(task: str, run: FinishedRun) -> Iterator[dict[str, Any]]:
    for evaluation, problems in run.correct.items():
        for problem, samples in problems.items():
            yield {
                "task": task,
                "condition": run.condition,
                "seed": run.summary.seed,
                "evaluation": evaluation,
                "problem_id": problem,
                "samples": len(samples),
                "right": sum(samples),
            }


def _metrics(task: str, run: FinishedRun) -> Iterator[dict[str, Any]]:
    for kind, rows in (("train", run.train), ("eval", run.evals)):
        for step, metrics in rows.items():
            for name, value in metrics.items():
                of = {
                    "task": task,
                    "condition": run.condition,
                    "seed": run.summary.seed,
                    "kind": kind,
                    "step": step,
                }
                yield {**of, "metric": name, "value": value}


def _named(table: pa.Table, run: str) -> pa.Table:
    return table.add_column(0, "run", pa.array([run] * table.num_rows, pa.string()))
