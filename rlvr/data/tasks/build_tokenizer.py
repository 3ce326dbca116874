"""The tokenizers of the built-in models: byte-level BPE in which every word of the tasks is one token."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import Qwen2Tokenizer

from rlvr.data.tasks.instructions import ADJECTIVES, ARTICLES, CHATTER, MORE, NOUNS, VERBS

CONTEXT_TOKENS = 256

PAD, EOS = "<|pad|>", "<|endoftext|>"
# Byte-level BPE in the form that Qwen2Tokenizer expects, because AutoTokenizer rebuilds that class for this
# architecture whatever the saved files say. "Ġ" is how byte-level BPE writes a space.
CHARACTERS = "0123456789+-=?{}\\Ġ"
MERGES = (
    *("f i", "fi r", "fir s", "firs t"),
    *("t h", "th e", "the n", "Ġ then"),
    *("s o", "Ġ so"),
    *("b o", "bo x", "box e", "boxe d", "Ġ \\"),
)
# The second task's words, each one token, and the marks of its prompts.
SENTENCE_WORDS = (
    *("write", "words", "starting", "with", "without", "ending", "in"),
    *(*ARTICLES, *ADJECTIVES, *NOUNS, *VERBS, CHATTER, MORE),
)
SENTENCE_MARKS = ",:"


def build_tokenizer(tasks: int = 1) -> Qwen2Tokenizer:
    """Build the tasks' tokenizer: one token a digit, a sign, or one of their words."""
    vocabulary = dict.fromkeys([PAD, EOS, *CHARACTERS])
    merges = [(left, right) for left, right in (merge.split() for merge in MERGES)]
    if tasks > 1:
        merges += word_merges(SENTENCE_WORDS, merges)
    for left, right in merges:
        vocabulary |= dict.fromkeys([left, right, left + right])
    if tasks > 1:
        vocabulary |= dict.fromkeys(SENTENCE_MARKS)
    return Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)},
        merges=merges,  # type: ignore[arg-type]  # pairs, not strings
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        model_max_length=CONTEXT_TOKENS,
    )


def word_merges(words: Sequence[str], given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The byte-pair merges, beyond those given, with which every word, alone or after a space, is one token."""
    ranks = list(given)
    for text in (form for word in words for form in (word, f"Ġ{word}")):
        while len(pieces := _merged(text, ranks)) > 1:
            ranks.append(
                (pieces[-2], pieces[-1]) if pieces[0] == "Ġ" and len(pieces) == 2 else _first(pieces)
            )
    return ranks[len(given) :]


def _first(pieces: list[str]) -> tuple[str, str]:
    """The pair to join next: from the left, the space last."""
    start = 1 if pieces[0] == "Ġ" else 0
    return pieces[start], pieces[start + 1]


def _merged(text: str, ranks: Sequence[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding of one word by merges in the order of their ranks."""
    pieces = list(text)
    for left, right in ranks:
        place = 0
        while place < len(pieces) - 1:
            if pieces[place] == left and pieces[place + 1] == right:
                pieces[place : place + 2] = [left + right]
            place += 1
    return pieces
