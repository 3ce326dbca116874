r"""An angle in degrees beside one in radians, such as `135^\circ` and `\frac{3\pi}{4}`: pure text."""

import re
from fractions import Fraction

_IN_DEGREES = re.compile(
    r"[\s$]*(-?[0-9]{1,10}(?:\.[0-9]{1,10})?)\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree|(?:\\text\s*\{\s*)?\s?degrees?\s*\}?)[\s$.]*"
)
_WHOLE = r"[0-9]{1,10}"
_IN_RADIANS = re.compile(
    rf"[\s$]*(-?)\s*(?:\\[dt]?frac\s*\{{?\s*({_WHOLE})?\s*\\pi\s*\}}?\s*\{{?({_WHOLE})\}}?|"
    rf"\\[dt]?frac\s*\{{({_WHOLE})\}}\s*\{{({_WHOLE})\}}\s*\\pi|({_WHOLE})?\s*\\pi\s*(?:/\s*({_WHOLE}))?)"
    r"\s*(?:(?:\\text\s*\{\s*)?\s?rad(?:ians?)?\s*\}?)?[\s$.]*"
)


def same_angle_in_degrees(gold: str, answer: str) -> bool | None:
    """Compare two uncleaned answers of which one is in degrees and the other a multiple of pi, else None."""
    degrees = [_IN_DEGREES.fullmatch(text) for text in (gold, answer)]
    radians = [_IN_RADIANS.fullmatch(text) for text in (gold, answer)]
    for marked, multiple in ((degrees[0], radians[1]), (degrees[1], radians[0])):
        if marked is not None and multiple is not None:
            return Fraction(marked[1]) == _degrees(multiple)
    return None


def _degrees(found: re.Match[str]) -> Fraction | None:
    sign, *parts = found.groups()
    tops, bottoms = parts[0::2], parts[1::2]
    top = int(next(filter(None, tops), 1))
    bottom = int(next(filter(None, bottoms), 1))
    return None if bottom == 0 else Fraction(180 * top, bottom) * (-1 if sign else 1)
