"""A training run and its analysis read back from their folders, for Python and for what is made of a run.

Importing this is light: pyarrow and the rest come with the first table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config import Config
from rlvr.errors import DataError
from rlvr.runtime.dumps import dump_files, dump_name, open_dump

if TYPE_CHECKING:
    import pyarrow as pa

    from rlvr.runtime.folder import Summary


@dataclass(frozen=True, slots=True)
class LoadedAnalysis:
    """What `rlvr.analyze`, or the command, wrote into a folder."""

    folder: Path

    @property
    def headline(self) -> list[dict[str, Any]]:
        """The figures with their intervals, one entry for each checkpoint and trajectory."""
        return json.loads((self.folder / "analysis.json").read_text())["headline"]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the summary tables."""
        return tuple(sorted(path.stem for path in (self.folder / "tables").glob("*.csv")))

    def table(self, name: str) -> pa.Table:
        """A summary table.

        Raises:
            DataError: there is none of that name; says which there are.
        """
        from pyarrow import csv

        if name not in self.tables:
            raise DataError(f"{self.folder}: no table {name!r}; there are {', '.join(self.tables)}")
        return csv.read_csv(self.folder / "tables" / f"{name}.csv")

    def tokens(self) -> pa.Table:
        """The token table: a row for each scored token, with the divergences of policy and base there [nats]."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "tokens")


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """The folder of a training run, finished or not."""

    folder: Path
    config: Config  # with which it was trained
    summary: Summary | None  # None: not finished

    @property
    def policy(self) -> Path | None:
        """The exported policy in Hugging Face format, if there is one."""
        from rlvr.analysis.run_inputs import TrainedRun

        return TrainedRun(self.folder, self.config).policy

    def metrics(self, kind: str | None = None) -> pa.Table:
        """metrics.jsonl as a table; `kind` "train" has a row for each step, "eval" one for each evaluation.

        Numbers that a row does not have are null.
        """
        from rlvr.runtime.folder import RunFolder

        rows = RunFolder(self.folder.parent, self.folder.name).read_metrics()
        return _table([row for row in rows if kind in (None, row["kind"])])

    def samples(self, dump: str = "*") -> pa.Table:
        """Every dumped response, a row each; the column `dump` says of which step or evaluation.

        `dump` is the name of one, such as "step_000020" or "eval_000000", or a pattern like "eval_*".

        Raises:
            DataError: there is no such dump.
        """
        files = dump_files(self.folder / "samples", dump)
        if not files:
            raise DataError(f"{self.folder / 'samples'}: no dump {dump!r} of responses there")
        rows: list[dict[str, Any]] = []
        for file in files:
            with open_dump(file) as lines:
                rows += [{"dump": dump_name(file), **json.loads(line)} for line in lines]
        return _table(rows)

    def analysis(self) -> LoadedAnalysis:
        """The analysis of this run.

        Raises:
            DataError: it has not been analysed.
        """
        return _analysis(self.folder / "analysis", f"rlvr.analyze(run={str(self.folder)!r})")

    def token_table(self) -> pa.Table:
        """The token table of this run's analysis.

        Raises:
            DataError: the run has not been analysed.
        """
        return self.analysis().tokens()


def load_run(path: str | Path) -> LoadedRun:
    """A training run from its folder.

    Raises:
        ConfigError: it is no folder of a training run, or its configuration cannot be read.
        DataError: its summary.json is damaged.
    """
    from rlvr.analysis.run_inputs import read_run

    found = read_run(path)
    return LoadedRun(found.folder, found.cfg, _summary(found.folder / "summary.json"))


def _summary(file: Path) -> Summary | None:
    from rlvr.runtime.folder import Change, Summary

    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
        changes = tuple(Change(**change) for change in content.pop("changes", ()))
        return Summary(
            **{**content, "eval_accuracy_ci95": tuple(content["eval_accuracy_ci95"])}, changes=changes
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a file that a user may have touched
        raise DataError(f"{file}: not the summary of a run of this version ({error})") from error


def _analysis(folder: Path, remedy: str) -> LoadedAnalysis:
    if not (folder / "analysis.json").is_file():
        raise DataError(f"{folder}: no analysis.json there, so no finished analysis; {remedy} makes one")
    return LoadedAnalysis(folder)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    columns = dict.fromkeys(name for row in rows for name in row)  # in order of their first row
    return pa.table({name: [row.get(name) for row in rows] for name in columns})
