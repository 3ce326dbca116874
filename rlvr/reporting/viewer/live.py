"""What a run has written so far, for a page that follows it."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from rlvr.errors import DataError
from rlvr.runtime.disk.dumps import dump_files, dump_lines, dump_name, without_nan
from rlvr.runtime.disk.rows import new_rows

SHOWN = 8  # responses of the newest step
MOST_CHARACTERS = 4_000  # of a question or a response on the page
FIELDS = ("question", "response", "answer", "verdict", "reward", "truncated")


def news(folder: Path, after: int) -> dict[str, Any]:
    """Rows of metrics.jsonl behind byte `after`, responses of the newest step, and whether the run has finished.

    `start` and `end` are the bytes of these rows: the next question is for those after `end`, and where `start` is 0
    they are all there are, for a resumed run writes the file anew. A row that is being written comes with the next
    question; a number that JSON lacks is null.

    Raises:
        DataError: a file of the run cannot be read.
    """
    rows, start, end = new_rows(folder / "metrics.jsonl", after)
    return {
        "start": start,
        "end": end,
        "rows": without_nan(rows),
        "finished": (folder / "summary.json").is_file(),
        "samples": _newest(folder / "samples"),
    }


def _newest(samples: Path) -> dict[str, Any] | None:
    files = dump_files(samples, "step_*") if samples.is_dir() else []
    if not files:
        return None
    try:
        rows = [json.loads(line) for line in islice(dump_lines(files[-1]), SHOWN)]
        shown = [{name: _short(row.get(name)) for name in FIELDS} for row in rows]
    except (ValueError, AttributeError) as error:  # somebody may have touched it
        raise DataError(
            f"{files[-1]}: no dump of responses ({error}); put it back, or move it away"
        ) from error
    return {"dump": dump_name(files[-1]), "rows": shown}


def _short(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > MOST_CHARACTERS
    return value[:MOST_CHARACTERS] + " …" if too_long else value
