"""Words behind a number: those that say what it counts, and those that say how much it is; pure text."""

import re
from fractions import Fraction

from rlvr.reward.rules.markup import WORDS
from rlvr.reward.rules.quantities import is_unit, without_unit
from rlvr.reward.rules.spelled import leading_number

_MAGNITUDES = {
    "dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_MAGNITUDE = re.compile(
    r"([+-]?)([0-9]{1,50})(?:\.([0-9]{1,50}))?\s*"
    rf"(?:{WORDS}\s*\{{\s*)?({'|'.join(_MAGNITUDES)})s?(?: (?:of )?([a-z][a-z ]{{2,40}}))?\s*\}}?"
)
_LETTER = "A-Za-zÀ-ÖØ-öø-ž"
_COUNTED = re.compile(
    rf"(.*[0-9}}]) ([{_LETTER}][{_LETTER}-]{{2,}}(?: (?:of|in|de|[{_LETTER}][{_LETTER}-]{{2,}})){{0,3}})"
)
# Chinese and Korean words behind a number count or measure, where they do not multiply it.
_MEASURE_WORD = re.compile(
    rf"(.*[0-9}}])\s*(?:{WORDS}\s*\{{\s*)?"
    r"(?:千[米克瓦]|(?![万萬亿億千百十兆半余餘多折成点點倍和或不错錯非无無未至到만억천백십배]|以|分之|분의)[\u4e00-\u9fff\uac00-\ud7af]){1,6}\s*\}?"
)
_IN_TEXT = re.compile(rf"[+-]?[0-9.,]+\s*({WORDS}\s*\{{\s*([A-Za-z0-9 ,()-]+?)\s*\}}.*)")
_ORDINAL = re.compile(r"(?:the )?([0-9]{1,30})(?:st|nd|rd|th)(?: ([a-z]{3,20}(?<!may)))?", re.I)
# Words that change a number, say that it is none, or are factors.
_AMOUNT = re.compile(
    r"\b(?:half|halves|third|quarters?|[a-z]+ths?|thirds|dozens?|gross|scores?|tens|(?:hundred|thousand|million|billion|"
    r"trillion)s?|lakhs?|crores?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|"
    r"mil|mille|mill?i?[oóaã][a-zéóõãñ]*|miliard[a-z]*|bil+i[oó][a-z]*|tausend|hundert|dutzend|doceni?[as]*|douzaines?|"
    r"sixty|seventy|eighty|ninety|quadrillion|myriad|googol|percentile|radians?|false|january|february|march|april|june|"
    r"july|august|september|october|november|december|"
    r"squared|cubed|factorial|per ?cent|percentage|per|over|plus|minus|and|or|more than|less than|base|mod|modulo|"
    r"remainder|rem|degrees?|celsius|fahrenheit|kelvin|infinity|infinitely|infinite|choose|sin|cos|tan|log|exp|sqrt|"
    r"inf|times [a-z]+|point|roots?|divided|multiplied|doubled|tripled|twice|not|wrong|incorrect|none|does|"
    r"(?:negative|positive)(?! (?:integers?|numbers?|values?|solutions?|divisors?|factors?)\b)|below|above|through|"
    r"alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|omega|phi|psi|rho|tau|abc|xyz|pqr|mno)\b",
    re.I,
)
_CHANGES = re.compile(
    r"\b(?:dozens?|half|halves|thirds?|quarters?|[a-z]+ths|or more|or less|lakhs?|crores?|"
    r"(?:is|are) (?:not|wrong|incorrect)|^or|maybe|perhaps|no solutions?|not exist|extraneous|rejected|invalid|"
    r"impossible|below zero)\b|^(?:squared|cubed|factorial)\b|^\(?(?:if|when|unless)\b(?!.*round)",
    re.I,
)
# `5\\text{ for } n=3, 6 \\text{ otherwise}` has another number, `5\\text{, since } 2+3=5` the reason.
_PARTS = re.compile(r"\b(?:and|or|otherwise|else|max|min)\b|[,;]")
_LAST_CASE = re.compile(r"\b(?:otherwise|else|max|min)\b")
_DIGIT = re.compile("[0-9]")
_REASON = re.compile(r"\b(?:since|because|as|where|round(?:ed)?|approx(?:imately)?|about|to)\b|\\approx")
_CASES = re.compile(r"\b(?:otherwise|else)\b|\b(?:if|when)\b.{1,200}\b(?:if|when)\b", re.S)
_COUNTABLE = re.compile(
    r"\b(?:months?|depths?|lengths?|widths?|baths?|paths?|cloths?|moths?|mouths?|teeth)\b", re.I
)


def whole_number_of(text: str) -> str:
    """`3.5 million` as 3500000, with what it counts or without; other text as it is."""
    found = _MAGNITUDE.fullmatch(text)
    if found is None or (found[5] and not _is_counted(found[5])):
        return text
    value = Fraction(f"{found[2]}.{found[3] or 0}") * _MAGNITUDES[found[4]]
    return found[1] + (str(value.numerator) if value.denominator == 1 else str(float(value)))


def without_counted(text: str) -> str | None:
    """The number of `12 marbles`; None where the words measure it or change its value."""
    if not text.isascii() and (measured := _MEASURE_WORD.fullmatch(text)):
        return measured[1]
    found = _COUNTED.fullmatch(text)
    return found[1] if found is not None and _is_counted(found[2]) else None


def counted_in_words(text: str) -> Fraction | None:
    """The number of `three dozen eggs`, `twelve metres`, `the 21st term`; None for anything else."""
    ordinal = _ORDINAL.fullmatch(text)
    if ordinal is not None:
        return Fraction(ordinal[1]) if ordinal[2] is None or _is_counted(ordinal[2]) else None
    found = leading_number(text) if text[:1].isalpha() else None
    if found is None or found[0].denominator > 1:
        return None
    number = f"{found[0]} {found[1]}"
    plain = without_counted(number) or without_unit(number)
    return None if plain is None else Fraction(plain)


def changes_number(text: str) -> bool:
    r"""Whether words in `\text{}` behind a number make another one of it, such as `3\text{ dozen}`."""
    found = _IN_TEXT.fullmatch(text)
    if found is None:
        return False
    if _CHANGES.search(_COUNTABLE.sub("", found[2])):
        return True
    return _REASON.search(found[1]) is None and _has_another(found[1])


def _has_another(tail: str) -> bool:
    """Whether a number stands behind a word that parts values, or before one that ends a list of cases."""
    parted, digit = _PARTS.search(tail), _DIGIT.search(tail)
    if parted is not None and _DIGIT.search(tail, parted.end()):
        return True
    return digit is not None and _LAST_CASE.search(tail, digit.end()) is not None


def has_cases(text: str) -> bool:
    """Whether an answer tells cases apart, of which math-verify reads the first."""
    return _CASES.search(text) is not None


def _is_counted(words: str) -> bool:
    plain = _COUNTABLE.sub("", words)
    vowels = all(re.search("[aeiouyAEIOUYÀ-ÖØ-öø-ž]", word) for word in words.split())
    return vowels and _AMOUNT.search(plain) is None and not any(is_unit(word) for word in words.split())
