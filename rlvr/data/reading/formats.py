"""Rows as verl, TRL and OpenRLHF write them, next to plain ones: which columns hold what, and how a row tells.

plain      question, problem or prompt; answer
verl       prompt (a list of messages); reward_model.ground_truth
trl        prompt (text or a list of messages); solution or ground_truth
openrlhf   context_messages, input or prompt; label
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.data.catalog import LOCAL_FILE, CatalogEntry, conversation
from rlvr.data.reading.cells import names_column

PLAIN = "plain"
# In the order in which they are tried on a row. Rows keep their numbers as ids, for the indices that verl writes
# (extra_info.index) begin anew with each data set of a file.
FORMATS: dict[str, CatalogEntry] = {
    PLAIN: LOCAL_FILE,
    "verl": CatalogEntry(
        question=("prompt",), answer=("reward_model.ground_truth",), read_question=conversation
    ),
    "trl": CatalogEntry(
        question=("prompt",), answer=("solution", "ground_truth"), read_question=conversation
    ),
    "openrlhf": CatalogEntry(
        question=("context_messages", "input", "prompt"), answer=("label",), read_question=conversation
    ),
}


def described(formats: dict[str, CatalogEntry]) -> str:
    """What each format looks for, for a person."""
    return "; ".join(
        f"{name}: {' or '.join(entry.question)}, and {' or '.join(entry.answer)}"
        for name, entry in formats.items()
    )


def likely_format(rows: Sequence[Mapping[str, Any]], formats: dict[str, CatalogEntry]) -> str:
    """The first format whose columns one of these rows has, whatever is in them; the first of all without any."""
    for values in rows:
        for name, entry in formats.items():
            if all(
                any(names_column(values, one) for one in wanted) for wanted in (entry.question, entry.answer)
            ):
                return name
    return next(iter(formats))
