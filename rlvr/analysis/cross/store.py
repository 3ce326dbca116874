"""The output folder: finished parts are kept, each whole or not there at all, and found again on a restart.

<output>/cross_sampling.json    settings, versions, endpoints, calibrations, counts
         budgets.csv            one row per direction, rule and budget
         samples/<part>.jsonl   every response with its switched positions
         parts/<part>.json      what the figures are computed from
         settings.json          what the responses depend on; other settings need another folder
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.analysis.cross.records import BudgetRow, Calibration, Part
from rlvr.analysis.cross.statistics import endpoint_summary, rows_as_csv
from rlvr.analysis.evaluation_file import correctness_as_json
from rlvr.errors import ConfigError, RlvrError
from rlvr.runtime.folder import write_atomically
from rlvr.stats.accuracy import EvalResult, correctness

FORMAT = 1  # of files and random numbers; part of the settings, so that versions never mix in one folder
SUMMARY = "cross_sampling.json"
BUDGETS = "budgets.csv"


class Store:
    """Reads and writes one output folder for one set of settings."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Open the folder.

        Raises ConfigError where it holds results of other settings, RlvrError where it cannot be written.
        """
        self.folder = folder
        self.settings = settings
        self.fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        self._check_settings()
        self._write(folder / "settings.json", lambda: json.dumps(settings, indent=2) + "\n")

    def _check_settings(self) -> None:
        file = self.folder / "settings.json"
        if not file.is_file():
            return
        try:
            earlier = json.loads(file.read_text())
        except ValueError as error:  # a file that a user may have touched
            raise ConfigError(
                f"output={self.folder}: {file.name} there is damaged; use another folder"
            ) from error
        changed = sorted(
            key for key in earlier.keys() | self.settings.keys() if earlier.get(key) != self.settings.get(key)
        )
        if changed:
            raise ConfigError(
                f"output={self.folder}: it holds results of other settings ({', '.join(changed)} changed); choose "
                "another output, delete that folder, or go back to its settings"
            )

    def read(self, name: str) -> Part | None:
        """The finished part of that name, or None."""
        file = self.folder / "parts" / f"{name}.json"
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text())
            return _part(content) if content["fingerprint"] == self.fingerprint else None
        except (KeyError, TypeError, ValueError) as error:  # a file that a user may have touched
            raise RlvrError(
                f"output={self.folder}: {file} is damaged ({error!r}); delete it, and it is computed again"
            ) from error

    def write_part(self, part: Part, samples: Sequence[dict[str, Any]]) -> None:
        """Keep a finished part: first its responses, then the figures that make it count as finished."""
        self._write(
            self.folder / "samples" / f"{part.name}.jsonl",
            lambda: "".join(json.dumps(sample) + "\n" for sample in samples),
        )
        self._write(
            self.folder / "parts" / f"{part.name}.json",
            lambda: json.dumps({"fingerprint": self.fingerprint, **_part_as_json(part)}) + "\n",
        )

    def write_summary(
        self,
        parts: Sequence[Part],
        rows: Sequence[BudgetRow],
        config: dict[str, Any],
        versions: dict[str, str],
    ) -> None:
        """Write budgets.csv and cross_sampling.json for the parts finished so far."""
        ends = {part.rule: endpoint_summary(part) for part in parts if part.direction == "endpoint"}
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
        self._write(self.folder / BUDGETS, lambda: rows_as_csv(rows))
        self._write(self.folder / SUMMARY, lambda: json.dumps(content, indent=2, allow_nan=False) + "\n")

    def _write(self, path: Path, text: Callable[[], str]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text())
        except OSError as error:
            path.with_name(f".{path.name}.draft").unlink(missing_ok=True)
            raise RlvrError(
                f"output={self.folder}: {path.name} cannot be written ({error.strerror or error}). Finished budgets "
                "are kept: make room or mend the folder, and run the same command again"
            ) from error


def _part_as_json(part: Part) -> dict[str, Any]:
    graded = part.graded
    return {
        "name": part.name,
        "direction": part.direction,
        "rule": part.rule,
        "budget": part.budget,
        "eps": part.eps,
        "target": part.target,
        "threshold": part.threshold,
        "calibration": None if part.calibration is None else asdict(part.calibration),
        "tokens": part.tokens,
        "switches": part.switches,
        "effective": part.effective,
        "problem_ids": list(graded.problem_ids),
        "correct": correctness_as_json(graded.correct),
        "lengths": graded.lengths.tolist(),
        "truncated": graded.truncated.astype(int).tolist(),
        "answers": [list(row) for row in graded.answers],
    }


def _part(content: dict[str, Any]) -> Part:
    names = (
        "name",
        "direction",
        "rule",
        "budget",
        "eps",
        "target",
        "threshold",
        "tokens",
        "switches",
        "effective",
    )
    calibration = content["calibration"]
    return Part(
        **{name: content[name] for name in names},
        calibration=None if calibration is None else Calibration(**calibration),
        graded=EvalResult(
            name=content["name"],
            problem_ids=tuple(content["problem_ids"]),
            correct=correctness(content["correct"]),
            lengths=np.asarray(content["lengths"], dtype=np.int64),
            truncated=np.asarray(content["truncated"], dtype=np.bool_),
            answers=tuple(tuple(row) for row in content["answers"]),
        ),
    )
