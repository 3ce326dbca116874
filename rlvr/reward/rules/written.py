"""Answers as they were written: money and angles, of which cleaning leaves the numbers only."""

from rlvr.reward.rules.angles import same_angle_in_degrees
from rlvr.reward.rules.answer import number_value
from rlvr.reward.rules.quantities import currencies_differ, in_cents


def same_as_written(gold: str, answer: str, clean_gold: str, clean_answer: str) -> bool | None:
    """Compare money and angles, of which cleaning leaves the numbers only; None where that does not decide."""
    if gold == clean_gold and answer == clean_answer:
        return None
    angle = same_angle_in_degrees(gold, answer)
    if angle is not None:
        return angle
    units = in_cents(gold, answer)
    if currencies_differ(gold, answer):
        return False
    if units is None:
        return None
    mine, theirs = number_value(clean_gold), number_value(clean_answer)
    return mine is not None and theirs is not None and mine * units[0] == theirs * units[1]
