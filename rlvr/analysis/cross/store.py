"""The output folder: finished parts are kept, each whole or not there at all, and found again on a restart.

<output>/cross_sampling.json    settings, versions, endpoints, calibrations, counts
         budgets.csv            one row per direction, rule and budget
         pairs.csv, rules.md    every rule against every other at the same budget; both tables to read
         samples/<part>.jsonl   every response with its switched positions
         parts/<part>.json      what the figures are computed from
         settings.json          what the responses depend on; other settings need another folder
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.pairs import PAIR_COLUMNS, pair_rows, rules_page
from rlvr.analysis.cross.records import BUDGET_COLUMNS, DIGITS, BudgetRow, Calibration, Part
from rlvr.analysis.evaluation import result_from_json, samples_as_json
from rlvr.analysis.store import claim, reading, write_rows, write_text
from rlvr.analysis.tables import records_as_csv

FORMAT = 1  # of files and random numbers; part of the settings, so that versions never mix in one folder
SUMMARY = "cross_sampling.json"
BUDGETS = "budgets.csv"
OWN_FIELDS = tuple(f.name for f in fields(Part) if f.name != "graded")


class Store:
    """Reads and writes one output folder for one set of settings."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Claim the folder.

        Raises ConfigError where it holds results of other settings, RlvrError where it cannot be written.
        """
        self.folder = folder
        self.settings = settings
        self.fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        claim(folder / "settings.json", settings, f"output={folder}")

    def read(self, name: str) -> Part | None:
        """The finished part of that name, or None, also without its responses; raises DataError where it is damaged."""
        file = self.folder / "parts" / f"{name}.json"
        if not (file.is_file() and self.samples_file(name).is_file()):
            return None
        with reading(file):
            content = json.loads(file.read_text())
            if content["fingerprint"] != self.fingerprint:
                return None
            own = {field: content[field] for field in OWN_FIELDS}
            calibration = None if own["calibration"] is None else Calibration(**own["calibration"])
            graded = result_from_json(content["name"], content)
            part = Part(**own | {"calibration": calibration}, graded=graded)
            if part.name != name:
                raise ValueError(f"the part {part.name}")
        return part

    def samples_file(self, name: str) -> Path:
        """Where the responses of a part are."""
        return self.folder / "samples" / f"{name}.jsonl"

    def read_samples(self, part: Part) -> list[dict[str, Any]]:
        """The responses of a finished part, as `write_part` got them.

        Raises:
            DataError: they are missing, damaged, or not those that the part's figures are of.
        """
        file, graded = self.samples_file(part.name), part.graded
        of_part = zip(graded.problem_ids, graded.lengths.tolist(), strict=True)
        expected = [(name, length) for name, lengths in of_part for length in lengths]
        with reading(file):
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            if [(row["problem_id"], len(row["response_ids"])) for row in rows] != expected:
                raise ValueError(f"{len(rows)} responses that are not the {len(expected)} of its figures")
        return rows

    def write_part(self, part: Part, samples: Sequence[dict[str, Any]]) -> None:
        """Keep a finished part: first its responses, then the figures that make it count as finished."""
        write_rows(self.samples_file(part.name), samples)
        calibration = None if part.calibration is None else asdict(part.calibration)
        own = {field: getattr(part, field) for field in OWN_FIELDS} | {"calibration": calibration}
        content = {"fingerprint": self.fingerprint, "name": part.name, **own, **samples_as_json(part.graded)}
        write_rows(self.folder / "parts" / f"{part.name}.json", [content])

    def write_summary(
        self,
        parts: Sequence[Part],
        rows: Sequence[BudgetRow],
        config: dict[str, Any],
        versions: dict[str, str],
    ) -> None:
        """Write the summary and the tables of the parts finished so far."""
        ends = {part.rule: part.figures() for part in parts if part.direction == "endpoint"}
        content = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "config": config,
            "settings": self.settings,
            "versions": versions,
            "endpoints": ends,
            "gap": ends["policy"]["accuracy"] - ends["base"]["accuracy"],
            "counts": {
                "problems": len(parts[0].graded.problem_ids),
                "samples_per_problem": parts[0].graded.correct.shape[1],
                "parts": len(parts),
                "tokens": sum(part.tokens for part in parts),
            },
            "calibrations": {
                part.name: asdict(part.calibration) for part in parts if part.calibration is not None
            },
            "parts": [part.name for part in parts],
        }
        pairs = pair_rows(parts)
        write_text(self.folder / BUDGETS, records_as_csv(BUDGET_COLUMNS, rows, digits=DIGITS))
        write_text(self.folder / "pairs.csv", records_as_csv(PAIR_COLUMNS, pairs, digits=DIGITS))
        write_text(self.folder / "rules.md", rules_page(rows, pairs))
        write_text(self.folder / SUMMARY, json.dumps(content, indent=2, allow_nan=False) + "\n")
