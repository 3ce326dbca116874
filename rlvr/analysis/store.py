"""Output folders of the analyses: files that are whole or not there, and the claim on a folder.

A process holds its folder with `rlvr.locks`. A claim is a file with the settings that the finished parts were computed
with: parts of two computations are never mixed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.data.models.identity import as_kept
from rlvr.errors import ConfigError, DataError, RlvrError
from rlvr.runtime.checkpoints.resume import differences
from rlvr.runtime.disk.files import replacing, write_atomically

IDENTITY = "models_known_by"  # key of a claim: what tells one model from another in it


def write_text(path: Path, text: str) -> None:
    """Write a small file at once.

    Raises:
        RlvrError: it cannot be written.
    """
    with writing(path):
        write_atomically(path, text)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of one JSON object a line at once; raises as `write_text` does."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables as the row groups of one file, which appears under its name only when it is complete.

    Raises:
        RlvrError: it cannot be written (a full disk, say); nothing half-written is left behind.
    """
    with (
        writing(path),
        replacing(path, "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a file's folder, and say what to do where the file cannot be written.

    Raises:
        RlvrError: names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RlvrError(
            f"{path} cannot be written ({error.strerror or error}). Finished parts are kept: free some space, or make "
            "the folder writable, and run the same command again."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what to do where a finished part is damaged; somebody may have touched it since it was written.

    Raises:
        DataError: names the file.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: damaged ({error!r}); delete it and run the same command again: it is computed again"
        ) from error


def versions_of(*packages: str) -> dict[str, str]:
    """The installed versions of packages, and Python's."""
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def claim(path: Path, settings: Mapping[str, Any], key: str) -> None:
    """Record what a folder is computed with, or check it; `key` is what named the folder, such as `output=mine`.

    Raises:
        ConfigError: it was claimed with other settings, which are named, or by a version that knew models otherwise.
        RlvrError: the claim cannot be written.
    """
    # As JSON gives them back: what is compared has the same types.
    now = json.loads(json.dumps(settings))
    otherwise = f"choose another {key.partition('=')[0]}, or remove the folder"
    if path.exists():
        try:
            earlier = json.loads(path.read_text())
            if not isinstance(earlier, dict):
                raise ValueError(f"a JSON object was expected, found {type(earlier).__name__}")
        except (OSError, ValueError) as error:  # a file that a user may have touched
            raise ConfigError(f"{key}: {path} cannot be read ({error}); {otherwise}.") from error
        if IDENTITY in now and IDENTITY not in earlier:
            raise ConfigError(
                f"{key}: its parts are of an earlier version, which told models apart by the dates of their files and "
                f"not by content; {otherwise}."
            )
        changed = [
            f"{name} was {old!r}, is {new!r}"
            for name, old, new in differences(earlier, as_kept(earlier, now))
        ]
        if changed:
            raise ConfigError(
                f"{key}: holds results of other settings: {'; '.join(changed)}. Put these back, {otherwise}."
            )
    else:
        write_text(path, json.dumps(now, indent=2) + "\n")
