"""The rows of a file that a run appends to, a JSON object with its step on each line, also where it is damaged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlvr.errors import DataError

LISTED = 5  # lines and the like that a message names

log = logging.getLogger(__name__)


def read_rows(path: Path, *, numbers: bool = False) -> list[dict[str, Any]]:
    """All rows of a file, none where there is no file; a warning names damaged lines, which are left out.

    With `numbers` a row counts as damaged also where a value beside its kind is no number, as in no row of metrics.

    Raises:
        DataError: it cannot be read.
    """
    rows, damaged = split_rows(path, numbers=numbers)
    if damaged:
        log.warning("%s", damage_note(path, damaged, numbers=numbers))
    return rows


def new_rows(path: Path, after: int) -> tuple[list[dict[str, Any]], int, int]:
    """The rows of metrics on the whole lines behind byte `after`, and the bytes at which these lines begin and end.

    They begin at 0 where no line ends at `after`, for then the file has been written anew; else what stands before
    is not read. A warning names damaged lines, which are left out.

    Raises:
        DataError: it cannot be read.
    """
    with _reading(path), suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(after - 1, 0))
        start = after if after > 0 and file.read(1) == b"\n" else 0
        file.seek(start)
        text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        found = [row_of(line, numbers=True) for line in whole.split(b"\n")[:-1]]
        if None in found:  # only then is it worth counting the lines before
            file.seek(0)
            before = file.read(start).count(b"\n")
            damaged = [before + number for number, row in enumerate(found, start=1) if row is None]
            log.warning("%s", damage_note(path, damaged, numbers=True))
        return [row for row in found if row is not None], start, start + len(whole)
    return [], 0, 0


def split_rows(path: Path, *, numbers: bool = False) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows, and the numbers of the lines that hold none; a last line cut short by a kill is in neither.

    `numbers` as in `read_rows`.

    Raises:
        DataError: it cannot be read.
    """
    lines: list[bytes] = []
    with _reading(path), suppress(FileNotFoundError):
        lines = path.read_bytes().split(b"\n")
    found = {number: row_of(line, numbers=numbers) for number, line in enumerate(lines, start=1)}
    # Without its newline the last line is a row that was being written, if it is the beginning of one.
    if lines and found[len(lines)] is None and lines[-1][:1] in (b"", b"{"):
        del found[len(lines)]
    rows = [row for row in found.values() if row is not None]
    return rows, [number for number, row in found.items() if row is None]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); make it readable, or move it away") from error


def damage_note(path: Path, damaged: list[int], *, numbers: bool = False) -> str:
    """What there is to say about lines that hold no row."""
    row = "JSON with a step, and numbers beside it" if numbers else "JSON with a step"
    return f"{path}: line {listed(damaged)} holds no row ({row}) and is left out; the others are kept"


def listed(things: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(things) - LISTED} more" if len(things) > LISTED else ""
    return ", ".join(map(str, things[:LISTED])) + more


def row_of(line: bytes, *, numbers: bool = False) -> dict[str, Any] | None:
    """The row on a line, None where it holds none; `numbers` as in `read_rows`."""
    try:
        row = json.loads(line.decode())
    except ValueError:  # no JSON, or no UTF-8
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    odd = numbers and any(type(value) not in (int, float) for key, value in row.items() if key != "kind")
    return None if odd else row
