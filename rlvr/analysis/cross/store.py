"""The output folder: finished parts are kept, each whole or not there at all, and found again on a restart.

<output>/cross_sampling.json    settings, versions, endpoints, calibrations, counts
         budgets.csv            one row per direction, rule and budget
         pairs.csv, rules.md    every rule against every other at the same budget; both tables to read
         classes.csv            effective switches by class of token, one row per direction, rule, budget and class
         responses.parquet      a row for every response, those of the two models alone among them
         switches.parquet       a row for every effective switch: its place, the token taken and its class
         samples/<part>.jsonl   every response with its switched positions
         parts/<part>.json      what the figures are computed from
         settings.json          what the responses depend on; other settings need another folder
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rlvr.analysis.cross.pairs import PAIR_COLUMNS, pair_rows, rules_page
from rlvr.analysis.cross.records import BUDGET_COLUMNS, DIGITS, BudgetRow, Calibration, Part, budget_rows
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.evaluation import result_from_json, samples_as_json
from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.analysis.shift.tally import Cells, Means, TokenPart, poisson_weights
from rlvr.analysis.store import claim, reading, write_parquet, write_rows, write_text
from rlvr.analysis.tables import Column, as_csv, records_as_csv, schema, table_of

FORMAT = 1  # of files and random numbers; part of the settings, so that versions never mix in one folder
OWN_FIELDS = tuple(f.name for f in fields(Part) if f.name != "graded")
REPLICATES, SEED = 1000, 0  # of the bootstrap over problems
OF_PART = (
    Column("direction", pa.string(), "name", "forward, reverse, or endpoint: one model alone"),
    Column("rule", pa.string(), "name", "switch rule; of an endpoint the model"),
    Column("level", pa.string(), "name", "budget or threshold, as in budgets.csv; of an endpoint null"),
    Column("problem_id", pa.string(), "name", "problem"),
    Column("sample", pa.int64(), "count", "which response to it, from 0"),
)
RESPONSES = (
    *OF_PART,
    Column("threshold", pa.float64(), "as the rule", "switched where the rule's value is above; as in budgets.csv"),
    Column("correct", pa.bool_(), "verdict", "right or wrong; null where the verifier failed"),
    Column("verdict", pa.string(), "name", "outcome of the verifier"),
    Column("tokens", pa.int64(), "count", "of the response"),
    Column("switches", pa.int64(), "count", "tokens that the intervening model sampled"),
    Column("effective", pa.int64(), "count", "of those, where the primary would have sampled another"),
    Column("truncated", pa.bool_(), "verdict", "came to the limit"),
)  # fmt: skip
SWITCHES = (
    *OF_PART,
    Column("position", pa.int64(), "tokens", "place in the response, from 0"),
    Column("token_id", pa.int64(), "id", "token taken"),
    Column("token", pa.string(), "text", "its text"),
    Column("class", pa.string(), "name", "class of the text (rlvr/analysis/shift/classes.py)"),
)
CLASS_COLUMNS = (  # of classes.csv
    *OF_PART[:3],
    Column("token_class", pa.string(), "name", "class of the tokens' text"),
    Column("tokens", pa.int64(), "count", "of the class in all responses"),
    Column("share", pa.float64(), "share", "of all tokens"),
    Column("share_low", pa.float64(), "share", "lower end of the 95 % interval, bootstrapped over problems"),
    Column("share_high", pa.float64(), "share", "upper end of it"),
    Column("effective", pa.int64(), "count", "effective switches whose token taken is of the class"),
    Column("share_of_effective", pa.float64(), "share", "of all effective switches; empty where there are none"),
    Column("share_of_effective_low", pa.float64(), "share", "lower end of its interval"),
    Column("share_of_effective_high", pa.float64(), "share", "upper end of it"),
)  # fmt: skip


class Store:
    """Reads and writes one output folder for one set of settings."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Claim the folder.

        Raises ConfigError where it holds results of other settings, RlvrError where it cannot be written.
        """
        self.folder = folder
        self.settings = settings
        self.fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        claim(folder / "settings.json", settings, f"output={folder}")

    def read(self, name: str) -> Part | None:
        """The finished part of that name, or None, also without its responses; raises DataError where it is damaged."""
        file = self.folder / "parts" / f"{name}.json"
        if not (file.is_file() and self.samples_file(name).is_file()):
            return None
        with reading(file):
            content = json.loads(file.read_text())
            if content["fingerprint"] != self.fingerprint:
                return None
            own = {field: content[field] for field in OWN_FIELDS}
            calibration = None if own["calibration"] is None else Calibration(**own["calibration"])
            graded = result_from_json(content["name"], content)
            part = Part(**own | {"calibration": calibration}, graded=graded)
            if part.name != name:
                raise ValueError(f"the part {part.name}")
        return part

    def samples_file(self, name: str) -> Path:
        """Where the responses of a part are."""
        return self.folder / "samples" / f"{name}.jsonl"

    def read_samples(self, part: Part) -> list[dict[str, Any]]:
        """The responses of a finished part, as `write_part` got them.

        Raises:
            DataError: they are missing, damaged, or not those that the part's figures are of.
        """
        file, graded = self.samples_file(part.name), part.graded
        of_part = zip(graded.problem_ids, graded.lengths.tolist(), strict=True)
        expected = [(name, length) for name, lengths in of_part for length in lengths]
        with reading(file):
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            if [(row["problem_id"], len(row["response_ids"])) for row in rows] != expected:
                raise ValueError(f"{len(rows)} responses that are not the {len(expected)} of its figures")
        return rows

    def write_part(self, part: Part, samples: Sequence[dict[str, Any]]) -> None:
        """Keep a finished part: first its responses, then the figures that make it count as finished."""
        write_rows(self.samples_file(part.name), samples)
        own = {field: value for field, value in asdict(part).items() if field in OWN_FIELDS}
        content = {"fingerprint": self.fingerprint, "name": part.name, **own, **samples_as_json(part.graded)}
        write_rows(self.folder / "parts" / f"{part.name}.json", [content])

    def write_summary(
        self, parts: Sequence[Part], config: dict[str, Any], versions: dict[str, str]
    ) -> list[BudgetRow]:
        """Write the summary and the tables of the parts finished so far; returns the rows of budgets.csv."""
        ends = {part.rule: part.figures() for part in parts if part.direction == "endpoint"}
        content = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "config": config,
            "settings": self.settings,
            "versions": versions,
            "endpoints": ends,
            "gap": ends["policy"]["accuracy"] - ends["base"]["accuracy"],
            "counts": {
                "problems": len(parts[0].graded.problem_ids),
                "samples_per_problem": parts[0].graded.correct.shape[1],
                "parts": len(parts),
                "tokens": sum(part.tokens for part in parts),
            },
            "calibrations": {
                part.name: asdict(part.calibration) for part in parts if part.calibration is not None
            },
            "parts": [part.name for part in parts],
        }
        rows, pairs = budget_rows(parts), pair_rows(parts)
        write_text(self.folder / "budgets.csv", records_as_csv(BUDGET_COLUMNS, rows, digits=DIGITS))
        write_text(self.folder / "pairs.csv", records_as_csv(PAIR_COLUMNS, pairs, digits=DIGITS))
        write_text(self.folder / "rules.md", rules_page(rows, pairs))
        write_text(self.folder / "cross_sampling.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
        return rows


def write_raw(store: Store, parts: Sequence[Part], text_of: Callable[[int], str]) -> None:
    """Write the raw rows of the parts and classes.csv; `text_of` is the text of a token id.

    Raises:
        DataError: the responses of a finished part are missing or damaged.
        RlvrError: a file cannot be written.
    """
    responses: list[pa.Table] = []
    switches: list[pa.Table] = []
    classes: list[Cells] = []
    for part in parts:
        rows = store.read_samples(part)
        responses.append(pa.Table.from_pylist([_response(part, row) for row in rows], schema(RESPONSES)))
        if part.direction != "endpoint":
            changed = [one for row in rows for one in _switches(part, row, text_of)]
            switches.append(pa.Table.from_pylist(changed, schema(SWITCHES)))
            classes += _classes(part, rows, text_of)
    write_parquet(store.folder / "responses.parquet", responses, schema(RESPONSES))
    write_parquet(store.folder / "switches.parquet", switches, schema(SWITCHES))
    write_text(store.folder / "classes.csv", as_csv(table_of(CLASS_COLUMNS, classes), digits=DIGITS))


def _response(part: Part, row: dict[str, Any]) -> dict[str, Any]:
    """The cells of a response, those that its switches repeat among them."""
    threshold = None if part.threshold is None else RULES[part.rule].setting(part.threshold)
    return {
        "direction": part.direction,
        "rule": part.rule,
        "level": None if part.direction == "endpoint" else part.level,
        **{name: row[name] for name in ("problem_id", "sample", "correct", "verdict", "truncated")},
        "threshold": threshold,
        "tokens": len(row["response_ids"]),
        "switches": len(row["switched"]),
        "effective": len(row["effective"]),
    }


def _switches(part: Part, row: dict[str, Any], text: Callable[[int], str]) -> Iterator[dict[str, Any]]:
    of_response = _response(part, row)
    for position in row["effective"]:
        token = row["response_ids"][position]
        place = {"position": position, "token_id": token}
        yield of_response | place | {"token": text(token), "class": class_of(text(token))}


def _classes(part: Part, rows: Sequence[dict[str, Any]], text: Callable[[int], str]) -> Iterator[Cells]:
    problems = {name: place for place, name in enumerate(dict.fromkeys(row["problem_id"] for row in rows))}
    lengths = [len(row["response_ids"]) for row in rows]
    unit = np.repeat([problems[row["problem_id"]] for row in rows], lengths)
    index = np.asarray(
        [CLASSES.index(class_of(text(token))) for row in rows for token in row["response_ids"]],
        dtype=np.int64,
    )
    changed = np.concatenate(
        [np.isin(np.arange(n), row["effective"]) for n, row in zip(lengths, rows, strict=True)]
    )
    weights = poisson_weights(list(problems), REPLICATES, SEED)
    tokens = TokenPart("", "", {}, unit, weights)
    of_all, of_changed = Means(len(CLASSES), 0), Means(len(CLASSES), 0)
    of_all.add(tokens, index)
    of_changed.add(tokens, np.where(changed, index, -1))
    for place, name in enumerate(CLASSES):
        shares = *of_all.count_and_share(place), *of_changed.count_and_share(place)
        yield part.direction, part.rule, part.level, name, *shares
