"""The page of a study: every question with the tables and figures that there are, and what is missing for it.

<output>/findings.md          the page, ready for a site beside the folder
        findings/*.svg        its figures
        findings/*.parquet    tables and raw rows; page, figures and these are 10 MB at most
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlvr.analysis.study import QUESTIONS, Records, Study
from rlvr.errors import RlvrError
from rlvr.reporting.figures.canvas import as_svg
from rlvr.reporting.study import comparisons, sections
from rlvr.reporting.study.found import Found
from rlvr.reporting.study.raw import without_paths, write_raw
from rlvr.runtime.disk.files import write_atomically

LIMIT = 10_000_000  # bytes of page, figures and tables together
RESERVE = 100_000  # of them, for what the page says after the tables are written
NAMED = 4  # missing pieces that the page names
FOLDER = "findings"
OWN = ("q[0-9]_*.svg", "*.parquet")  # what the page puts there, and removes
SECTIONS = {
    1: sections.moved,
    2: sections.rules,
    3: comparisons.kinds,
    4: comparisons.weightings,
    5: sections.truncation,
    6: sections.classes,
}


def write_page(study: Study, records: Records) -> Path:
    """Write the page with its figures and tables from whatever is finished; returns its path.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: a file of a finished piece is damaged.
        RlvrError: the page cannot be written.
    """
    pieces = study.pieces()
    finished = frozenset(piece.name for piece in pieces if records.finished(piece))
    begun = frozenset(piece.name for piece in pieces if records.of(piece) is not None)
    found = Found(study, pieces, finished, begun)
    folder, page = study.output / FOLDER, study.output / "findings.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in OWN:
            for file in folder.glob(pattern):
                file.unlink()
        lines = [f"# {study.cfg.title}", "", *_introduction(found, records)]
        for number, question in QUESTIONS.items():
            lines += ["", f"## {number}. {question}", "", *_question(found, number, folder)]
        used = sum(file.stat().st_size for file in folder.iterdir()) + len("\n".join(lines).encode())
        left_out = write_raw(found, records, folder, LIMIT - used - RESERVE)
        lines += ["", "## Pieces and sizes", "", *_pieces(found, records), *_tables(folder, left_out)]
        write_atomically(page, "\n".join(lines) + "\n")
    except OSError as error:
        raise RlvrError(
            f"{page} cannot be written ({error.strerror or error}); finished pieces are kept"
        ) from error
    return page


def _introduction(found: Found, records: Records) -> Iterator[str]:
    known = [
        record for piece in found.pieces if (record := records.of(piece)) is not None and record.finished
    ]
    machines = ", ".join(sorted({record.machine for record in known}))
    if known:
        days = sorted({record.finished[:10] for record in known})
        hours = sum(record.seconds for record in known) / 3600
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield f"Done on {when}, {hours:.1f} hours of wall time, on {machines}. "
    yield f"{records.what_is_left(found.pieces)}."


def _question(found: Found, number: int, folder: Path) -> Iterator[str]:
    if not found.part_of(number):
        yield "Not part of this study."
        return
    missing = found.missing(number)
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        asked = sum(number in piece.questions for piece in found.pieces)
        yield f"**Missing, {len(missing)} of {asked} pieces:** {', '.join(missing[:NAMED])}{more}."
        yield ""
    section = SECTIONS[number](found)
    if section is None:
        yield "Nothing to show yet."
        return
    for paragraph in section.said:
        yield from (paragraph, "")
    for table in section.tables:
        yield from (*table.as_markdown(), "")
    for figure in section.figures:
        name = f"q{number}_{figure.name}.svg"
        (folder / name).write_text(as_svg(figure))
        stop = "" if figure.title.endswith("?") else "."
        yield from (f"![{figure.title}]({FOLDER}/{name})", "", f"*{figure.title}{stop}* {figure.caption}", "")


def _pieces(found: Found, records: Records) -> Iterator[str]:
    yield "| piece | minutes | ended (UTC) |"
    yield "| --- | --- | --- |"
    for piece in found.pieces:
        record = records.of(piece)
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


def _tables(folder: Path, left_out: list[str]) -> Iterator[str]:
    files = sorted(folder.glob("*.parquet"))
    links = ", ".join(f"[{file.stem}]({FOLDER}/{file.name})" for file in files)
    yield from ("", f"Tables and raw rows (parquet): {links}.")
    if left_out:
        yield from ("", f"Left out, for the page is {LIMIT // 10**6} MB at most: {', '.join(left_out)}.")
