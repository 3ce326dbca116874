r"""Angles as they are written: in degrees with minutes and seconds, as `30^\circ 15'`, or in radians; pure text."""

import re
from fractions import Fraction

LONGEST = 100  # characters; no angle has more
_MARK = r"(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree|(?:\\text\s*\{\s*)?\s?deg(?:rees?)?\s*\}?)"
_NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,10})?"
_IN_DEGREES = re.compile(
    rf"[\s$]*(-?)({_NUMBER})\s*{_MARK}\s*(?:({_NUMBER})\s*'(?!')\s*)?(?:({_NUMBER})\s*(?:''|\")\s*)?[\s$.]*"
)
_PRIME = re.compile(r"\\prime(?![A-Za-z])\s*|[′’]")
_PRIMES = re.compile(r"\^\s*(?:\{\s*('+)\s*\}|('+))")
_IN_MINUTES = re.compile(rf"[\s$]*-?{_NUMBER}\s*'{{1,2}}[\s$.]*")
_IN_PLAIN_RADIANS = re.compile(
    rf"[\s$]*-?{_NUMBER}\s*(?:\\(?:text|mathrm)\s*\{{\s*)?\s?rad(?:ians?)?\s*\}}?[\s$.]*"
)
_PLAIN = re.compile(rf"[\s$]*(-?{_NUMBER})[\s$.]*")
_WHOLE = r"[0-9]{1,10}"
_IN_RADIANS = re.compile(
    rf"[\s$]*(-?)\s*(?:\\[dt]?frac\s*\{{?\s*({_WHOLE})?\s*\\pi\s*\}}?\s*\{{?({_WHOLE})\}}?|"
    rf"\\[dt]?frac\s*\{{({_WHOLE})\}}\s*\{{({_WHOLE})\}}\s*\\pi|({_WHOLE})?\s*\\pi\s*(?:/\s*({_WHOLE}))?)"
    r"\s*(?:(?:\\text\s*\{\s*)?\s?rad(?:ians?)?\s*\}?)?[\s$.]*"
)


def same_angle_in_degrees(gold: str, answer: str) -> bool | None:
    """Compare two uncleaned answers of which one is in degrees and the other an angle in another form, else None."""
    if len(gold) > LONGEST or len(answer) > LONGEST:
        return None
    gold, answer = _with_primes(gold), _with_primes(answer)
    degrees = [_IN_DEGREES.fullmatch(text) for text in (gold, answer)]
    if degrees == [None, None]:
        return None
    radians = [_IN_RADIANS.fullmatch(text) for text in (gold, answer)]
    for marked, multiple in ((degrees[0], radians[1]), (degrees[1], radians[0])):
        if marked is not None and multiple is not None:
            return _in_degrees(marked) == _degrees(multiple)
    if degrees[0] is not None and degrees[1] is not None:
        return _in_degrees(degrees[0]) == _in_degrees(degrees[1])
    marked, other = (degrees[0], answer) if degrees[0] is not None else (degrees[1], gold)
    if _IN_MINUTES.fullmatch(other) or _IN_PLAIN_RADIANS.fullmatch(other):
        return False
    plain = _PLAIN.fullmatch(other)
    if marked is None or plain is None or not (marked[3] or marked[4]):
        return None
    return _in_degrees(marked) == Fraction(plain[1])


def is_in_degrees(text: str) -> bool:
    """Whether an uncleaned answer is nothing but an angle with a degree sign."""
    return len(text) <= LONGEST and _IN_DEGREES.fullmatch(_with_primes(text)) is not None


def _with_primes(text: str) -> str:
    if text.isascii() and "\\prime" not in text and "{'" not in text:
        return text
    return _PRIMES.sub(lambda found: found[1] or found[2], _PRIME.sub("'", text).replace("″", "''"))


def _in_degrees(found: re.Match[str]) -> Fraction:
    sign, degrees, minutes, seconds = found.groups()
    size = Fraction(degrees) + Fraction(minutes or 0) / 60 + Fraction(seconds or 0) / 3600
    return -size if sign else size


def _degrees(found: re.Match[str]) -> Fraction | None:
    sign, *parts = found.groups()
    tops, bottoms = parts[0::2], parts[1::2]
    top = int(next(filter(None, tops), 1))
    bottom = int(next(filter(None, bottoms), 1))
    return None if bottom == 0 else Fraction(180 * top, bottom) * (-1 if sign else 1)
