"""Which pieces of a study are finished, how long they took and how long the others may take.

<folder>/<piece>.json    the command, its seconds in all sittings together, when it ended and on which machine

Folders below the root of all pieces are kept relative to it, so that everything can be moved to another machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rlvr.analysis.store import write_text
from rlvr.analysis.study.plan import TRAIN, Piece
from rlvr.errors import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """How a piece was done, or has been begun."""

    arguments: tuple[str, ...]
    seconds: float = 0.0  # of all sittings, those that were killed left out
    finished: str = ""  # date of the end, UTC; empty: it has only been begun
    machine: str = ""

    def longer(self, seconds: float) -> Record:
        """The same after another sitting of so many seconds."""
        return replace(self, seconds=round(self.seconds + seconds, 1))


class Records:
    """The records of a folder; `root` is the folder that all the pieces work in, its parent unless given."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self._folder, self._root = folder, root or folder.parent

    def _movable(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The arguments with "." for the root, where it is a whole path or the beginning of one."""
        root = re.compile(rf"(^|[=\[,'\"]){re.escape(str(self._root))}(?=$|[/\],'\"])")
        return tuple(root.sub(r"\1.", argument) for argument in arguments)

    def _file(self, piece: Piece) -> Path:
        return self._folder / f"{piece.name.replace('/', '--')}.json"

    def of(self, piece: Piece) -> Record | None:
        """The record of the piece with its present arguments; None where there is none.

        Raises:
            DataError: the file is damaged.
        """
        file = self._file(piece)
        if not file.is_file():
            return None
        try:
            content = json.loads(file.read_text())
            found = Record(**content | {"arguments": tuple(content["arguments"])})
        except (ValueError, TypeError, KeyError) as error:  # a file that a user may have touched
            raise DataError(f"{file}: damaged ({error!r}); remove it, and the piece is done again") from error
        return found if self._movable(found.arguments) == self._movable(piece.arguments) else None

    def write(self, piece: Piece, record: Record) -> None:
        """Keep a record; raises RlvrError where it cannot be written."""
        kept = replace(record, arguments=self._movable(record.arguments))
        write_text(self._file(piece), json.dumps(asdict(kept), indent=1) + "\n")

    def finished(self, piece: Piece) -> bool:
        """Whether a piece need not be done: a training that has its summary, anything else by its record.

        What is older than the training that it is of is to be done again: that has gone on since.
        """
        if not piece.marker.is_file():
            return False
        if piece.kind == TRAIN:
            return True
        trained, record = piece.folder / "summary.json", self.of(piece)
        if trained.is_file() and trained.stat().st_mtime > piece.marker.stat().st_mtime:
            return False
        return record is not None and record.finished != ""


def what_is_left(pieces: Sequence[Piece], records: Records) -> str:
    """How many pieces are to be done and about how long they take, by those of their kind that are done."""
    left = [piece for piece in pieces if not records.finished(piece)]
    seconds: dict[str, list[float]] = {}
    for piece in pieces:
        record = records.of(piece)
        if record is not None and record.finished and record.seconds:
            seconds.setdefault(piece.kind, []).append(record.seconds)
    parts, total = [], 0.0
    for kind in dict.fromkeys(piece.kind for piece in left):
        count, known = sum(piece.kind == kind for piece in left), seconds.get(kind)
        each = "time not known yet" if known is None else f"{sum(known) / len(known) / 60:.1f} min each"
        parts.append(f"{count} x {kind}, {each}")
        total += 0.0 if known is None else count * sum(known) / len(known)
    done = f"{len(pieces) - len(left)} of {len(pieces)} pieces are done"
    about = f", about {total / 60:.0f} min" if total else ""
    return f"{done}; left{about}: {'; '.join(parts)}" if left else done
