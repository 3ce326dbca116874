"""The raw rows as parquet, and which classes of tokens the effective switches fall on.

<output>/responses.parquet    a row for every response, those of the two models alone among them
         switches.parquet     a row for every effective switch: its place, the token taken and its class
         classes.csv          effective switches by class of token, one row per direction, rule, budget and class
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rlvr.analysis.cross.records import DIGITS, Part
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.cross.store import Store
from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.analysis.shift.tally import Cells, Means, TokenPart, poisson_weights
from rlvr.analysis.store import write_parquet, write_text
from rlvr.analysis.tables import Column, as_csv, schema, table_of

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


def _of(part: Part, row: dict[str, Any]) -> dict[str, Any]:
    level = None if part.direction == "endpoint" else part.level
    own = {"direction": part.direction, "rule": part.rule, "level": level}
    return own | {name: row[name] for name in ("problem_id", "sample")}


def _response(part: Part, row: dict[str, Any]) -> dict[str, Any]:
    threshold = None if part.threshold is None else RULES[part.rule].setting(part.threshold)
    return {
        **_of(part, row),
        **{name: row[name] for name in ("correct", "verdict", "truncated")},
        "threshold": threshold,
        "tokens": len(row["response_ids"]),
        "switches": len(row["switched"]),
        "effective": len(row["effective"]),
    }


def _switches(part: Part, row: dict[str, Any], text: Callable[[int], str]) -> Iterator[dict[str, Any]]:
    for position in row["effective"]:
        token = row["response_ids"][position]
        about = {
            "position": position,
            "token_id": token,
            "token": text(token),
            "class": class_of(text(token)),
        }
        yield _of(part, row) | about


def _classes(part: Part, rows: Sequence[dict[str, Any]], text: Callable[[int], str]) -> Iterator[Cells]:
    problems = {name: place for place, name in enumerate(dict.fromkeys(row["problem_id"] for row in rows))}
    unit = np.asarray(
        [problems[row["problem_id"]] for row in rows for _ in row["response_ids"]], dtype=np.int64
    )
    index = np.asarray(
        [CLASSES.index(class_of(text(token))) for row in rows for token in row["response_ids"]],
        dtype=np.int64,
    )
    starts = np.cumsum([0, *(len(row["response_ids"]) for row in rows)])
    changed = np.zeros(len(index), dtype=np.bool_)
    for start, row in zip(starts, rows, strict=False):
        changed[start + np.asarray(row["effective"], dtype=np.int64)] = True
    weights = poisson_weights(list(problems), REPLICATES, SEED)
    tokens = TokenPart("", "", {}, unit, weights)
    of_all, of_changed = Means(len(CLASSES), 0), Means(len(CLASSES), 0)
    of_all.add(tokens, index)
    of_changed.add(tokens, np.where(changed, index, -1))
    for place, name in enumerate(CLASSES):
        shares = *of_all.count_and_share(place), *of_changed.count_and_share(place)
        yield part.direction, part.rule, part.level, name, *shares
