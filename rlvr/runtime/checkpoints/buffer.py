"""Finished groups that no checkpoint covers yet, in a file: a crash loses no response that has been paid for.

A line holds one group: the CRC-32 of what follows, a space, and JSON. It is handed to the system at once, so it
outlives this process, and to the disk (fsync) with the first group a second after the last time, and at the end. The
file grows until the next checkpoint.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlvr.reward.verdict import Outcome, Verdict
from rlvr.rollout.streaming.bound import last_step
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.disk.dumps import decimals
from rlvr.runtime.disk.files import replacing
from rlvr.timing import Stopwatch
from rlvr.types import Group, Prompt, Sample, Span

READY_GROUPS = "ready_groups.jsonl"
SYNC_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished group as the file has it."""

    place: int  # of its prompt in the stream
    settings: str  # what it was sampled and graded with, as a hash
    problem: str  # id
    prompt_ids: tuple[int, ...]
    samples: tuple[Sample, ...]  # graded, without advantages

    @property
    def oldest(self) -> int:
        """The oldest weight version of a token."""
        return min(sample.weight_version for sample in self.samples)

    @property
    def newest(self) -> int:
        """The newest one."""
        return max(span.version for sample in self.samples for span in sample.spans)

    def group(self, prompt: Prompt) -> Group | None:
        """The group, if this is its prompt."""
        same = (prompt.id, tuple(prompt.token_ids)) == (self.problem, self.prompt_ids)
        return Group(prompt, self.samples) if same else None


def kept(place: int, group: Group, settings: str) -> Kept:
    """What is written of a group."""
    return Kept(place, settings, group.prompt.id, tuple(group.prompt.token_ids), group.samples)


def line_of(record: Kept) -> bytes:
    """A record as a line."""
    row = {
        "place": record.place,
        "settings": record.settings,
        "problem": record.problem,
        "prompt_ids": list(record.prompt_ids),
        "samples": [_row(sample) for sample in record.samples],
    }
    content = json.dumps(row, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def read_line(line: bytes) -> Kept | None:
    """The record of a line; None: the line is torn or damaged."""
    checksum, _, content = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(content):
        return None
    try:
        row = json.loads(content)
        samples = tuple(_sample(one) for one in row["samples"])
        return Kept(row["place"], row["settings"], row["problem"], tuple(row["prompt_ids"]), samples)
    except (KeyError, TypeError, ValueError):  # another version wrote it
        return None


def usable(records: Sequence[Kept], start: TrainingState, staleness: int, settings: str) -> list[Kept]:
    """What a run that goes on from `start` may train on.

    Groups that the checkpoint has not covered, sampled and graded with the same settings, with no token of weights
    that the run has gone back behind, and none too old for the next step.
    """
    pending = set(start.pending)
    return [
        r
        for r in records
        if (r.place in pending or r.place >= start.data_position)
        and r.settings == settings
        and r.newest <= start.step
        and last_step(r.oldest, staleness) > start.step
    ]


def _row(sample: Sample) -> dict[str, Any]:
    spans = [[span.version, span.start, span.own_context] for span in sample.spans]
    verdict = None if sample.verdict is None else asdict(sample.verdict)
    return {
        "id": sample.id,
        "token_ids": list(sample.token_ids),
        "logprobs": decimals(sample.logprobs),
        "text": sample.text,
        "truncated": sample.truncated,
        "spans": spans,
        "verdict": verdict,
        "reward": sample.reward,
        "in_loss": sample.in_loss,
    }


def _sample(row: dict[str, Any]) -> Sample:
    verdict = row.pop("verdict")
    return Sample(
        **row
        | {
            "token_ids": tuple(row["token_ids"]),
            "logprobs": np.asarray(row["logprobs"], dtype=np.float32),
            "spans": tuple(Span(*span) for span in row["spans"]),
            "verdict": None
            if verdict is None
            else Verdict(**verdict | {"outcome": Outcome(verdict["outcome"])}),
        }
    )


def _read_at(file: IO[bytes], offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


class GroupBuffer:
    """The file. What cannot be written is said and ends nothing: the run then goes on without durability.

    Training needs none of it, and a run that ended here would lose more than the file could save. Safe to use from
    several threads.
    """

    def __init__(self, path: Path, say: Callable[[str], object]) -> None:
        self.path, self.say = path, say
        self._lock = threading.Lock()
        self._file: int | None = None
        self._synced = Stopwatch()
        self._failing = False
        self._lines: list[
            tuple[int, int, int]
        ] = []  # place, offset and length, of what the file is known to hold

    def append(self, record: Kept) -> None:
        """Add a group that is finished."""
        with self._lock, self._excused():
            self._write(record.place, line_of(record))

    def _write(self, place: int, line: bytes) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        end = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, end)  # no half line before the next one
            raise
        self._lines.append((place, end, len(line)))
        if self._synced.seconds > SYNC_SECONDS:
            os.fsync(self._file)
            self._synced = Stopwatch()

    def read(self) -> list[Kept]:
        """The groups in the file, of one place the last; damaged lines are said and passed over."""
        with self._lock:
            lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
            found = [read_line(line) for line in lines]
            offsets = accumulate((len(line) for line in lines), initial=0)
            self._lines = [
                (record.place, offset, len(line))
                for record, line, offset in zip(found, lines, offsets, strict=False)
                if record is not None
            ]
        if damaged := found.count(None):
            self.say(
                f"WARNING {self.path}: {damaged} of {len(lines)} lines are torn or damaged and passed over; their "
                "prompts are sampled again"
            )
        return list({record.place: record for record in found if record is not None}.values())

    def keep(self, records: Collection[Kept]) -> None:
        """Have these in the file and no others."""
        with self._lock, self._excused():
            self._replace([(record.place, line_of(record)) for record in records])

    def covered(self, position: int, pending: Collection[int]) -> None:
        """A checkpoint covers every prompt before `position` but those pending: their groups leave the file."""
        with self._lock, self._excused():
            if not self._lines:
                return
            open_places = set(pending)
            left = [line for line in self._lines if line[0] >= position or line[0] in open_places]
            if len(left) < len(self._lines):
                with self.path.open("rb") as file:
                    self._replace([(place, _read_at(file, offset, n)) for place, offset, n in left])

    def _replace(self, lines: Sequence[tuple[int, bytes]]) -> None:
        with replacing(self.path, "wb") as file:
            file.write(b"".join(line for _, line in lines))
        self._close()
        offsets = [0, *accumulate(len(line) for _, line in lines)]
        self._lines = [
            (place, offset, len(line)) for (place, line), offset in zip(lines, offsets, strict=False)
        ]

    @contextmanager
    def _excused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._failing:
                self.say(
                    f"WARNING {self.path}: finished groups cannot be kept on disk ({error}). The run goes on; were it "
                    "to end now, groups that no batch has yet would be sampled again. Free some space"
                )
            self._failing = True
        else:
            if self._failing:
                self.say(f"{self.path}: finished groups are kept on disk again")
            self._failing = False

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Put everything on disk."""
        with self._lock, self._excused():
            if self._file is not None:
                os.fsync(self._file)
            self._close()
