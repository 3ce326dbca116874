"""The page of a study: every question with the tables and figures that there are, and what is missing for it.

<output>/findings.md          the page, ready for a site beside the folder
        findings/*.svg        its figures
        findings/*.parquet    tables and raw rows; page, figures and these are 10 MB at most
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.analysis.cross.pairs import PAIR_COLUMNS
from rlvr.analysis.cross.records import BUDGET_COLUMNS
from rlvr.analysis.cross.store import CLASS_COLUMNS
from rlvr.analysis.shift.columns import TABLES
from rlvr.analysis.store import write_parquet
from rlvr.analysis.study import QUESTIONS, Piece, Records, Study
from rlvr.analysis.sweep.runs import FinishedRun
from rlvr.analysis.tables import TextTable, read_csv
from rlvr.errors import RlvrError
from rlvr.reporting.figures.canvas import as_svg
from rlvr.reporting.study import sections
from rlvr.reporting.study.found import Found
from rlvr.runtime.disk.files import write_atomically

LIMIT = 10_000_000  # bytes of page, figures and tables together
RESERVE = 100_000  # of them, for what the page says after the tables are written
NAMED = 4  # missing pieces that the page names
FOLDER = "findings"
OWN = ("q[0-9]_*.svg", "*.parquet")  # what the page puts there, and removes
SECTIONS = {
    1: sections.moved,
    2: sections.rules,
    3: sections.kinds,
    4: sections.weightings,
    5: sections.truncation,
    6: sections.classes,
}
LISTS = [f"{model}_{what}" for model in ("policy", "base") for what in ("ids", "texts", "probs")]
FOLDERS = (b"policy", b"base")  # of one machine, in a token table's metadata
OF_CROSS = {"budgets": BUDGET_COLUMNS, "pairs": PAIR_COLUMNS, "classes": CLASS_COLUMNS}


def write_page(study: Study, records: Records) -> Path:
    """Write the page with its figures and tables from whatever is finished; returns its path.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: a file of a finished piece is damaged.
        RlvrError: the page cannot be written.
    """
    found = Found(study, records)
    folder, page = study.output / FOLDER, study.output / "findings.md"
    try:
        lines = [f"# {study.cfg.title}", "", *_introduction(found)]
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in OWN:
            for file in folder.glob(pattern):
                file.unlink()
        for number, question in QUESTIONS.items():
            lines += ["", f"## {number}. {question}", "", *_question(found, number, folder)]
        used = sum(file.stat().st_size for file in folder.iterdir()) + len("\n".join(lines).encode())
        lines += ["", "## Pieces and sizes", "", *_pieces(found)]
        lines += _tables(found, folder, LIMIT - used - RESERVE)
        write_atomically(page, "\n".join(lines) + "\n")
    except OSError as error:
        raise RlvrError(
            f"{page} cannot be written ({error.strerror or error}); finished pieces are kept"
        ) from error
    return page


def _introduction(found: Found) -> Iterator[str]:
    known = [r for piece in found.pieces if (r := found.records.of(piece)) is not None and r.finished]
    machines = ", ".join(sorted({record.machine for record in known}))
    if known:
        days = sorted({record.finished[:10] for record in known})
        hours = sum(record.seconds for record in known) / 3600
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield f"Done on {when}, {hours:.1f} hours of wall time, on {machines}. "
    yield f"{found.records.what_is_left(found.pieces)}."


def _question(found: Found, number: int, folder: Path) -> Iterator[str]:
    compared = {3: found.study.cfg.training, 4: found.study.cfg.weighting[1:]}
    if not compared.get(number, True):
        yield "Not part of this study."
        return
    asked = [piece.name for piece in found.pieces if number in piece.questions]
    missing = [name for name in asked if name not in found.finished]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        yield f"**Missing, {len(missing)} of {len(asked)} pieces:** {', '.join(missing[:NAMED])}{more}."
        yield ""
    parts = list(SECTIONS[number](found))
    if not parts:
        yield "Nothing to show yet."
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, TextTable):
            yield from part.as_markdown()
        else:
            name, stop = f"q{number}_{part.name}.svg", "" if part.title.endswith("?") else "."
            (folder / name).write_text(as_svg(part))
            yield from (f"![{part.title}]({FOLDER}/{name})", "", f"*{part.title}{stop}* {part.caption}")
        yield ""


def _pieces(found: Found) -> Iterator[str]:
    yield "| piece | minutes | ended (UTC) |"
    yield "| --- | --- | --- |"
    for piece in found.pieces:
        record = found.records.of(piece)
        if record is None:
            yield f"| {piece.name} | {'not recorded' if piece.name in found.finished else 'not begun'} | |"
        else:
            yield f"| {piece.name} | {record.seconds / 60:.1f} | {record.finished or 'not finished'} |"
    yield ""
    cfg = found.study.cfg
    yield "Arguments of every training, then those of each task, recipe and tool:"
    everywhere = [*cfg.trainings, *without_paths(found.study.extra)]
    tools = (("analyze", cfg.analyze), ("cross-sample", cfg.cross_sample))
    named = [("all", everywhere), *{**cfg.tasks, **cfg.recipes}.items(), *tools]
    yield from ("", "```", *(f"{name}: {' '.join(own) or '-'}" for name, own in named), "```")


def without_paths(arguments: tuple[str, ...]) -> Iterator[str]:
    """The same, with folders of this machine by their last part alone."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        yield f"{key}=.../{Path(value).name}" if value.startswith("/") else argument


def _tables(found: Found, folder: Path, room: int) -> Iterator[str]:
    """Write the tables, smallest rows first, while they fit into `room` bytes; what there is to say about them."""
    left_out = []
    for name, complete in _raw(found):
        known = complete.schema.metadata or {}
        table = complete.replace_schema_metadata({k: v for k, v in known.items() if k not in FOLDERS})
        file = folder / f"{name}.parquet"
        write_parquet(file, [table], table.schema)
        size = file.stat().st_size
        if size <= room:
            room -= size
        else:
            file.unlink()
            left_out.append(name)
    files = sorted(folder.glob("*.parquet"))
    links = ", ".join(f"[{file.stem}]({FOLDER}/{file.name})" for file in files)
    yield from ("", f"Tables and raw rows (parquet): {links}.")
    if left_out:
        yield from ("", f"Left out, for the page is {LIMIT // 10**6} MB at most: {', '.join(left_out)}.")


def _raw(found: Found) -> Iterator[tuple[str, pa.Table]]:
    yield "pieces", pa.Table.from_pylist([_piece(found, piece) for piece in found.pieces])
    runs = [
        ({"task": task, "condition": run.condition, "seed": run.summary.seed}, run)
        for task in found.study.cfg.tasks
        for run in found.runs(task)
    ]
    if runs:
        for name, rows in (("accuracy", _accuracy), ("metrics", _metrics)):
            yield name, pa.Table.from_pylist([about | row for about, run in runs for row in rows(run)])
    for name in TABLES if found.analyses else ():
        tables = {run: analysis.table(name) for run, analysis in found.analyses.items()}
        yield f"shift_{name}", sections.stacked(tables, "run")
    if found.cross is not None:
        for name, columns in OF_CROSS.items():
            if (file := found.cross.folder / f"{name}.csv").is_file():
                yield f"cross_{name}", read_csv(file, columns)
        for name in ("responses", "switches"):
            if (file := found.cross.folder / f"{name}.parquet").is_file():
                yield f"cross_{name}", pq.read_table(file)
    if found.main is not None:
        yield "tokens", found.main.tokens().drop_columns(LISTS)


def _piece(found: Found, piece: Piece) -> dict[str, Any]:
    record = found.records.of(piece)
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


def _accuracy(run: FinishedRun) -> Iterator[dict[str, Any]]:
    for evaluation, problems in run.correct.items():
        for problem, samples in problems.items():
            about = {"evaluation": evaluation, "problem_id": problem}
            yield about | {"samples": len(samples), "right": sum(samples)}


def _metrics(run: FinishedRun) -> Iterator[dict[str, Any]]:
    for kind, rows in (("train", run.train), ("eval", run.evals)):
        for step, metrics in rows.items():
            for name, value in metrics.items():
                yield {"kind": kind, "step": step, "metric": name, "value": value}
