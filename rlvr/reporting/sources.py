"""What the report finds in a folder: records read from the files of train, analyze and cross_sample."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr.analysis.cross.records import BUDGET_COLUMNS
from rlvr.analysis.loaded import LoadedAnalysis, read_result
from rlvr.analysis.tables import read_csv
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import SUMMARY, Summary, read_summary


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
    summary: Summary | None  # None: the run has not finished
    analysis: LoadedAnalysis | None
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
    config, summary = folder / "config.yaml", folder / SUMMARY
    analysed, crossed = _place_of("analysis", folder), _place_of("cross_sampling", folder)
    run = ReportedRun(
        name=folder.name,
        folder=folder,
        train=[row for row in rows if row.get("kind") == "train"],
        evals=sorted((row for row in rows if row.get("kind") == "eval"), key=itemgetter("step")),
        config=read_config(config) if config.is_file() else "",
        summary=read_summary(summary) if summary.is_file() else None,
        analysis=None if analysed is None else LoadedAnalysis(analysed),
        cross=None if crossed is None else read_cross(crossed),
    )
    if not (run.train or run.evals or run.analysis or run.cross):
        raise ConfigError(
            f"{path}: nothing to report in {folder}. Expected metrics.jsonl of a training run, "
            "analysis/analysis.json or cross_sampling/cross_sampling.json"
        )
    return run


def read_config(file: Path) -> str:
    """The text of config.yaml; raises DataError where it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: no UTF-8 text ({error.reason} at byte {error.start}); mend that, or take it out"
        ) from error


def _place_of(name: str, folder: Path) -> Path | None:
    """The folder of `<name>.json`, in the run's or by itself; None if there is none."""
    return next((place for place in (folder / name, folder) if (place / f"{name}.json").is_file()), None)


def read_cross(folder: Path) -> Cross:
    """What cross-sampling left in its folder.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    keys = ("config", "versions", "endpoints", "counts")
    content = read_result(folder / "cross_sampling.json", "format", 1, keys)
    return Cross(folder, content, read_csv(folder / "budgets.csv", BUDGET_COLUMNS))
