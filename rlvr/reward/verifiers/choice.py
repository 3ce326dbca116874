"""The verifier of multiple choice: the response's answer has to name the right option, and no other.

`reward.verifier=choice`; what counts as the answer is the source's policy. The gold answer is a letter, `C` or `(C)`.
Where the option `column` names the row's choices (a list of texts as in MMLU, or `{"label": [...], "text": [...]}` as
in ARC), it may also be a label, a choice's text or, for a list, its place counted from 0, and a response may answer
with a label or a choice's text. Where a choice's text is another one's letter or label, that one is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import extract_answer, policy_named
from rlvr.reward.rules.answer import clean
from rlvr.reward.rules.options import picked_choice
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.verifiers.exact_text import normalize

_LETTERS = "ABCDEFGHIJ"
_LABELLED = re.compile(
    r"(?:(?:option|choice|answer)\s*:?\s*)?\(?([^\W_]+)(?:\)?[.:]?|[).:]+\s+(\S.*))", re.IGNORECASE
)


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
    labels: dict[str, str]  # the row's own labels -> letter
    places: dict[str, str]  # place in a list without labels -> letter


def _read_choices(example: Example, column: str) -> Choices:
    given = example[column]
    texts, labels = (given.get("text"), given.get("label")) if isinstance(given, Mapping) else (given, None)
    if not isinstance(texts, list) or not 0 < len(texts) <= len(_LETTERS):
        raise row_error(
            example,
            f"column {column!r} is {str(given)[:60]!r}: expected a list of 1 to {len(_LETTERS)} choices",
        )
    letters = _LETTERS[: len(texts)]
    by_letter = dict(zip(letters, map(str, texts), strict=True))
    if isinstance(labels, list) and len(labels) == len(texts):
        return Choices(by_letter, dict(zip(map(str, labels), letters, strict=True)), {})
    return Choices(by_letter, {}, {str(place): letter for place, letter in enumerate(letters)})


def _gold(example: Example, choices: Choices | None) -> str:
    answer = clean(example.answer)
    letter = answer.strip("().: ")
    if choices is None:
        if len(letter) == 1 and letter in _LETTERS:
            return letter
    else:
        named = choices.labels | choices.places
        found = named.get(answer) or _by_letter(letter, choices) or _by_text(example.answer, choices)
        if found is not None:
            return found
    raise row_error(
        example,
        f"the answer {example.answer[:60]!r} names no option: expected a letter such as C, or set the option "
        "column to the column of choices",
    )


def _picked(answer: str, choices: Choices | None) -> str | None:
    if choices is None:
        return picked_choice(clean(answer))
    found = (
        _by_letter(clean(answer).strip("().: "), choices)
        or _by_text(answer, choices)
        or _by_label(clean(answer), choices)
    )
    if found is not None:
        return found
    letter = picked_choice(clean(answer))
    named = None if letter is None else _by_letter(letter, choices)
    return None if named is None or _has_text_of_another(answer, named, choices) else named


def _by_letter(name: str, choices: Choices) -> str | None:
    """The choice of this label, else of this letter; letters among the labels are labels."""
    if name in choices.labels or any(label in choices.texts for label in choices.labels):
        return choices.labels.get(name)
    return name if name in choices.texts else None


def _by_label(answer: str, choices: Choices) -> str | None:
    """The choice whose label begins an answer such as `(2)` or `2. a blue whale`, with nothing but its text behind."""
    found = _LABELLED.fullmatch(answer)
    letter = None if found is None else choices.labels.get(found[1])
    if found is None or letter is None:
        return None
    return letter if not found[2] or _by_text(found[2], choices) == letter else None


def _has_text_of_another(answer: str, letter: str, choices: Choices) -> bool:
    """Whether behind its letter an answer has another choice's text, as `A. London` where that is B."""
    found = _LABELLED.fullmatch(clean(answer))
    named = _by_text(found[2], choices) if found is not None and found[2] else None
    return named is not None and named != letter


def _by_text(answer: str, choices: Choices) -> str | None:
    """The one choice with the text of the answer, as it stands, in the same words, or without its markup."""
    readings: tuple[Callable[[str], str], ...] = (str.strip, normalize, lambda text: normalize(clean(text)))
    labelled = _LABELLED.fullmatch(clean(answer))
    if labelled and labelled[2] and (labelled[1] in choices.labels or labelled[1].upper() in choices.texts):
        readings = readings[:1]  # normalised, the label of `(A) blue` would be an article
    for read in readings:
        same = [letter for letter, text in choices.texts.items() if read(text) == read(answer)]
        if len(same) == 1:
            return same[0]
    return None
