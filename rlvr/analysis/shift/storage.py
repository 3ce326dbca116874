"""Files that are there whole or not at all, and the claim on an output folder.

<output>/claim.json               the settings that the finished parts were computed with
         responses.parquet        one row per response, one row group per part
         tokens/part-00000.parquet
         tables/*.csv
         analysis.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.errors import ConfigError, RlvrError
from rlvr.runtime.folder import write_atomically


def token_file(folder: Path, number: int) -> Path:
    """Path of a part of the token table."""
    return folder / "tokens" / f"part-{number:05d}.parquet"


def write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables as the row groups of one file, which appears under its name only when it is complete.

    Raises:
        RlvrError: it cannot be written (a full disk, say); nothing half-written is left behind.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table, row_group_size=max(1, table.num_rows))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file at once.

    Raises:
        RlvrError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        path.with_name(f".{path.name}.draft").unlink(missing_ok=True)
        raise _not_written(path, error) from error


def claim(path: Path, settings: dict[str, Any]) -> bool:
    """Record what a folder is computed with; returns whether it already was, with the same settings.

    Raises:
        ConfigError: it was claimed with other settings; names those that differ.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return False
    try:
        earlier = json.loads(path.read_text())
    except ValueError as error:  # a user's file
        raise ConfigError(
            f"{path} cannot be read ({error}); remove its folder, or choose another output"
        ) from error
    changed = [
        f"{key} was {earlier.get(key)!r}, is {settings.get(key)!r}"
        for key in sorted(earlier.keys() | settings.keys())
        if earlier.get(key) != settings.get(key)
    ]
    if changed:
        raise ConfigError(
            f"output={path.parent} holds results of another configuration: {'; '.join(changed)}. Put these back, "
            "choose another output, or remove the folder."
        )
    return True


def _not_written(path: Path, error: OSError) -> RlvrError:
    return RlvrError(
        f"{path} cannot be written ({error}). Finished parts are kept: free some space, or make the folder "
        "writable, and give the same command again."
    )
