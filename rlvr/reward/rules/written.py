"""Answers as they were written: money and angles, of which cleaning leaves the numbers only."""

from rlvr.reward.rules.angles import is_in_degrees, same_angle_in_degrees
from rlvr.reward.rules.answer import number_value
from rlvr.reward.rules.quantities import (
    currencies_differ,
    currency_of,
    in_cents,
    same_quantity,
    unit_of,
    units_differ,
)


def same_as_written(gold: str, answer: str, clean_gold: str, clean_answer: str) -> bool | None:
    """Compare money and angles, of which cleaning leaves the numbers only; None where that does not decide."""
    if gold == clean_gold and answer == clean_answer:
        return None
    angle = same_angle_in_degrees(gold, answer)
    if angle is not None:
        return angle
    units = in_cents(gold, answer)
    if currencies_differ(gold, answer) or _of_other_kinds(gold, answer):
        return False
    if units is None:
        return None
    mine, theirs = number_value(clean_gold), number_value(clean_answer)
    return mine is not None and theirs is not None and mine * units[0] == theirs * units[1]


def _of_other_kinds(gold: str, answer: str) -> bool:
    """Whether one is money or an angle in degrees and the other has a unit, or only one of the two is in pounds."""
    in_pounds = "pound" in gold or "pound" in answer
    for one, other in ((gold, answer), (answer, gold)):
        unit = unit_of(other)
        if unit is None or unit.startswith("degrees"):
            continue
        if is_in_degrees(one) or (currency_of(one) and not currency_of(other) and "pound" not in other):
            return True
    return in_pounds and not same_quantity(gold, answer) and units_differ(gold, answer)
