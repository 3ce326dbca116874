"""What a program writes or returns beside what a test expects: lines, and values as JSON has them. Pure.

Where a decimal is expected, a number is right that is as near to it as judges of programs ask: the last digits are the
rounding's, and how many a program writes is its own.
"""

from __future__ import annotations

import math
import re
from typing import Any

# Relative, as judges have it; the absolute one only for what rounding leaves of a zero, so that tiny numbers differ.
RELATIVE, ABSOLUTE = 1e-6, 1e-9
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,300}\.[0-9]{0,300}|\.[0-9]{1,300})(?:[eE][+-]?[0-9]{1,4})?")
_NUMBER = re.compile(rf"{_DECIMAL.pattern}|[+-]?[0-9]{{1,300}}(?:[eE][+-]?[0-9]{{1,4}})?")


def lines(text: str) -> list[str]:
    """What counts of an output: its lines without white space at their ends, and without empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def same_lines(written: list[str], wanted: list[str]) -> bool:
    """Whether two outputs are the same, but for the last digits of decimals."""
    return written == wanted or (len(written) == len(wanted) and all(map(_same_line, written, wanted)))


def _same_line(written: str, wanted: str) -> bool:
    if written == wanted:
        return True
    words, expected = _words(written), _words(wanted)
    return len(words) == len(expected) and all(map(_same_word, words, expected))


def _words(line: str) -> list[str]:
    return re.split("( +|\\t)", line)


def _same_word(written: str, wanted: str) -> bool:
    if written == wanted:
        return True
    is_decimal = _DECIMAL.fullmatch(wanted) is not None and _NUMBER.fullmatch(written) is not None
    return is_decimal and _near(float(written), float(wanted))


def _near(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def as_in_json(value: Any) -> Any:
    """What a function returns as JSON would have it: its tuples as lists, however deep."""
    if type(value) in (list, tuple):
        return [as_in_json(part) for part in value]
    return {name: as_in_json(part) for name, part in value.items()} if type(value) is dict else value


def same_value(found: Any, expected: Any) -> bool:
    """Whether a returned value, as JSON has it, is the expected one, but for the last digits of decimals."""
    if type(found) is list and type(expected) is list:
        return len(found) == len(expected) and all(map(same_value, found, expected))
    if type(found) is dict and type(expected) is dict:
        return found.keys() == expected.keys() and all(
            same_value(found[key], expected[key]) for key in expected
        )
    if type(expected) is float and type(found) in (float, int):
        return bool(found == expected) or _near_float(found, expected)
    return bool(found == expected)


def _near_float(found: float, expected: float) -> bool:
    try:
        return _near(float(found), expected)
    except OverflowError:  # an integer beyond what a float holds
        return False
