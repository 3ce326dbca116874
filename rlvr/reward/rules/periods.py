"""Decimals that repeat for ever, as fractions: pure text."""

import re

_REPEATING = re.compile(
    r"(?<![0-9])([0-9]*)\.([0-9]*)(?:\\(?:overline|bar)\s*(?:\{([0-9]{1,100})\}|([0-9]))|"
    r"\\dot\{?([0-9])\}?(?:([0-9]{0,98})\\dot\{?([0-9])\}?)?)"
)
_IN_PARENTHESES = re.compile(r"([+-]?)([0-9]{0,50})\.([0-9]{0,50})\(([0-9]{1,50})\)")
_GOES_ON = re.compile(
    r"(?<![0-9])([0-9]{0,50})\.([0-9]{0,50}?)([0-9]{1,6}?)(\3+)(?:\.\.\.|\\[lc]?dots(?![A-Za-z]))"
)


def as_recurring(text: str) -> str:
    """`0.333...` as a fraction."""
    return _GOES_ON.sub(_recurring, text)


def without_period(text: str) -> str:
    r"""`0.\overline{3}`, `0.\dot3` and, where it is all there is, `0.1(6)` as fractions."""
    text = _REPEATING.sub(_repeating_decimal, text)
    found = _IN_PARENTHESES.fullmatch(text)
    return found[1] + (_fraction(found[2], found[3], found[4]) or "") if found else text


def _repeating_decimal(match: re.Match[str]) -> str:
    whole, fixed, *period_parts = match.groups()
    return _fraction(whole, fixed, "".join(part for part in period_parts if part)) or match.group()


def _recurring(match: re.Match[str]) -> str:
    """`0.333...`; of `0.11...` one cannot tell what comes."""
    whole, fixed, period, again = match.groups()
    enough = len(again) >= 2 or len(period) > 1
    return (_fraction(whole, fixed, period) if enough else None) or match.group()


def _fraction(whole: str, fixed: str, period: str) -> str | None:
    if len(whole) + len(fixed) > 100:
        return None
    top = int(whole + fixed + period) - int(whole + fixed or "0")
    return rf"\frac{{{top}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"
