"""Words behind a number: those that say what it counts, and those that say how much it is; pure text."""

import re
from fractions import Fraction

from rlvr.reward.markup import WORDS
from rlvr.reward.quantities import is_unit

_MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MAGNITUDE = re.compile(
    r"([+-]?)([0-9]{1,50})(?:\.([0-9]{1,50}))?\s*"
    rf"(?:{WORDS}\s*\{{\s*)?({'|'.join(_MAGNITUDES)})s?(?: (?:of )?([a-z][a-z ]{{2,40}}))?\s*\}}?"
)
_COUNTED = re.compile(r"(.*[0-9}]) ([A-Za-z][A-Za-z-]{2,}(?: (?:of|in|[A-Za-z][A-Za-z-]{2,})){0,3})")
_IN_TEXT = re.compile(rf"[+-]?[0-9.,]+\s*{WORDS}\s*\{{\s*([A-Za-z0-9 ,()-]+?)\s*\}}.*")
# Words that change a number, say that it is none, or are factors.
_AMOUNT = re.compile(
    r"\b(?:half|halves|third|quarters?|[a-z]+ths?|thirds|dozens?|gross|scores?|pairs?|tens|(?:hundred|thousand|million|billion|"
    r"trillion)s?|lakhs?|crores?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|"
    r"sixty|seventy|eighty|ninety|quadrillion|myriad|googol|percentile|radians?|false|january|february|march|april|june|"
    r"july|august|september|october|november|december|"
    r"squared|cubed|factorial|per ?cent|percentage|per|over|plus|minus|and|or|more than|less than|base|mod|modulo|"
    r"remainder|rem|degrees?|celsius|fahrenheit|kelvin|infinity|infinitely|infinite|choose|sin|cos|tan|log|exp|sqrt|"
    r"inf|times [a-z]+|point|roots?|divided|multiplied|doubled|tripled|twice|not|wrong|incorrect|none|does|"
    r"negative|positive|below|above|through|"
    r"alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|omega|phi|psi|rho|tau|abc|xyz|pqr|mno)\b",
    re.I,
)
_CHANGES = re.compile(
    r"\b(?:dozens?|half|halves|thirds?|quarters?|[a-z]+ths|or more|or less|lakhs?|crores?|"
    r"(?:is|are) (?:not|wrong|incorrect)|^or|maybe|perhaps)\b",
    re.I,
)
_COUNTABLE = re.compile(
    r"\b(?:months?|depths?|lengths?|widths?|baths?|paths?|cloths?|moths?|mouths?|teeth)\b", re.I
)


def whole_number_of(text: str) -> str:
    """`3.5 million` as 3500000, with what it counts or without; other text as it is."""
    found = _MAGNITUDE.fullmatch(text)
    if found is None or (found[5] and not _is_counted(found[5])):
        return text
    value = Fraction(f"{found[2]}.{found[3] or 0}") * 10 ** _MAGNITUDES[found[4]]
    return found[1] + (str(value.numerator) if value.denominator == 1 else str(float(value)))


def without_counted(text: str) -> str | None:
    """The number of `12 marbles`; None where the words measure it or change its value."""
    found = _COUNTED.fullmatch(text)
    return found[1] if found is not None and _is_counted(found[2]) else None


def changes_number(text: str) -> bool:
    r"""Whether words in `\text{}` behind a number make another one of it, such as `3\text{ dozen}`."""
    found = _IN_TEXT.fullmatch(text)
    return found is not None and _CHANGES.search(_COUNTABLE.sub("", found[1])) is not None


def _is_counted(words: str) -> bool:
    plain = _COUNTABLE.sub("", words)
    vowels = all(re.search("[aeiouyAEIOUY]", word) for word in words.split())
    return vowels and _AMOUNT.search(plain) is None and not any(is_unit(word) for word in words.split())
