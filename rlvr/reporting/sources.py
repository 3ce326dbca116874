"""What the report finds in a folder: records read from the files of train, analyze and cross_sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlvr.analysis.cross.records import BUDGET_COLUMNS
from rlvr.analysis.shift.tables import TABLES
from rlvr.analysis.tables import read_csv
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.folder import RunFolder

ANALYSIS_TABLES = (
    "sparsity", "evolution", "position", "js_entropy", "overlap", "rank", "mass", "tokens", "truncation", "outcome",
    "context",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Analysis:
    """The folder that `python -m rlvr.analyze` wrote."""

    folder: Path
    content: dict[str, Any]  # analysis.json
    tables: dict[str, pa.Table]  # name -> tables/<name>.csv

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

    def rows(self, table: str, **wanted: str) -> pa.Table:
        """The rows of a table whose columns have these values, of the final policy."""
        return where(self.tables[table], checkpoint=self.checkpoints[-1], **wanted)

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
    budgets: pa.Table  # budgets.csv


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One folder of the report; what is not there is empty or None."""

    name: str
    folder: Path
    train: list[dict[str, Any]]  # rows of metrics.jsonl with kind train
    evals: list[dict[str, Any]]  # rows with kind eval
    config: str  # text of config.yaml
    summary: dict[str, Any] | None
    analysis: Analysis | None
    cross: Cross | None

    def command(self, module: str, below: str) -> str:
        """The command that makes a missing part; of two models where the folder is not that of a run."""
        if self.config:
            return f"rlvr.{module} run={self.folder}"
        return f"rlvr.{module} base=BASE policy=POLICY output={self.folder / below}"


def read_run(path: Path) -> ReportedRun:
    """Read a run folder, or the output folder of an analysis or of cross-sampling alone.

    Raises:
        ConfigError: the folder does not exist, or holds nothing to report.
        DataError: a file in it is damaged or of another version.
    """
    folder = path.expanduser().resolve()  # `latest` may point elsewhere tomorrow
    if not folder.is_dir():
        raise ConfigError(f"{path}: there is no such folder; name the folder of a run, such as runs/latest")
    rows = RunFolder(folder.parent, folder.name).read_metrics()
    config = folder / "config.yaml"
    run = ReportedRun(
        name=folder.name,
        folder=folder,
        train=[row for row in rows if row.get("kind") == "train"],
        evals=[row for row in rows if row.get("kind") == "eval"],
        config=config.read_text() if config.is_file() else "",
        summary=_json(folder / "summary.json"),
        analysis=_analysis(folder),
        cross=_cross(folder),
    )
    if not (run.train or run.evals or run.analysis or run.cross):
        raise ConfigError(
            f"{path}: nothing to report in {folder}. Expected metrics.jsonl of a training run, "
            "analysis/analysis.json or cross_sampling/cross_sampling.json"
        )
    return run


def where(table: pa.Table, **wanted: str) -> pa.Table:
    """The rows whose columns have these values."""
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    return table


def known(table: pa.Table, name: str) -> pa.Table:
    """The rows that have a number in this column."""
    return table.filter(pc.is_finite(table[name]))


def _analysis(folder: Path) -> Analysis | None:
    keys = ("config", "versions", "headline", "token_files")
    if (found := _result(folder, "analysis", {"format_version": "1"}, keys)) is None:
        return None
    place, content = found
    files = {name: place / "tables" / f"{name}.csv" for name in ANALYSIS_TABLES}
    return Analysis(
        place, content, {name: read_csv(file, TABLES[name].columns) for name, file in files.items()}
    )


def _cross(folder: Path) -> Cross | None:
    keys = ("config", "versions", "endpoints", "counts")
    if (found := _result(folder, "cross_sampling", {"format": 1}, keys)) is None:
        return None
    place, content = found
    return Cross(place, content, read_csv(place / "budgets.csv", BUDGET_COLUMNS))


def _result(
    folder: Path, name: str, version: dict[str, object], keys: Sequence[str]
) -> tuple[Path, dict[str, Any]] | None:
    """The folder of `<name>.json`, in the run's or by itself, and its content; None if there is none."""
    place = next((place for place in (folder / name, folder) if (place / f"{name}.json").is_file()), None)
    if place is None:
        return None
    file = place / f"{name}.json"
    content = _json(file) or {}
    for key, expected in version.items():
        if (found := content.get(key)) != expected:
            raise DataError(
                f"{file}: format {found!r}, but this version reads {expected!r}; write it again with this version"
            )
    if missing := [key for key in keys if key not in content]:
        raise DataError(
            f"{file}: {', '.join(missing)} is missing; it was cut short or edited: write it again"
        )
    return place, content


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
