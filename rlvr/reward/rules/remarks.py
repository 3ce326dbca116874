r"""Remarks around a value that leave it as it is, such as `7 (seven)` and `n^2 \text{ for all } n`: pure text."""

import re
from fractions import Fraction

from rlvr.reward.rules.markup import WORDS
from rlvr.reward.rules.quantities import is_unit
from rlvr.reward.rules.spelled import number_in_words

_IN_PARENTHESES = re.compile(
    rf"(.*[0-9}}]) ?(?:{WORDS}\s*\{{\s*)?\(([A-Za-z][A-Za-z -]{{0,60}})\)\s*(?(2)\}}?)"
)
_FOR_ALL = re.compile(
    rf",?\s*(?:{WORDS}\s*\{{\s*,?\s*|(?<=[\s,])\(?)for (?:all|any|every|each|arbitrary)\b([^=;]*)$"
)
_FOR_EVERY = re.compile(r"[,:]?\s*\\forall(?![A-Za-z])\s*[A-Za-z][^=;]*$")
_OTHER_CASE = re.compile(
    r"\b(?:for|if|when|otherwise|else|and|or|except|unless|not|wrong|incorrect|false)\b|,\s*[-+]?[0-9.]+\s*\}?$"
)
_OF_A_SET = re.compile(
    r",?\s*\(?\s*([a-zA-Z])\s*\\in\s*\\mathbb\s*\{?\s*[CNQRZ]\s*\}?"
    r"(?:[_^]\{?(?:[+*0-9]|\\geq? ?0|\\ge ?[01])\}?)?\s*\)?$"
)
_IN_ALL = re.compile(rf"(?<=[0-9}}])\s*(?:{WORDS}\s*\{{\s*)?\bin (?:total|all)\s*\}}?$")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SENTENCE = (
    r"(?i:(?:the|its|their|there|this|that)(?: (?:(?!not\b|least\b|most\b|no\b|if\b)[a-z]+|\$[^$]{1,20}\$)){0,6} "
    r"(?:is|are|equals|becomes)(?: equal to)?:?)"
)
_BEFORE = re.compile(
    rf"(?:{WORDS}\s*\{{\s*{_SENTENCE}\s*\}}\s*|{_SENTENCE} )(?=[-+0-9$(\[]|\\(?:[dt]?frac|sqrt|pi|\{{))"
)
_POINT = re.compile(
    rf"(?:{WORDS}\s*\{{\s*(?:the )?(?:point|pair)s?\s*\}}\s*|(?:the )?(?:point|pair)s? )(?=\()"
)
_BOTH = re.compile(rf"(?:{WORDS}\s*\{{\s*both\s*\}}\s*|both )(?=[-+0-9\\])")


def without_remarks(text: str) -> str:
    """A cleaned answer without the sentence before its value and the remark behind it."""
    if text[:1].isalpha() or text[:1] == "\\":
        for lead in (_BEFORE, _POINT, _BOTH):
            if found := lead.match(text):
                text = text[found.end() :]
    if (
        text.endswith((")", ")}"))
        and (found := _IN_PARENTHESES.fullmatch(text))
        and _repeats(found[1], found[2])
    ):
        return found[1]
    return _without_domain(_IN_ALL.sub("", text))


def _repeats(value: str, words: str) -> bool:
    """Whether words behind a number say it once more, or what it measures."""
    if words.lower() in ("unit", "units") or is_unit(words):
        return True
    said = number_in_words(words)
    try:
        return said is not None and said == Fraction(value.replace(",", ""))
    except ValueError:
        return False


def _without_domain(text: str) -> str:
    r"""`2k\pi` for `2k\pi, k \in \mathbb{Z}`, and a formula without the `for all x` behind it."""
    if "\\forall" in text and (found := _FOR_EVERY.search(text)) and found.start():
        return text[: found.start()].rstrip(" ,")
    if "\\in" in text and (found := _OF_A_SET.search(text)):
        value = text[: found.start()]
        if re.search(rf"(?<![A-Za-z\\]){found[1]}(?![A-Za-z])|[0-9]{found[1]}", _COMMAND.sub(" ", value)):
            return value.rstrip(" ,")
    if " for " in text or "{for " in text:
        found = _FOR_ALL.search(text)
        value = text[: found.start()].rstrip(" ,") if found else ""
        plain = _COMMAND.sub(" ", value)
        has_unknown = re.search("[A-Za-z]", plain) and not re.search("[A-Za-z]{3}", plain)
        if found and has_unknown and not _OTHER_CASE.search(found[1]):
            return value
    return text
