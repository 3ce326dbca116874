"""The verifier of multiple choice: the response's answer has to name the right option, and no other.

`reward.verifier=choice`; what counts as the answer is the source's policy. The gold answer is a letter, `C` or `(C)`.
Where the option `column` names the row's choices (a list of texts as in MMLU, or `{"label": [...], "text": [...]}` as
in ARC), it may also be a label, a choice's text or, for a list, its place counted from 0, and a response may answer
with a choice's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlvr.reward.answer import clean, picked_choice
from rlvr.reward.exact_text import normalize
from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import extract_answer, policy_named
from rlvr.reward.verdict import Outcome, Verdict

_LETTERS = "ABCDEFGHIJ"


def choice(example: Example, response: str, policy: str, *, column: str | None = None) -> Verdict:
    """Compare the option that the answer names with the gold one.

    Raises:
        DataError: the gold answer names no option, or the choices cannot be read.
    """
    choices = None if column is None else _read_choices(example, column)
    gold = _gold(example, choices)
    found = extract_answer(response, policy_named(policy))
    if found.content is None:
        return Verdict("", Outcome.NO_ANSWER, None, gold, 0.0, found.reason)
    picked = _picked(found.content, choices)
    if picked is None:
        return Verdict("", Outcome.WRONG, found.content, gold, 0.0, "it names no option, or several")
    return Verdict("", Outcome.CORRECT if picked == gold else Outcome.WRONG, picked, gold, 0.0)


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of a row by letter: their texts, and how the row's answer may name them."""

    texts: dict[str, str]  # letter -> text
    labels: dict[str, str]  # label, or place in the list -> letter


def _read_choices(example: Example, column: str) -> Choices:
    given = example[column]
    texts, labels = (given.get("text"), given.get("label")) if isinstance(given, Mapping) else (given, None)
    if not isinstance(texts, list) or not 0 < len(texts) <= len(_LETTERS):
        raise row_error(
            example,
            f"column {column!r} is {str(given)[:60]!r}: expected a list of 1 to {len(_LETTERS)} choices",
        )
    letters = _LETTERS[: len(texts)]
    names = labels if isinstance(labels, list) and len(labels) == len(texts) else range(len(texts))
    return Choices(
        dict(zip(letters, map(str, texts), strict=True)),
        dict(zip(map(str, names), letters, strict=True)),
    )


def _gold(example: Example, choices: Choices | None) -> str:
    answer = clean(example.answer)
    if choices is not None:
        if answer in choices.labels:
            return choices.labels[answer]
        by_text = [letter for letter, text in choices.texts.items() if text.strip() == example.answer.strip()]
        if len(by_text) == 1:
            return by_text[0]
    letter = answer.strip("().: ")
    if len(letter) == 1 and letter in (_LETTERS if choices is None else choices.texts):
        return letter
    raise row_error(
        example,
        f"the answer {example.answer[:60]!r} names no option: expected a letter such as C, or set the option "
        "column to the column of choices",
    )


def _picked(answer: str, choices: Choices | None) -> str | None:
    if choices is not None:
        same = [letter for letter, text in choices.texts.items() if normalize(text) == normalize(answer)]
        if len(same) == 1:
            return same[0]
    return picked_choice(clean(answer))
