"""What every column of the analysis files means: name, type, unit and meaning, in one place.

The parquet files carry these descriptions in their schema metadata.
"""

from __future__ import annotations

import pyarrow as pa

from rlvr.analysis.tables import Column

OVERLAP_KS = (1, 2, 3, 5, 10)  # sizes of the compared candidate sets
CANDIDATES = 5  # most likely tokens of both models that are kept for every position


def _ids() -> pa.DataType:
    return pa.list_(pa.int32())


NAME = pa.dictionary(pa.int32(), pa.string())  # a string that repeats

RESPONSE_COLUMNS = (
    Column("response", pa.int64(), "index", "number of the response in this analysis, from 0"),
    Column(
        "part",
        pa.int32(),
        "index",
        "row group here; scored with checkpoint c (counted from 0) it is token file part + c x parts",
    ),
    Column("trajectory", NAME, "name", "which model wrote the response: policy or base"),
    Column("problem_id", pa.string(), "name", "problem that it answers"),
    Column("sample_id", pa.string(), "name", "sample, as its source calls it"),
    Column("source", NAME, "path", "file that the response was read from"),
    Column("question", pa.string(), "text", "question; null where the source does not say"),
    Column("answer", pa.string(), "text", "gold answer; null where the source does not say"),
    Column("text", pa.string(), "text", "response without special tokens"),
    Column("reward", pa.float32(), "reward", "reward as graded"),
    Column("correct", pa.bool_(), "yes or no", "whether the grader accepted the answer"),
    Column("truncated", pa.bool_(), "yes or no", "cut at the response limit; null where unknown"),
    Column("tokens", pa.int32(), "tokens", "length of the response"),
    Column("prompt_ids", _ids(), "token ids", "prompt, as the models read it"),
    Column("response_ids", _ids(), "token ids", "response, the end token included where there is one"),
)

TOKEN_COLUMNS = (
    Column("response", pa.int64(), "index", "row of responses.parquet"),
    Column("problem_id", NAME, "name", "problem"),
    Column("trajectory", NAME, "name", "which model wrote the response: policy or base"),
    Column("checkpoint", NAME, "name", "policy that was scored; the last one is called policy"),
    Column("position", pa.int32(), "tokens", "tokens of the response before this one"),
    Column("from_end", pa.int32(), "tokens", "tokens of the response after this one"),
    Column(
        "section",
        NAME,
        "name",
        "part of the response: first (its first token), reasoning, answer (the last box) or end (after the box, and "
        "the end token)",
    ),
    Column("token_id", pa.int32(), "token id", "token at this position"),
    Column("token", NAME, "text", "text of the token"),
    Column("js", pa.float32(), "nats", "exact JS(policy, base) over the whole vocabulary, in [0, ln 2]"),
    Column("js_top_p", pa.float32(), "nats", "JS of the two nuclei, each truncated and renormalised"),
    Column("kl_policy_base", pa.float32(), "nats", "exact KL(policy || base)"),
    Column("kl_base_policy", pa.float32(), "nats", "exact KL(base || policy)"),
    Column("entropy_policy", pa.float32(), "nats", "entropy of the policy's next-token distribution"),
    Column("entropy_base", pa.float32(), "nats", "entropy of the base's next-token distribution"),
    Column("logp_policy", pa.float32(), "nats", "log-probability of the token under the policy"),
    Column("logp_base", pa.float32(), "nats", "log-probability of the token under the base"),
    Column("rank_policy", pa.int32(), "rank", "1 + tokens that the policy ranks strictly above this one"),
    Column("rank_base", pa.int32(), "rank", "1 + tokens that the base ranks strictly above this one"),
    Column("top_policy", pa.int32(), "token id", "the policy's most likely token"),
    Column("top_base", pa.int32(), "token id", "the base's most likely token"),
    Column("top_policy_rank_base", pa.int32(), "rank", "rank in the base of the policy's most likely token"),
    Column("top_base_rank_policy", pa.int32(), "rank", "rank in the policy of the base's most likely token"),
    Column(
        "top_policy_prob_base", pa.float32(), "probability", "base's probability of the policy's top token"
    ),
    Column(
        "top_base_prob_policy", pa.float32(), "probability", "policy's probability of the base's top token"
    ),
    *(
        Column(f"overlap_{k}", pa.int8(), "tokens", f"tokens that the {k} most likely of both models share")
        for k in OVERLAP_KS
    ),
    Column("reward", pa.float32(), "reward", "reward of the response"),
    Column("correct", pa.bool_(), "yes or no", "whether the response's answer is correct"),
    Column("policy_ids", _ids(), "token ids", f"the policy's {CANDIDATES} most likely tokens, best first"),
    Column("policy_texts", pa.list_(pa.string()), "text", "their texts"),
    Column("policy_probs", pa.list_(pa.float32()), "probability", "their probabilities under the policy"),
    Column("base_ids", _ids(), "token ids", f"the base's {CANDIDATES} most likely tokens, best first"),
    Column("base_texts", pa.list_(pa.string()), "text", "their texts"),
    Column("base_probs", pa.list_(pa.float32()), "probability", "their probabilities under the base"),
)
