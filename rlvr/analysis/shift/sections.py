"""The parts of a response: its first token, reasoning, final answer, end."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from rlvr.reward.extract import find_boxes

SECTIONS = ("first", "reasoning", "answer", "end")


def sections(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The section of every token.

    The answer is every token that holds a character of the last complete box; without one there is none.
    After the answer, and at the end token, comes the end. The first token is a section of its own.
    """
    ids = list(ids)
    names = ["reasoning"] * len(ids)
    boxes = find_boxes(str(tokenizer.decode(ids)))
    if boxes:
        start = _token_at(ids, boxes[-1].start, tokenizer)
        stop = _token_at(ids, boxes[-1].end - 1, tokenizer) + 1
        names[start:stop] = ["answer"] * (stop - start)
        names[stop:] = ["end"] * (len(ids) - stop)
    if ids[-1] == tokenizer.eos_token_id:
        names[-1] = "end"
    names[0] = "first"
    return names


def _token_at(ids: list[int], character: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token whose text reaches beyond the character, by bisection over decoded prefixes."""
    low, high = 0, len(ids) - 1
    while low < high:
        middle = (low + high) // 2
        if len(tokenizer.decode(ids[: middle + 1])) > character:
            high = middle
        else:
            low = middle + 1
    return low
