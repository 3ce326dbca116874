"""What a command has left in a folder, read back for Python and for the report; the analysis above all.

Importing this is light: pyarrow and the rest come with the first table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)  # without slots, so that what has been read is kept
class LoadedAnalysis:
    """What `rlvr.analyze`, or the command, wrote into a folder."""

    folder: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """analysis.json; raises DataError where it is damaged or of another version."""
        keys = ("config", "versions", "headline", "token_files")
        return read_result(self.folder / "analysis.json", "format_version", "1", keys)

    @property
    def headline(self) -> list[dict[str, Any]]:
        """The figures with their intervals, one entry for each checkpoint and trajectory."""
        return self.content["headline"]

    @property
    def moved_above(self) -> float:
        """JS in nats above which a position counts as moved."""
        return float(self.content["config"]["tables"]["moved_above"])

    @property
    def checkpoints(self) -> list[str]:
        """Labels of the scored policies, oldest first; the last one is the final policy."""
        return list(dict.fromkeys(entry["checkpoint"] for entry in self.headline))

    @property
    def trajectories(self) -> list[str]:
        """Whose responses were scored: policy, base or both."""
        return list(dict.fromkeys(entry["trajectory"] for entry in self.headline))

    def scored(self, trajectory: str) -> int:
        """Positions scored on the responses of a model."""
        return next(e["tokens"] for e in self.headline if e["trajectory"] == trajectory)

    def figure(self, name: str, trajectory: str) -> tuple[float, float, float] | None:
        """A headline figure of the final policy: value, lower and upper end; None where there is no number."""
        for entry in self.headline:
            if (entry["checkpoint"], entry["trajectory"]) == (self.checkpoints[-1], trajectory):
                found = entry["figures"][name]
                return None if found["value"] is None else (found["value"], found["low"], found["high"])
        return None

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the summary tables."""
        return tuple(sorted(path.stem for path in (self.folder / "tables").glob("*.csv")))

    def table(self, name: str) -> pa.Table:
        """A summary table; a number that is not known is nan.

        Raises:
            DataError: there is none of that name, which says which there are, or its file is damaged.
        """
        from rlvr.analysis.shift.columns import COLUMNS_OF_TABLES, TABLES
        from rlvr.analysis.tables import read_csv

        columns = {"columns": COLUMNS_OF_TABLES} | TABLES
        if name not in columns:
            raise DataError(f"{self.folder}: no table {name!r}; there are {', '.join(self.tables)}")
        return read_csv(self.folder / "tables" / f"{name}.csv", columns[name])

    def rows(self, table: str, **wanted: str) -> pa.Table:
        """The rows of a table whose columns have these values, of the final policy; raises as `table` does."""
        from rlvr.analysis.tables import where

        return where(self.table(table), checkpoint=self.checkpoints[-1], **wanted)

    def tokens(self) -> pa.Table:
        """The token table: a row for each scored token, with the divergences of policy and base there [nats]."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / "tokens")


def read_result(file: Path, key: str, version: object, keys: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object that one of our commands wrote; `key` holds the version of its form, `keys` are needed besides.

    Raises:
        DataError: it is no such object, of another version, or lacks a key.
    """
    try:
        content = json.loads(file.read_text())
    except ValueError as error:  # a file that a user may have touched
        raise DataError(f"{file}: not JSON ({error}); write it again, or remove it") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: a JSON object was expected, found {type(content).__name__}")
    if content.get(key) != version:
        raise DataError(
            f"{file}: format {content.get(key)!r}, but this version reads {version!r}; write it again with this version"
        )
    if missing := [name for name in keys if name not in content]:
        raise DataError(
            f"{file}: {', '.join(missing)} is missing; it was cut short or edited: write it again"
        )
    return content
