"""Areas, volumes and rates in other units, such as `0.5 m^2` and `5000 cm^2`: pure text."""

import re
from fractions import Fraction

from rlvr.reward.rules.quantities import PER, UNITS, spelled, without_words

_MEASURED = re.compile(
    r"([0-9]{1,50}(?:\.[0-9]{1,50})?) ?([A-Za-z]+)(?: ?\^ ?\{?([23])\}?)?(?: ?/ ?([A-Za-z]+)(?: ?\^ ?\{?([23])\}?)?)?"
)
_CUBIC_CENTIMETRE = UNITS["cm"][2] ** 3

Dimension = tuple[str, int]  # measure, power


def same_conversion(gold: str, answer: str) -> bool | None:
    """Compare two cleaned amounts with a power or a quotient of units, where they measure the same; else None."""
    found = [_amount(text) for text in (gold, answer)]
    if found[0] is None or found[1] is None or found[0][0] != found[1][0]:
        return None
    return found[0][1] == found[1][1]


def _amount(text: str) -> tuple[list[Dimension], Fraction] | None:
    """Its dimensions and how much it is in the smallest units; None for anything without a power or a quotient."""
    if not text[-1:].isalpha() and text[-1:] not in ("2", "3", "}"):
        return None
    plain = without_words(text)
    number, _, name = plain.partition(" ")
    found = _MEASURED.fullmatch(f"{number} {PER[name]}" if name in PER else plain)
    if found is None or spelled(found[2]) not in UNITS or (found[4] and spelled(found[4]) not in UNITS):
        return None
    top, factor = _dimension(found[2], int(found[3] or 1))
    value = Fraction(found[1]) * factor
    if found[4] is None:
        return ([top], value) if top[1] > 1 else None
    under, divisor = _dimension(found[4], int(found[5] or 1))
    return [top, under], value / divisor


def _dimension(unit: str, power: int) -> tuple[Dimension, int]:
    measure, _, factor = UNITS[spelled(unit)]
    if measure == "volume" and power == 1:  # a millilitre is a cubic centimetre
        return ("metric length", 3), factor * _CUBIC_CENTIMETRE
    return (measure, power), factor**power
