"""A verifier of whole rows: the share of a row's keywords that the response uses, as a score.

    python -m rlvr.train recipe=grpo model=local model.path=my/model data=local data.train.path=rows.jsonl \\
        "data.eval=[{name:held,path:held.jsonl}]" reward.verifier=own_row_verifier:covers reward.score=raw

A row is {"question": "...", "answer": "-", "keywords": ["tide", "harbour"]}; every column of it arrives in `example`.
Every row needs some answer, though this verifier reads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def covers(example: Mapping[str, Any], response: str) -> float:
    """The share of `keywords` among the words of the response; a row without that column is a failure of its own."""
    words = {word.strip(".,;:!?") for word in response.lower().split()}
    wanted = example["keywords"]
    return sum(keyword in words for keyword in wanted) / len(wanted)
