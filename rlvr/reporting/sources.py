"""What the report finds in a folder: records read from the files of train, analyze and cross_sample."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, DataError
from rlvr.runtime.folder import RunFolder

Row = dict[str, str]

ANALYSIS_TABLES = (
    "sparsity", "evolution", "position", "js_entropy", "overlap", "rank", "mass", "tokens", "truncation", "outcome",
    "context",
)  # fmt: skip
CROSS_FORMAT = 1
ANALYSIS_FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Analysis:
    """The folder that `python -m rlvr.analyze` wrote."""

    folder: Path
    content: dict[str, Any]  # analysis.json
    tables: dict[str, list[Row]]  # name -> rows of tables/<name>.csv

    @property
    def moved_above(self) -> float:
        """JS in nats above which a position counts as moved."""
        return float(self.content["config"]["tables"]["moved_above"])

    @property
    def checkpoints(self) -> list[str]:
        """Labels of the scored policies, oldest first; the last one is the final policy."""
        return list(dict.fromkeys(entry["checkpoint"] for entry in self.content["headline"]))

    @property
    def trajectories(self) -> list[str]:
        """Whose responses were scored: policy, base or both."""
        return list(dict.fromkeys(entry["trajectory"] for entry in self.content["headline"]))

    def tokens(self, trajectory: str) -> int:
        """Positions scored on the responses of a model."""
        return next(e["tokens"] for e in self.content["headline"] if e["trajectory"] == trajectory)

    def rows(self, table: str, **wanted: str) -> list[Row]:
        """The rows of a table whose columns have these values; of the final policy unless one is named."""
        wanted = {"checkpoint": self.checkpoints[-1], **wanted}
        return [r for r in self.tables[table] if all(r[key] == value for key, value in wanted.items())]

    def figure(self, name: str, trajectory: str) -> tuple[float, float, float] | None:
        """A headline figure of the final policy: value, lower and upper end; None where there is no number."""
        for entry in self.content["headline"]:
            if entry["checkpoint"] == self.checkpoints[-1] and entry["trajectory"] == trajectory:
                found = entry["figures"][name]
                return None if found["value"] is None else (found["value"], found["low"], found["high"])
        return None


@dataclass(frozen=True, slots=True)
class Cross:
    """The folder that `python -m rlvr.cross_sample` wrote."""

    folder: Path
    content: dict[str, Any]  # cross_sampling.json
    budgets: list[Row]  # rows of budgets.csv


@dataclass(frozen=True, slots=True)
class Run:
    """One folder of the report; what is not there is empty or None."""

    name: str
    folder: Path
    train: list[dict[str, Any]]  # rows of metrics.jsonl with kind train
    evals: list[dict[str, Any]]  # rows with kind eval
    config: str  # text of config.yaml
    summary: dict[str, Any] | None
    analysis: Analysis | None
    cross: Cross | None


def read_run(path: Path) -> Run:
    """Read a run folder, or the output folder of an analysis or of cross-sampling alone.

    Raises:
        ConfigError: the folder does not exist, or holds nothing to report.
        DataError: a file in it is damaged or of another version.
    """
    folder = path.expanduser().resolve()  # `latest` may point elsewhere tomorrow
    if not folder.is_dir():
        raise ConfigError(f"{path}: there is no such folder; name the folder of a run, such as runs/latest")
    rows = RunFolder(folder.parent, folder.name).read_metrics()
    run = Run(
        name=folder.name,
        folder=folder,
        train=[row for row in rows if row.get("kind") == "train"],
        evals=[row for row in rows if row.get("kind") == "eval"],
        config=_text(folder / "config.yaml"),
        summary=_json(folder / "summary.json"),
        analysis=_analysis(_holding(folder, "analysis", "analysis.json")),
        cross=_cross(_holding(folder, "cross_sampling", "cross_sampling.json")),
    )
    if not (run.train or run.evals or run.analysis or run.cross):
        raise ConfigError(
            f"{path}: nothing to report in {folder}. Expected metrics.jsonl of a training run, "
            "analysis/analysis.json or cross_sampling/cross_sampling.json"
        )
    return run


def number(text: str) -> float:
    """A cell of a table; nan where it is empty."""
    return float(text) if text else math.nan


def column(rows: Sequence[Row], name: str) -> list[float]:
    """A column of a table as numbers; nan where a cell is empty."""
    return [number(row[name]) for row in rows]


def _holding(folder: Path, below: str, file: str) -> Path | None:
    for candidate in (folder / below, folder):
        if (candidate / file).is_file():
            return candidate
    return None


def _analysis(folder: Path | None) -> Analysis | None:
    if folder is None:
        return None
    file = folder / "analysis.json"
    content = _json(file)
    assert content is not None
    _check_format(file, content.get("format_version"), ANALYSIS_FORMAT)
    _require(file, content, ("config", "versions", "headline", "token_files"))
    return Analysis(
        folder, content, {name: _csv(folder / "tables" / f"{name}.csv") for name in ANALYSIS_TABLES}
    )


def _cross(folder: Path | None) -> Cross | None:
    if folder is None:
        return None
    file = folder / "cross_sampling.json"
    content = _json(file)
    assert content is not None
    _check_format(file, content.get("format"), CROSS_FORMAT)
    _require(file, content, ("config", "versions", "endpoints", "counts"))
    return Cross(folder, content, _csv(folder / "budgets.csv"))


def _check_format(file: Path, found: object, expected: object) -> None:
    if found != expected:
        raise DataError(
            f"{file}: format {found!r}, but this version reads {expected!r}; write it again with this version"
        )


def _require(file: Path, content: dict[str, Any], keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(
            f"{file}: {', '.join(missing)} is missing; it was cut short or edited: write it again"
        )


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError as error:  # a file that a user may have touched
        raise DataError(f"{path}: not JSON ({error}); write it again, or remove it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: a JSON object was expected, found {type(content).__name__}")
    return content


def _csv(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: missing; run the command that writes its folder again")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
