"""A verifier that reads another column of the row than its answer: the response may use the row's `allowed` words only.

    python -m rlvr.train recipe=grpo reward.verifier=own_row_verifier:only_allowed reward.score=raw

with rows such as {"question": "Describe the sea.", "answer": "-", "allowed": ["deep", "blue", "wide"]} in
`data.train.path` and the evaluation sets. A first parameter called `example` asks for the whole row, and
`example["allowed"]` is one of its columns; a row without it is a failure of the verifier that names source, row and
column, and no wrong answer. The share of allowed words is a score, which `reward.score=raw` pays; from
`reward.correct_from` on a response is correct.
"""

from __future__ import annotations

import re

from rlvr.reward.example import Example


def only_allowed(example: Example, response: str, least: int = 3) -> float:
    """The share of allowed words; 0 for fewer than `least` words (`reward.verifier_options.least`)."""
    allowed = {word.lower() for word in example["allowed"]}
    words = re.findall(r"[a-z]+", response.lower())
    return sum(word in allowed for word in words) / len(words) if len(words) >= least else 0.0
