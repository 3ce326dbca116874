"""Sample dumps: every response of a step or an evaluation, one JSON object a line; large ones are compressed.

samples/step_000001.jsonl      up to a million response tokens
samples/step_000001.jsonl.gz   more
"""

from __future__ import annotations

import gzip
import json
import queue
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import DataError
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.disk.files import replacing
from rlvr.types import Floats, Group, Sample, Span

_OF_STEP = re.compile(r"(?:step|eval)_(\d{6,})")
PLAIN, PACKED = ".jsonl", ".jsonl.gz"
COMPRESS_ABOVE_TOKENS = 1_000_000  # about 20 MB of text
WAITING = 2  # dumps that may wait to be written before the loop waits for the disk


def dump_lines(path: Path) -> Iterator[bytes]:
    """The lines of a dump, compressed or not.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    number = 1
    try:
        with cast("IO[bytes]", gzip.open(path)) if path.name.endswith(PACKED) else path.open("rb") as lines:
            for line in lines:
                yield line
                number += 1
    except (OSError, EOFError, zlib.error) as error:  # somebody may have touched it
        raise DataError(f"{path}, line {number}: cannot be read ({error})") from error


def dump_files(folder: Path, pattern: str = "*") -> list[Path]:
    """The dumps in a folder whose names without suffix match the pattern, in the order of their names."""
    found = [file for suffix in (PLAIN, PACKED) for file in folder.glob(pattern + suffix)]
    return sorted(found, key=lambda file: file.name)


def dump_name(file: Path) -> str:
    """The name of a dump without its suffix."""
    return file.name.removesuffix(".gz").removesuffix(PLAIN)


def dumped_step(file: Path) -> int | None:
    """The step of a dump, or after which it evaluated; None where its name is none that a run gives."""
    found = _OF_STEP.fullmatch(dump_name(file))
    return int(found[1]) if found else None


def write_dump(folder: Path, name: str, groups: Sequence[Group], *, compress: bool) -> Path:
    """Write every response of the groups, compressed or not; a dump of that name is replaced, never half written.

    Raises:
        OSError: a full disk, say.
    """
    suffix, other = (PACKED, PLAIN) if compress else (PLAIN, PACKED)
    path = folder / f"{name}{suffix}"
    with replacing(path, "wb") as file:
        # Without a time in its header, equal samples give equal files.
        packed = gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) if compress else None
        for row in sample_rows(groups):
            (packed or file).write((json.dumps(row) + "\n").encode())
        if packed is not None:
            packed.close()
    (folder / f"{name}{other}").unlink(missing_ok=True)
    return path


def is_large(groups: Sequence[Group]) -> bool:
    """Whether a dump of these responses is worth compressing."""
    return sum(len(sample.token_ids) for group in groups for sample in group.samples) > COMPRESS_ABOVE_TOKENS


class DumpWriter:
    """Writes dumps in a thread, so that the loop goes on meanwhile; large ones are compressed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: queue.Queue[tuple[str, Sequence[Group]]] = queue.Queue(WAITING)
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def write(self, name: str, groups: Sequence[Group]) -> None:
        """Hand a dump over; waits where others wait already.

        Raises:
            OSError: an earlier one could not be written.
        """
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="sample dumps", daemon=True)
            self._thread.start()
        self._waiting.put((name, groups))

    def flush(self) -> None:
        """Return once every dump handed over is on disk.

        Raises:
            OSError: one could not be written.
        """
        self._waiting.join()
        self._raise()

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _work(self) -> None:
        while True:
            name, groups = self._waiting.get()
            try:
                write_dump(self.folder, name, groups, compress=is_large(groups))
            except BaseException as error:  # it belongs to the loop
                self._failure = error
            finally:
                self._waiting.task_done()


def sample_rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """Every response of the groups as a row of a sample dump."""
    return (sample_row(group, index) for group in groups for index in range(len(group.samples)))


def sample_row(group: Group, index: int) -> dict[str, Any]:
    """One response as a row of a sample dump."""
    sample, problem = group.samples[index], group.prompt.problem
    verdict = sample.verdict
    spans = [[span.version, span.start] for span in sample.spans]
    return {
        "sample_id": sample.id,
        "problem_id": problem.id,
        "source": problem.source,
        "question": problem.question,
        "answer": problem.answer,
        "prompt_ids": list(group.prompt.token_ids),
        "response": sample.text,
        "response_ids": list(sample.token_ids),
        "logprobs": decimals(sample.logprobs),
        "truncated": sample.truncated,
        "weight_version": sample.weight_version,
        "reward": known_number(sample.reward),
        "advantage": known_number(sample.advantage),
        "verdict": None if verdict is None else verdict.outcome.value,
        "extracted": None if verdict is None else verdict.extracted,
        "score": None if verdict is None else verdict.score,
        "in_loss": sample.in_loss,
        **({"version_spans": spans} if len(spans) > 1 else {}),
    }


def read_sample(
    row: dict[str, Any], logprobs: Floats, spans: tuple[Span, ...], verdict: Verdict | None
) -> Sample:
    """The response of a row of a sample dump, with what the reader takes from elsewhere, or leaves out."""
    return Sample(
        id=row["sample_id"],
        token_ids=tuple(row["response_ids"]),
        logprobs=logprobs,
        text=row["response"],
        truncated=row["truncated"],
        spans=spans,
        verdict=verdict,
        reward=float("nan") if row["reward"] is None else row["reward"],
        in_loss=row["in_loss"],
    )


def read_verdict(row: dict[str, Any]) -> Verdict:
    """The verdict of such a row, which must have one; rows of earlier versions have no score."""
    outcome = Outcome(row["verdict"])
    return Verdict(row["sample_id"], outcome, row["extracted"], row["answer"], 0.0, score=row.get("score"))


def decimals(values: NDArray[np.floating[Any]]) -> list[float]:
    """Short decimals that are exactly these numbers again in float32: nine digits tell all of them apart."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def known_number(value: float) -> float | None:
    """The value, or null for nan, which JSON does not have."""
    return None if value != value else value


def without_nan(content: Any) -> Any:
    """The same as JSON has it, with null for nan and the infinities, which JSON does not have."""
    return json.loads(json.dumps(content), parse_constant=lambda name: None)
