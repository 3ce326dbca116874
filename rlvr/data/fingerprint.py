"""What tells the prompts of a data set from others: for a run that goes on with data that may have changed."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from rlvr.types import Prompt


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests over prompts in the order in which they are drawn."""

    size: int | None  # problems; None: endless, known by its first prompts
    ids: str
    prompts: str  # token ids: question, template and tokenizer
    answers: str  # gold answers
    # Every column of the rows, which verifiers may read; None: of a checkpoint written before there was this field.
    columns: str | None = None


@dataclass(frozen=True, slots=True)
class DataSeen:
    """The data of a run."""

    training: Fingerprint
    eval_sets: dict[str, Fingerprint]
    sources: dict[str, Fingerprint] = field(default_factory=dict)  # of a training mixture, each by itself


def data_seen(content: dict[str, Any]) -> DataSeen:
    """Read back what `dataclasses.asdict` made of a record; raises TypeError or KeyError for what it is not."""
    sets, sources = (
        {name: Fingerprint(**found) for name, found in part.items()}
        for part in (content["eval_sets"], content.get("sources", {}))
    )
    return DataSeen(Fingerprint(**content["training"]), sets, sources)


def fingerprint(prompts: Iterable[Prompt], size: int | None) -> Fingerprint:
    """The fingerprint of prompts in their order."""
    ids, tokens, answers, columns = (blake2b(digest_size=8) for _ in range(4))
    for prompt in prompts:
        for digest, content in (
            (ids, prompt.id.encode(errors="surrogatepass")),
            (tokens, array("q", prompt.token_ids).tobytes()),
            (answers, prompt.problem.answer.encode(errors="surrogatepass")),
            (columns, json.dumps(prompt.problem.columns, sort_keys=True).encode()),
        ):
            digest.update(len(content).to_bytes(8, "little") + content)
    return Fingerprint(size, *(digest.hexdigest() for digest in (ids, tokens, answers, columns)))


def what_changed(old: Fingerprint, new: Fingerprint) -> str:
    """How two fingerprints differ, in words; empty if they do not."""
    if old.size != new.size:
        return f"it had {old.size or 'endless'} problems, has {new.size or 'endless'}"
    parts = (
        ("the ids or the order of its problems", old.ids != new.ids),
        ("its prompts (questions, template or tokenizer)", old.prompts != new.prompts),
        ("its gold answers", old.answers != new.answers),
    )
    changed = [name for name, differs in parts if differs]
    # Questions and answers stand in columns, too.
    if not changed and None not in (old.columns, new.columns) and old.columns != new.columns:
        changed = ["other columns of its rows, which verifiers may read"]
    return f"changed: {', '.join(changed)}" if changed else ""
