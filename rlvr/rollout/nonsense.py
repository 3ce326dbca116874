"""What an engine's answer must be to be trained on."""

from __future__ import annotations

import numpy as np

from rlvr.rollout.generation import Generation

ROUNDING = 1e-3  # a log-prob may be above 0 by so much [nats]


def nonsense(answer: Generation, *, most_tokens: int, vocabulary: int | None, logprobs: bool) -> str | None:
    """What is wrong with a response, in words; None: nothing.

    Token ids lie in the vocabulary (None: not known), log-probs are finite and not above 0, and spans begin with the
    first token and go on in order.
    """
    ids, found = answer.token_ids, answer.logprobs
    if not 0 < len(ids) <= most_tokens:
        return f"{len(ids)} tokens where 1 to {most_tokens} were asked for"
    if ids.min() < 0 or (vocabulary is not None and ids.max() >= vocabulary):
        return f"token ids {ids.min()} .. {ids.max()} where the model has 0 .. {(vocabulary or 0) - 1}"
    if len(found) != (len(ids) if logprobs else 0):
        return f"{len(found)} log-probs for {len(ids)} tokens"
    if len(bad := np.flatnonzero(~(np.isfinite(found) & (found <= ROUNDING)))):
        # An engine that is started again has it from the same weights.
        diverged = "; if it comes again, the weights have diverged: lower learner.lr"
        return f"log-prob {found[bad[0]]} at token {bad[0]}{diverged if np.isnan(found[bad[0]]) else ''}"
    starts = [span.start for span in answer.spans]
    versions = [span.version for span in answer.spans]
    in_order = sorted({*starts}) == starts and sorted(versions) == versions
    if starts[:1] != [0] or not in_order or starts[-1] > len(ids):
        return f"weight versions {versions} from tokens {starts} on"
    return None
