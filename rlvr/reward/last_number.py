"""A verifier for models too small to keep to a format: the last number of a response is its answer.

Use it as `reward.verifier=last_number`. It is lenient by design: a response that lists all
numbers and ends on the right one is right.
"""

from __future__ import annotations

import re

NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?")


def last_number(gold: str, response: str) -> bool:
    """Whether the last number written in the response equals the gold answer."""
    found = NUMBER.findall(response)
    return bool(found) and _value(found[-1]) == _value(gold)


def _value(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "").replace("−", "-"))
    except ValueError:  # a gold answer that is no number is never met
        return None
