"""The verifiers of short texts: `reward.verifier=exact`, the same text, and `normalized`, the same words.

What counts as the answer is the source's policy (`whole`: all of the response). The option `column` names a column that
holds the accepted answers, a text or a list of them, in place of the answer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable

from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import extract_answer, policy_named
from rlvr.reward.verdict import Outcome, Verdict

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact(example: Example, response: str, policy: str, *, column: str | None = None) -> Verdict:
    """Whether the answer is one of the accepted texts, white space at the ends aside.

    Raises:
        DataError: the row has no text to compare with.
    """
    return _compare(example, response, policy, column, str.strip)


def normalized(example: Example, response: str, policy: str, *, column: str | None = None) -> Verdict:
    """Whether the answer has the words of one of the accepted texts, by the rules of SQuAD's evaluation.

    Raises:
        DataError: the row has no text to compare with.
    """
    return _compare(example, response, policy, column, normalize)


def normalize(text: str) -> str:
    """A text in lower case without ASCII punctuation, English articles and extra white space (arXiv 1606.05250).

    One that is nothing but these stays as it is, in lower case.
    """
    lower = unicodedata.normalize("NFC", text).lower()  # an accent is written in two ways
    words = " ".join(_ARTICLES.sub(" ", lower.translate(_NO_PUNCTUATION)).split())
    return words or " ".join(lower.split())


def _compare(
    example: Example, response: str, policy: str, column: str | None, read: Callable[[str], str]
) -> Verdict:
    golds = _accepted(example, column)
    found = extract_answer(response, policy_named(policy))
    if found.content is None:
        return Verdict("", Outcome.NO_ANSWER, None, golds[0], 0.0, found.reason)
    same = read(found.content) in {read(gold) for gold in golds}
    return Verdict("", Outcome.CORRECT if same else Outcome.WRONG, found.content, golds[0], 0.0)


def _accepted(example: Example, column: str | None) -> list[str]:
    given = example.answer if column is None else example[column]
    golds = given if isinstance(given, list) else [given]
    texts = [
        str(gold) for gold in golds if isinstance(gold, str | int | float) and not isinstance(gold, bool)
    ]
    if len(texts) < len(golds) or not texts or not all(text.strip() for text in texts):
        where = "the answer" if column is None else f"column {column!r}"
        raise row_error(example, f"{where} is {str(given)[:60]!r}: expected a text, or a list of texts")
    return texts
