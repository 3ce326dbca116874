"""What a run has written so far, for a page that follows it."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from rlvr.analysis.store import reading
from rlvr.runtime.dumps import dump_files, dump_name, open_dump

SHOWN = 8  # responses of the newest step
MOST_CHARACTERS = 4_000  # of a question or a response on the page
FIELDS = ("question", "response", "answer", "verdict", "reward", "truncated")


def news(folder: Path, after: int) -> dict[str, Any]:
    """Rows of metrics.jsonl after the first `after`, responses of the newest step, and whether the run has finished.

    A row that is being written comes with the next question; a number that JSON lacks is null.

    Raises:
        DataError: a file of the run is damaged.
    """
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    start = after if 0 <= after <= len(lines) else 0  # a resumed run has fewer: from the beginning then
    with reading(path):
        rows = [json.loads(line, parse_constant=lambda name: None) for line in lines[start:]]
    return {
        "start": start,
        "rows": rows,
        "finished": (folder / "summary.json").is_file(),
        "samples": _newest(folder / "samples"),
    }


def _newest(samples: Path) -> dict[str, Any] | None:
    files = dump_files(samples, "step_*") if samples.is_dir() else []
    if not files:
        return None
    with reading(files[-1]), open_dump(files[-1]) as lines:
        rows = [json.loads(line) for line in islice(lines, SHOWN)]
    return {
        "dump": dump_name(files[-1]),
        "rows": [{name: _short(row.get(name)) for name in FIELDS} for row in rows],
    }


def _short(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > MOST_CHARACTERS
    return value[:MOST_CHARACTERS] + " …" if too_long else value
