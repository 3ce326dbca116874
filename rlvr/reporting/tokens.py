"""Which responses the token pages show, and their tokens as compact JSON."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.errors import DataError
from rlvr.runtime.disk.dumps import known_number

TOKEN_FIELDS = (
    "token", "js", "js_top_p", "entropy_base", "entropy_policy", "logp_base", "logp_policy", "rank_base",
    "rank_policy", "base_texts", "base_probs", "policy_texts", "policy_probs",
)  # fmt: skip
ID_FIELDS = ("token_id", "base_ids", "policy_ids")  # besides, where a page may ask for another token
RESPONSE_FIELDS = (
    "problem_id", "sample_id", "trajectory", "question", "answer", "text", "reward", "correct", "truncated", "tokens",
)  # fmt: skip


SPANS = "version_spans"  # where several weight versions sampled a response
OPTIONAL = (SPANS, "data")  # columns that analyses from before do not have


@dataclass(frozen=True, slots=True)
class Score:
    """The divergence of one response, over all its tokens."""

    response: int  # row of responses.parquet
    trajectory: str  # policy or base
    problem_id: str
    mean_js: float  # nats
    max_js: float  # nats
    moved: int  # tokens with exact JS above the analysis's threshold


@dataclass(frozen=True, slots=True)
class Pair:
    """One entry of the token pages: a response and one of the other model to the same problem."""

    lead: int  # response that was chosen
    partner: int | None  # None where the other model's responses have no such problem
    why: str  # divergent or random


def select(scores: Sequence[Score], divergent: int, drawn: int, seed: int = 0) -> list[Pair]:
    """The pairs with the largest mean JS in either response, then some drawn at random from the rest.

    The policy's responses lead where there are any, else the base's. The k-th response to a problem is paired with
    the other model's k-th response to it, beginning anew where there are fewer.
    """
    leading = "policy" if any(s.trajectory == "policy" for s in scores) else "base"
    ordered = sorted(scores, key=lambda s: s.response)
    others: dict[str, list[Score]] = defaultdict(list)
    for s in ordered:
        if s.trajectory != leading:
            others[s.problem_id].append(s)
    paired: list[tuple[float, int, int | None]] = []
    seen: dict[str, int] = defaultdict(int)
    for s in ordered:
        if s.trajectory == leading:
            there = others[s.problem_id]
            other = there[seen[s.problem_id] % len(there)] if there else None
            seen[s.problem_id] += 1
            largest = s.mean_js if other is None else max(s.mean_js, other.mean_js)
            paired.append((-largest, s.response, None if other is None else other.response))
    paired.sort(key=lambda entry: entry[:2])
    top, rest = paired[:divergent], paired[divergent:]
    pairs = [Pair(lead, partner, "divergent") for _, lead, partner in top]
    lot = random.Random(seed).sample(rest, min(drawn, len(rest)))
    return pairs + [Pair(lead, partner, "random") for _, lead, partner in lot]


def read_scores(analysis: LoadedAnalysis) -> list[Score]:
    """The divergence of every response under the final policy.

    Raises:
        DataError: a part of the token table is missing or damaged.
    """
    scores = []
    for file in _token_files(analysis):
        table = _read(file, ["response", "trajectory", "problem_id", "js"])
        table = table.append_column("moved", pc.greater(table["js"], analysis.moved_above))
        found = table.group_by(["response", "trajectory", "problem_id"])
        rows = found.aggregate([("js", "mean"), ("js", "max"), ("moved", "sum")]).sort_by("response")
        scores += [Score(*row.values()) for row in rows.to_pylist()]
    return scores


@dataclass(slots=True)
class TokenPages:
    """What the page's script reads; grows by one analysis at a time."""

    fields: tuple[str, ...] = TOKEN_FIELDS
    texts: dict[str, int] = field(default_factory=dict)  # text -> its place in the table of texts
    responses: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    # Labels, the earliest first, the final policy last.
    checkpoints: dict[str, None] = field(default_factory=dict)

    def add(
        self, run: str, analysis: LoadedAnalysis, pairs: Sequence[Pair], scores: Sequence[Score], limit: int
    ) -> None:
        """Add the pairs of one analysis, at most `limit` tokens of a response.

        Raises:
            DataError: a part of the token table is missing or damaged.
        """
        numbers = {n for pair in pairs for n in (pair.lead, pair.partner) if n is not None}
        about = {s.response: s for s in scores}
        place = {}
        earlier = _earlier(analysis, numbers, limit)
        for label in analysis.checkpoints:  # again, so that a final policy stays last
            self.checkpoints.pop(label, None)
            self.checkpoints[label] = None
        for number, entry, tokens in _rows(analysis, numbers, limit, self.fields):
            place[number] = len(self.responses)
            score = about[number]
            self.responses.append(
                {
                    "run": run,
                    "number": number,
                    **{name: known_number(entry[name]) for name in RESPONSE_FIELDS},
                    **{name: entry[name] for name in OPTIONAL if entry.get(name)},
                    "mean_js": _compact(score.mean_js),
                    "max_js": _compact(score.max_js),
                    "moved": score.moved,
                    "moved_above": analysis.moved_above,
                    "earlier": earlier[number],
                    "shown": [[self._cell(token[name]) for name in self.fields] for token in tokens],
                }
            )
        for pair in pairs:
            partner = None if pair.partner is None else place[pair.partner]
            self.pairs.append({"lead": place[pair.lead], "partner": partner, "why": pair.why})

    def content(self, edges: Sequence[float]) -> dict[str, Any]:
        """The JSON object of the page."""
        return {
            "edges": list(edges),
            "fields": self.fields,
            "texts": list(self.texts),
            "classes": CLASSES,
            "text_classes": [CLASSES.index(class_of(text)) for text in self.texts],
            "checkpoints": list(self.checkpoints),
            "responses": self.responses,
            "pairs": self.pairs,
        }

    def chosen(self, analyses: int) -> str:
        """How the responses were chosen from so many analyses, in words and numbers."""
        divergent = sum(pair["why"] == "divergent" for pair in self.pairs)
        paired = any(pair["partner"] is not None for pair in self.pairs)
        units, where = ("pairs", " in either response") if paired else ("responses", "")
        beside = "Each pair is a response of the policy and one of the base to the same problem. " * paired
        return (
            f"{divergent} {units} with the largest mean divergence{where}, and {len(self.pairs) - divergent} drawn at "
            f"random from the rest{', run by run' if analyses > 1 else ''}. {beside}Both models score every "
            "token after the same prefix; the shade is the divergence of their next-token distributions there."
        )

    def _cell(self, value: Any) -> Any:
        """A text as its place in the table of texts, a number as the page shows it."""
        if isinstance(value, list):
            return [self._cell(one) for one in value]
        return self.texts.setdefault(value, len(self.texts)) if isinstance(value, str) else _compact(value)


def _rows(
    analysis: LoadedAnalysis, numbers: set[int], limit: int, fields: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any], list[dict[str, Any]]]]:
    """Number, response and first tokens of each of the chosen responses, in the order of the analysis."""
    about = _read(analysis.folder / "responses.parquet", ["response", *RESPONSE_FIELDS, *OPTIONAL], numbers)
    entries = {row["response"]: row for row in about.to_pylist()}
    if missing := numbers - entries.keys():
        raise DataError(
            f"{analysis.folder / 'responses.parquet'}: response {min(missing)} of the token table is missing; run the "
            "analysis again"
        )
    for file in _token_files(analysis):
        tokens: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in _read(file, ["response", "position", *fields], numbers, limit).to_pylist():
            tokens[row["response"]].append(row)
        for number, own in tokens.items():
            yield number, entries[number], own


def _earlier(
    analysis: LoadedAnalysis, numbers: set[int], limit: int
) -> dict[int, dict[str, list[float | None]]]:
    """JS at the first tokens of the chosen responses under every checkpoint before the final policy, by its label."""
    found: dict[int, dict[str, list[float | None]]] = defaultdict(dict)
    for label in analysis.checkpoints[:-1]:
        for file in _token_files(analysis, label):
            for row in _read(file, ["response", "js"], numbers, limit).to_pylist():
                found[row["response"]].setdefault(label, []).append(_compact(row["js"]))
    return found


def _token_files(analysis: LoadedAnalysis, checkpoint: str | None = None) -> list[Path]:
    """The parts of the token table of a checkpoint; of the final policy unless one is named.

    Raises:
        DataError: one is missing, damaged, or has another number of tokens than the analysis wrote.
    """
    label = checkpoint or analysis.checkpoints[-1]
    entries = [entry for entry in analysis.content["token_files"] if entry["checkpoint"] == label]
    for entry in entries:
        path = analysis.folder / entry["file"]
        with _reading(path):
            found = pq.read_metadata(path).num_rows
        if found != entry["tokens"]:
            raise DataError(
                f"{path}: {found} tokens, but the analysis wrote {entry['tokens']}; delete it and run the analysis "
                "again"
            )
    return [analysis.folder / entry["file"] for entry in entries]


def _read(
    path: Path, columns: Sequence[str], numbers: set[int] | None = None, limit: int | None = None
) -> pa.Table:
    """Columns of a parquet file, without optional ones that it lacks.

    Of all responses or of those with these numbers, of all tokens or of so many first ones.
    """
    chosen = None if numbers is None else pc.field("response").isin(sorted(numbers))
    if chosen is not None and limit is not None:
        chosen &= pc.field("position") < limit
    with _reading(path):
        there = pq.read_schema(path).names
        wanted = [name for name in columns if name in there or name not in OPTIONAL]
        return pq.read_table(path, columns=wanted, filters=chosen)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a user may have touched the file; ArrowInvalid is a ValueError
        raise DataError(f"{path}: cannot be read ({error}); run the analysis again") from error


def _compact(value: float) -> float | None:
    """Four significant digits: what the page shows; None for nan, which JSON lacks."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
