"""Which responses the token pages show, and their tokens as compact JSON."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, repeat
from operator import attrgetter
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
    ordered = sorted(scores, key=attrgetter("response"))
    others: dict[str, list[Score]] = defaultdict(list)
    for s in ordered:
        if s.trajectory != leading:
            others[s.problem_id].append(s)
    turns = {problem: cycle(own) for problem, own in others.items()}
    paired = [(s, next(turns.get(s.problem_id, repeat(None)))) for s in ordered if s.trajectory == leading]
    paired.sort(key=lambda pair: max(s.mean_js for s in pair if s is not None), reverse=True)
    top, rest = paired[:divergent], paired[divergent:]
    lot = random.Random(seed).sample(rest, min(drawn, len(rest)))
    return [
        Pair(lead.response, None if other is None else other.response, why)
        for why, chosen in (("divergent", top), ("random", lot))
        for lead, other in chosen
    ]


def read_scores(analysis: LoadedAnalysis) -> list[Score]:
    """The divergence of every response under the final policy.

    Raises:
        DataError: a part of the token table is missing or damaged.
    """
    scores = []
    keys = ["response", "trajectory", "problem_id"]
    for file in _token_files(analysis, analysis.checkpoints[-1]):
        table = _read(file, [*keys, "js"])
        table = table.append_column("moved", pc.greater(table["js"], analysis.moved_above))
        found = table.group_by(keys).aggregate([("js", "mean"), ("js", "max"), ("moved", "sum")])
        scores += [Score(*row.values()) for row in found.sort_by("response").to_pylist()]
    return scores


@dataclass(slots=True)
class TokenPages:
    """What the page's script reads; grows by one analysis at a time."""

    fields: tuple[str, ...] = TOKEN_FIELDS
    texts: dict[str, int] = field(default_factory=dict)  # text -> its place in the table of texts
    responses: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)  # labels, the earliest first, the final policy last

    def add(
        self, run: str, analysis: LoadedAnalysis, pairs: Sequence[Pair], scores: Sequence[Score], limit: int
    ) -> None:
        """Add the pairs of one analysis, at most `limit` tokens of a response.

        Raises:
            DataError: a part of the token table is missing or damaged.
        """
        chosen = {n for pair in pairs for n in (pair.lead, pair.partner) if n is not None}
        about = {s.response: s for s in scores}
        entries = _entries(analysis, chosen)
        earlier: dict[int, dict[str, list[float | None]]] = {number: {} for number in chosen}
        *before, final = labels = analysis.checkpoints
        self.checkpoints = [*(label for label in self.checkpoints if label not in labels), *labels]
        for label in before:
            for number, tokens in _tokens(analysis, label, ["js"], chosen, limit):
                earlier[number][label] = [_compact(token["js"]) for token in tokens]
        place: dict[int | None, int | None] = {None: None}  # in the page; where there is no partner, none
        for number, tokens in _tokens(analysis, final, self.fields, chosen, limit):
            place[number] = len(self.responses)
            score, entry = about[number], entries[number]
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
            self.pairs.append({"lead": place[pair.lead], "partner": place[pair.partner], "why": pair.why})

    def content(self, edges: Sequence[float]) -> dict[str, Any]:
        """The JSON object of the page."""
        return {
            "edges": list(edges),
            "fields": self.fields,
            "texts": list(self.texts),
            "classes": CLASSES,
            "text_classes": [CLASSES.index(class_of(text)) for text in self.texts],
            "checkpoints": self.checkpoints,
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


def _entries(analysis: LoadedAnalysis, chosen: set[int]) -> dict[int, dict[str, Any]]:
    """What the analysis has of the chosen responses, by their numbers."""
    file = analysis.folder / "responses.parquet"
    found = _read(file, ["response", *RESPONSE_FIELDS, *OPTIONAL], pc.field("response").isin(sorted(chosen)))
    entries = {row["response"]: row for row in found.to_pylist()}
    if missing := chosen - entries.keys():
        raise DataError(
            f"{file}: response {min(missing)} of the token table is missing; run the analysis again"
        )
    return entries


def _tokens(
    analysis: LoadedAnalysis, checkpoint: str, columns: Sequence[str], chosen: set[int], limit: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The first tokens of each of the chosen responses under a checkpoint, in the order of the analysis."""
    first = pc.field("response").isin(sorted(chosen)) & (pc.field("position") < limit)
    for file in _token_files(analysis, checkpoint):
        tokens: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in _read(file, ["response", *columns], first).to_pylist():
            tokens[row["response"]].append(row)
        yield from tokens.items()


def _token_files(analysis: LoadedAnalysis, checkpoint: str) -> Iterator[Path]:
    """The parts of the token table of a checkpoint.

    Raises:
        DataError: one is missing, damaged, or has another number of tokens than the analysis wrote.
    """
    for entry in analysis.content["token_files"]:
        if entry["checkpoint"] == checkpoint:
            path = analysis.folder / entry["file"]
            with _reading(path):
                found = pq.read_metadata(path).num_rows
            if found != entry["tokens"]:
                raise DataError(
                    f"{path}: {found} tokens, but the analysis wrote {entry['tokens']}; delete it and run the analysis "
                    "again"
                )
            yield path


def _read(path: Path, columns: Sequence[str], chosen: pc.Expression | None = None) -> pa.Table:
    """Columns of a parquet file, without optional ones that it lacks; of the chosen rows."""
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
