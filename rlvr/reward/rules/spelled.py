"""Numbers in English words, such as `twenty-one` and `two thirds`: pure text."""

import re
from fractions import Fraction

_TO_NINETEEN = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {name: value for value, name in enumerate(_TO_NINETEEN)} | {
    name: 10 * value for value, name in enumerate(_TENS, start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ORDINALS = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *(
        "eleventh",
        "twelfth",
        "thirteenth",
        "fourteenth",
        "fifteenth",
        "sixteenth",
        "seventeenth",
        "eighteenth",
    ),
    *("nineteenth", "twentieth"),
]
_PARTS = {"half": 2, "quarter": 4, "hundredth": 100, "thousandth": 1000} | {
    name: value for value, name in enumerate(_ORDINALS, start=1) if value > 2
}
_AND_PART = re.compile(
    r"([0-9]{1,30})\s*(?:\\text\s*\{\s*)?and\s*\}?\s*"
    r"(?:a half|([0-9]{1,30})/([0-9]{1,30})|\\[dt]?frac\s*\{?([0-9]{1,30}?)\}?\s*\{?([0-9]{1,30})\}?)"
)
_DOZENS = {(): 12, ("a",): 12, ("one",): 12, ("half", "a"): 6, ("half",): 6}
_OUT_OF = re.compile(r"([0-9]{1,30}|[a-z]{3,9}) (?:in|out of) (?:every )?([0-9]{1,30}|[a-z]{3,9})", re.I)
MOST_WORDS = 15


def number_in_words(text: str) -> Fraction | None:
    """The value of words that are nothing but a number, else None."""
    words = text.lower().replace("-", " ").split()
    if not 0 < len(words) <= MOST_WORDS:
        return None
    if words[0] in ("minus", "negative"):
        rest = " ".join(words[1:])
        value = Fraction(rest) if rest.isascii() and rest.isdigit() else number_in_words(rest)
        return None if value is None or value < 0 else -value
    if words[-3:] == ["and", "a", "half"]:
        number = number_in_words(" ".join(words[:-3]))
        return None if number is None or number.denominator > 1 else number + Fraction(1, 2)
    if words == ["half"]:
        return Fraction(1, 2)
    if words[-1] in ("dozen", "dozens"):
        several = number_in_words(" ".join(words[:-1]))
        dozens = _DOZENS.get(tuple(words[:-1]), several and several * 12)
        return None if dozens is None else Fraction(dozens)
    # Alone or behind tens, `the third` and `twenty-third`: a third part is `one third`, twenty of them `twenty thirds`.
    place = words[1:] if words[0] == "the" else words
    tens = _VALUES[place[0]] if len(place) == 2 and place[0] in _TENS else 0
    if place and place[-1] in _ORDINALS[: 9 if tens else None] and len(place) == 1 + bool(tens):
        return Fraction(tens + 1 + _ORDINALS.index(place[-1]))
    if words[0] == "a" and len(words) > 1 and words[1] in _SCALES:
        words[0] = "one"
    part = _PARTS.get(words[-1]) or _PARTS.get(words[-1].removesuffix("s"))
    if part is not None and len(words) > 1:
        top = _whole(["one" if word in ("a", "an") else word for word in words[:-1]])
        is_place = words[-1] in _PARTS and (top or 0) >= 20  # `one hundred third` is no part
        return None if top is None or is_place else Fraction(top, part)
    total = _whole(words)
    return None if total is None else Fraction(total)


def leading_number(text: str) -> tuple[Fraction, str] | None:
    """The number that words begin with and the words behind it, such as 36 and `eggs` of `three dozen eggs`."""
    words = text.split()
    for end in range(min(len(words) - 1, MOST_WORDS), 0, -1):
        number = number_in_words(" ".join(words[:end]))
        if number is not None:
            return number, " ".join(words[end:])
    return None


def share_in_words(text: str) -> Fraction | None:
    """The value of `1 in 6` or `two out of three` where it is a part of one, None for anything else."""
    found = _OUT_OF.fullmatch(text)
    if found is None:
        return None
    top, bottom = (Fraction(part) if part.isdigit() else number_in_words(part) for part in found.groups())
    return top / bottom if top and bottom and 0 < top < bottom else None


def mixed_in_words(text: str) -> Fraction | None:
    """The value of `2 and a half` or `2 and 1/2`, None for anything else."""
    found = _AND_PART.fullmatch(text)
    if found is None:
        return None
    top, bottom = (int(part) for part in (found[2] or found[4] or 1, found[3] or found[5] or 2))
    return int(found[1]) + Fraction(top, bottom) if 0 < top < bottom else None


def _whole(words: list[str]) -> int | None:
    total, below = 0, 0
    room = 10**12  # what the next word has to be smaller than
    for word in words:
        if word == "and" and (total or below):
            continue
        value, scale = _VALUES.get(word), _SCALES.get(word)
        if value is not None and value < room and (value or words == ["zero"]):
            below += value
            room = 10 if value >= 20 else 1
        elif scale == 100 and 0 < below < 10:
            below, room = below * 100, 100
        elif scale is not None and scale > 100 and 0 < below < 1000:
            total, below, room = total + below * scale, 0, 1000
        else:
            return None
    return total + below
