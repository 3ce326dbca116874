"""What ends a response besides the model's end token: texts (rollout.stop) and tokens (rollout.stop_token_ids). Pure.

The tokens that completed a stop text were sampled like all others: they stay in the response, in its text and in the
loss, where they take the end token's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlvr.config import RolloutConfig
from rlvr.types import Tokenizer

BYTES_PER_CHARACTER = 4  # at most, in UTF-8; a token of a byte-level vocabulary holds at least one
UNFINISHED = "\ufffd"  # how a character is decoded of which not all bytes are there


@dataclass(frozen=True, slots=True)
class Ends:
    """What ends a response, and how many of its tokens come before anything may."""

    texts: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
    min_tokens: int = 0


def ends_of(cfg: RolloutConfig) -> Ends:
    """What the configuration says of the ends of responses."""
    return Ends(tuple(cfg.stop), tuple(cfg.stop_token_ids), cfg.min_tokens)


def stop_problems(cfg: RolloutConfig) -> list[str]:
    """What is wrong with these keys, by themselves and beside others."""
    found = []
    if any(not text for text in cfg.stop):
        found.append("rollout.stop: an empty text would end every response at once; leave it out")
    if cfg.min_tokens > cfg.max_response_tokens:
        found.append(
            f"rollout.min_tokens={cfg.min_tokens}: more than rollout.max_response_tokens={cfg.max_response_tokens}, so "
            "no response could end; lower the former or raise the latter"
        )
    if cfg.min_tokens and (cfg.temperature != 1 or cfg.top_p < 1 or cfg.top_k > 0):
        found.append(
            f"rollout.min_tokens={cfg.min_tokens} with rollout.temperature={cfg.temperature:g}, top_p={cfg.top_p:g}, "
            f"top_k={cfg.top_k}: vLLM then records log-probs of a distribution without end tokens, which the learner "
            "does not compute; sample with temperature=1 top_p=1 top_k=-1, or set min_tokens=0"
        )
    return found


def stop_tokens_problems(cfg: RolloutConfig, vocabulary: int) -> list[str]:
    """Stop tokens that a vocabulary of this size lacks."""
    return [
        f"rollout.stop_token_ids: there is no token {token} in the tokenizer's {vocabulary}"
        for token in cfg.stop_token_ids
        if not 0 <= token < vocabulary
    ]


def just_completed(before: str, now: str, texts: Sequence[str]) -> bool:
    """Whether the characters by which `now` goes on from `before` complete one of the texts, as vLLM asks it."""
    known = len(before.rstrip(UNFINISHED))
    return any(now.find(text, max(0, known + 1 - len(text))) >= 0 for text in texts)


def stop_check(ends: Ends, tokenizer: Tokenizer) -> Callable[[Sequence[int]], bool] | None:
    """Whether a response so far, at least one token, has just come to a stop text; None where there are none.

    Only its last tokens are decoded, enough to hold the longest text.
    """
    if not ends.texts:
        return None
    window = BYTES_PER_CHARACTER * (max(map(len, ends.texts)) + 1)

    def stops(token_ids: Sequence[int]) -> bool:
        if len(token_ids) <= ends.min_tokens:
            return False
        tail = list(token_ids[-window:])
        return just_completed(str(tokenizer.decode(tail[:-1])), str(tokenizer.decode(tail)), ends.texts)

    return stops
