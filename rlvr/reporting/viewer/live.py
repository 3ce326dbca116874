"""What a run has written so far, for a page that follows it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rlvr.analysis.store import reading
from rlvr.runtime.dumps import dump_files, dump_name, open_dump

SHOWN = 8  # responses of the newest step
MOST_CHARACTERS = 4_000  # of a question or a response on the page
FIELDS = ("question", "response", "answer", "verdict", "reward", "truncated")


@dataclass(frozen=True, slots=True)
class Training:
    """The folder of a run that may still train."""

    folder: Path

    def news(self, after: int) -> dict[str, Any]:
        """Rows of metrics.jsonl after the first `after`, responses of the newest step, and whether it has finished.

        A row that is being written comes with the next question.

        Raises:
            DataError: a file of the run is damaged.
        """
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.is_file() else []
        start = min(max(after, 0), len(lines))  # a resumed run has fewer: from the beginning then
        if after > len(lines):
            start = 0
        with reading(path):
            rows = [_finite(json.loads(line)) for line in lines[start:]]
        return {
            "start": start,
            "rows": rows,
            "finished": (self.folder / "summary.json").is_file(),
            "samples": self._newest(),
        }

    def _newest(self) -> dict[str, Any] | None:
        files = dump_files(self.folder / "samples", "step_*") if (self.folder / "samples").is_dir() else []
        if not files:
            return None
        with reading(files[-1]), open_dump(files[-1]) as lines:
            rows = [json.loads(line) for line in islice(lines, SHOWN)]
        return {
            "dump": dump_name(files[-1]),
            "rows": [{name: _short(row.get(name)) for name in FIELDS} for row in rows],
        }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON lacks, of a run that has diverged say, as null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _short(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > MOST_CHARACTERS
    return value[:MOST_CHARACTERS] + " …" if too_long else value
