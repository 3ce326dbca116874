"""What a part of the token table takes while it is made: parts may have millions of tokens."""

import tracemalloc

import numpy as np
import pyarrow as pa

from rlvr.analysis.config import ScoreConfig
from rlvr.analysis.shift import parts
from rlvr.analysis.shift.columns import CANDIDATES, TOKEN_COLUMNS
from rlvr.analysis.shift.responses import Response
from rlvr.data.models.tokenizer import load_tokenizer

RESPONSES = [Response(k, "policy", f"p{k}", 1.0, True, [2, 3], [*range(2, 42)] * 8) for k in range(40)]


def peak(work):
    """Bytes that the work took at most beyond what was there before, and its result."""
    tracemalloc.start()
    try:
        done = work()
        return tracemalloc.get_traced_memory()[1], done
    finally:
        tracemalloc.stop()


def test_scores_of_a_part_are_held_once(monkeypatch):
    def batch(policy, base, responses, cfg):
        tokens = sum(len(r.response_ids) for r in responses)
        return {"js": np.ones(tokens, np.float32), "policy_ids": np.ones((tokens, CANDIDATES), np.int64)}

    monkeypatch.setattr(parts, "_score_batch", batch)
    taken, scored = peak(
        lambda: parts.score_part(None, None, RESPONSES, ScoreConfig(tokens_per_micro_batch=700))
    )
    assert len(scored["js"]) == 320 * len(RESPONSES)
    assert taken < 1.5 * sum(values.nbytes for values in scored.values())


def test_lists_of_candidates_take_no_python_list_for_each_token():
    tokenizer, tokens = load_tokenizer("builtin"), 320 * len(RESPONSES)
    numbers = {column.name for column in TOKEN_COLUMNS if not pa.types.is_dictionary(column.type)}
    scored = {name: np.ones(tokens, np.int8) for name in numbers - {*parts.RESPONSE_FIELDS}}
    for side in ("policy", "base"):
        scored[f"{side}_ids"] = np.full((tokens, CANDIDATES), 7)
        scored[f"{side}_probs"] = np.ones((tokens, CANDIDATES), np.float32)
    texts = parts.token_texts(tokenizer)

    def table():
        return parts.token_table(RESPONSES, scored, "policy", tokenizer, texts)

    # After this the text of every token is known.
    assert table()["base_texts"].to_pylist() == [[texts(7)] * CANDIDATES] * tokens
    taken, _ = peak(table)
    assert taken < 300 * tokens  # bytes, most of them pointers to what a response repeats for each token
