"""An intervention: what was asked for, what came of it, and the file in the run's folder that keeps them all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr.analysis.store import reading, writing
from rlvr.errors import ConfigError
from rlvr.runtime.disk.dumps import without_nan
from rlvr.stats.accuracy import Estimate
from rlvr.stats.proportion import share

FILE_NAME = "interventions.jsonl"
MODELS = ("policy", "base")
MOST_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Choice:
    """Which token, of which response, is replaced by which one, and who goes on."""

    response: int  # row of the analysis's responses.parquet
    position: int  # tokens of the response before the one that is replaced
    token_id: int  # what stands there instead
    model: str  # policy or base: who continues, in both arms
    samples: int  # continuations of each arm
    seed: int


@dataclass(frozen=True, slots=True)
class Continuation:
    """One response from the place on."""

    text: str  # after the token in question
    token_ids: tuple[int, ...]
    correct: bool | None  # None: the verifier failed on it
    truncated: bool


@dataclass(frozen=True, slots=True)
class Arm:
    """How often the model succeeds from a token on."""

    token_id: int
    token: str
    continuations: tuple[Continuation, ...]

    @property
    def success(self) -> Estimate:
        """The share of right answers among those that could be judged, with Wilson's 95 % interval."""
        known = [c.correct for c in self.continuations if c.correct is not None]
        return share(sum(known), len(known))


@dataclass(frozen=True, slots=True)
class Intervention:
    """A choice and its outcome: both arms continue with the same random numbers."""

    number: int  # in its file, from 1
    when: str  # ISO 8601, UTC
    choice: Choice
    problem_id: str
    trajectory: str  # whose response it is
    kept: Arm  # the response's own token
    taken: Arm  # the chosen one
    difference: Estimate  # of success, taken less kept; Newcombe's 95 % interval for independent arms
    seconds: float
    settings: dict[str, Any]  # models, precision, temperature, limits

    def as_json(self) -> str:
        """One line of the file."""
        content = asdict(self)
        for name, arm in (("kept", self.kept), ("taken", self.taken)):
            content[name] |= {"success": asdict(arm.success)}
        return json.dumps(without_nan(content), allow_nan=False)


def check(choice: Choice, own_ids: tuple[int, ...], vocabulary: int, limit: int) -> None:
    """Refuse what cannot be tried.

    Raises:
        ConfigError: no such position or token, the response's own token, an unknown model or an odd count.
    """
    if choice.model not in MODELS:
        raise ConfigError(f"model={choice.model!r}: use {' or '.join(MODELS)}")
    if not 1 <= choice.samples <= MOST_SAMPLES:
        raise ConfigError(f"samples={choice.samples}: from 1 to {MOST_SAMPLES}")
    if not 0 <= choice.position < len(own_ids):
        raise ConfigError(
            f"position={choice.position}: response {choice.response} has tokens 0 to {len(own_ids) - 1}"
        )
    if not 0 <= choice.token_id < vocabulary:
        raise ConfigError(f"token_id={choice.token_id}: the models have tokens 0 to {vocabulary - 1}")
    if choice.token_id == own_ids[choice.position]:
        raise ConfigError(f"token_id={choice.token_id}: the response has that token there already")
    if choice.position + 1 >= limit:
        raise ConfigError(f"position={choice.position}: no room is left below the limit of {limit} tokens")


def append(folder: Path, intervention: Intervention) -> None:
    """Keep it: on the disk when this returns.

    Raises:
        RlvrError: the file cannot be written.
    """
    path = folder / FILE_NAME
    with writing(path), path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # of a process that was killed while it wrote
        file.write(intervention.as_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Every kept intervention, the oldest first; a last line that was cut short is left out.

    Raises:
        DataError: another line is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")
    with reading(path):
        return [json.loads(line) for line in lines[:-1] if line]
