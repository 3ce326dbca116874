"""A list of pieces one after the other, in as many sittings as it takes.

A finished piece is skipped. A sitting that has lasted its time stops the piece that runs: a training writes a
checkpoint after the step that it is in (SIGUSR1, `rlvr.runtime.pause`), every other command keeps its finished parts
(SIGINT). What is killed goes on from what it had written itself.
"""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlvr.analysis.study import TRAIN, Piece, Record, Records
from rlvr.cluster.machine import cpu_name
from rlvr.errors import EXIT_INTERRUPTED, EXIT_PAUSED, RlvrError
from rlvr.sweep.jobs import Child, Task, stop
from rlvr.sweep.slots import Need, Place
from rlvr.timing import Deadline, Stopwatch

POLL_SECONDS = 0.2
STOPPED = (EXIT_PAUSED, EXIT_INTERRUPTED, -signal.SIGINT)  # what a command that was asked to stop exits with
STEP_SECONDS = 1800.0  # that a training may take to end its step and write the checkpoint
_ALONE = Need(cores=1, memory_mb=0)


def run_pieces(
    pieces: Sequence[Piece],
    records: Records,
    minutes: float | None = None,
    *,
    keep_checkpoints: bool = True,
) -> bool:
    """Do what is not finished, for so many minutes at most; returns whether all is.

    Raises:
        RlvrError: a command failed; what was finished before stays.
    """
    end = None if minutes is None else Deadline(60 * minutes)
    for place, piece in enumerate(pieces, start=1):
        if records.finished(piece):
            continue
        if end is not None and end.passed:
            break
        print(f"\n== piece {place} of {len(pieces)}, {piece.name}")
        watch, before = Stopwatch(), records.of(piece)
        if before is None or before.finished:  # finished, and its results are gone: done anew
            before = Record(piece.arguments)
        try:
            code, stopped = _run(piece, end)
        except KeyboardInterrupt:
            records.write(piece, before.longer(watch.seconds))
            raise
        record = before.longer(watch.seconds)
        if code == 0 and piece.marker.is_file():
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
            records.write(piece, replace(record, finished=now, machine=f"{os.cpu_count()} x {cpu_name()}"))
            if piece.kind == TRAIN and not keep_checkpoints:
                shutil.rmtree(piece.folder / "checkpoints", ignore_errors=True)
        elif stopped and code in STOPPED:
            records.write(piece, record)
        else:
            left = f"left no {piece.marker}" if code == 0 else f"ended with exit code {code}"
            raise RlvrError(f"{piece.name} {left}; mend what it says above and start this command again")
    print(f"\n{records.what_is_left(pieces)}")
    return all(records.finished(piece) for piece in pieces)


def _run(piece: Piece, end: Deadline | None) -> tuple[int, bool]:
    """The exit code, and whether the piece was stopped because the time was up."""
    metrics = piece.folder / "metrics.jsonl"
    before, stopping = _changed(metrics), None
    task = Task(piece.name, piece.module, piece.arguments, _ALONE, piece.folder)
    child = Child(task, Place(_ALONE, ()), logged=False)
    try:
        while child.process.poll() is None:
            if stopping is None and end is not None and end.passed:
                # Before its first word in metrics.jsonl a training may not listen for SIGUSR1, and has nothing to lose.
                steps = piece.kind == TRAIN and _changed(metrics) != before
                child.process.send_signal(signal.SIGUSR1 if steps else signal.SIGINT)
                stopping = Deadline(STEP_SECONDS)
            if stopping is not None and stopping.passed:
                stop([child])
            time.sleep(POLL_SECONDS)
    except BaseException:
        stop([child])
        raise
    return child.process.returncode, stopping is not None


def _changed(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.is_file() else None
