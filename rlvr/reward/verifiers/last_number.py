"""A verifier for models too small to keep to a format: the last number of a response is its answer.

Use it as `reward.verifier=last_number`. It is lenient by design: a response that lists all
numbers and ends on the right one is right. The gold answer is one number, bare, in a box, behind the last `####` or
with a sign of currency or percent; another one is never met.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from rlvr.reward.extract import find_boxes, joined_boxes

# A minus behind a digit or a bracket takes away; a point behind a letter ends a sentence.
NUMBER = re.compile(r"(?:(?<![\d)\]}])[-−])?(?:\d[\d,]*(?:\.\d+)?|(?<![\w.])\.\d+)")
_GOLD = re.compile(rf"[\s$€£¥\\(]*({NUMBER.pattern})(?:[\s$€£.)]|\\?%)*")


def last_number(gold: str, response: str) -> bool:
    """Whether the last number written in the response equals the gold answer."""
    found = NUMBER.findall(response)
    wanted = _gold(gold)
    return bool(found) and wanted is not None and _value(found[-1]) == wanted


def _gold(text: str) -> Decimal | None:
    text = text.rpartition("####")[2]
    boxes = find_boxes(text)
    text = joined_boxes(text, boxes) if boxes else text
    found = _GOLD.fullmatch(text)
    return _value(found[1] if found else text)


def _value(text: str) -> Decimal | None:
    """The number itself, to its last digit; None where the text is none."""
    try:
        value = Decimal(text.strip().replace(",", "").replace("−", "-"))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
