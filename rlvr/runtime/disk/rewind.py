"""What a run that goes on, goes back or begins again drops, or puts aside, in its folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from rlvr.errors import DataError
from rlvr.runtime.disk.checkpoint_folders import ASIDE
from rlvr.runtime.disk.files import place_aside, set_aside, write_atomically
from rlvr.runtime.disk.folder import BATCHES, CHANGES, LAST, RunFolder
from rlvr.runtime.disk.rows import damage_note, split_rows
from rlvr.runtime.disk.summary import finished_steps

ATTEMPTS = 3  # kept of those that ended before their first checkpoint

log = logging.getLogger(__name__)


def rewind(folder: RunFolder, step: int, *, evaluates: bool = False) -> int:
    """Drop metrics, batches and samples after `step`, which a resumed run writes again; the metric rows dropped.

    An evaluation with tokens of later weights goes as well: the checkpoint has it as under way. So does that
    after `step` itself where the run `evaluates` there again.
    """
    dropped = {
        path: _drop_rows(folder, path, step, evaluates)
        for path in (folder.metrics_file, folder.path / BATCHES)
    }
    with folder.writing():
        for dump, of_step in folder.dumped_steps().items():
            if of_step > step:
                dump.unlink()
    return dropped[folder.metrics_file]


def _drop_rows(folder: RunFolder, path: Path, step: int, evaluates: bool) -> int:
    if not path.exists():
        return 0
    rows, damaged = split_rows(path)
    kept = [row for row in rows if max(row["step"], _newest_weights(row)) <= step]
    if evaluates:
        kept = [row for row in kept if row["step"] < step or row.get("kind") != "eval"]
    with folder.writing():
        if damaged:
            aside = place_aside(path)
            shutil.copyfile(path, aside)
            log.warning("%s; the file as it was is %s", damage_note(path, damaged), aside)
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
    return len(rows) - len(kept)


def begin_again(folder: RunFolder) -> None:
    """Put aside what an attempt has left that ended before its first checkpoint; groups that are ready stay.

    Of earlier attempts the newest ATTEMPTS - 1 stay as well: where a job is queued again on a full disk, each
    would leave one.
    """
    files = (folder.path / CHANGES, folder.path / BATCHES, folder.metrics_file)
    left = [path for path in files if path.exists() and path.stat().st_size]
    if folder.dumped_steps():
        left.insert(0, folder.samples)
    if not left:
        return
    with folder.writing():
        earlier = sorted(folder.path.glob(f"{ASIDE}attempt*"), key=lambda path: path.stat().st_mtime_ns)
        for path in earlier[: 1 - ATTEMPTS]:
            shutil.rmtree(path, ignore_errors=True)
        aside = place_aside(folder.path / "attempt")
        aside.mkdir()
        for path in left:
            os.replace(path, aside / path.name)
        folder.samples.mkdir(exist_ok=True)
    log.warning(
        "%s: the run begins again at step 1, for an earlier attempt has left no checkpoint; what it has "
        "written is in %s",
        folder.path,
        aside,
    )


def reopen(folder: RunFolder, step: int) -> None:
    """Put aside what a finished run has left: one that goes on after `step` is not finished.

    The exported policy stays until it is replaced, unless the run goes back behind it.
    """
    if not folder.summary.exists():
        return
    try:
        goes_back, defect = finished_steps(folder.summary) > step, None
    except DataError as error:
        goes_back, defect = True, error.__cause__
    with folder.writing():
        moved = [set_aside(path) for path in (folder.policy,) if goes_back and path.exists()]
        moved.append(set_aside(folder.summary))
    if defect is not None:
        log.warning(
            "%s: damaged (%s); the run goes on from its checkpoint and writes it anew, kept: %s",
            folder.summary,
            defect,
            ", ".join(path.name for path in moved),
        )


def _newest_weights(row: dict[str, Any]) -> float:
    """The last version of the weights in a row of an evaluation during which they moved; 0 of another row."""
    versions = (value for key, value in row.items() if key.endswith(f"/{LAST}"))
    return max((value for value in versions if isinstance(value, int | float)), default=0)
