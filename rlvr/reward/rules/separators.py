"""Numbers whose commas could also part a list, told by the gold answer that they are compared with: pure text."""

import re

_DECIMAL_COMMA = re.compile(r"([+-]?[0-9]{1,50})(,|\{,\})([0-9]{1,50})")
_POINTS_AND_COMMA = re.compile(r"([+-]?[0-9]{1,3}(?:\.[0-9]{3}){1,20}),([0-9]{1,50})")
_INDIAN = re.compile(r"[+-]?[0-9]{1,2}(?:,[0-9]{2}){1,20},[0-9]{3}(?:\.[0-9]{1,50})?")


def with_points(answer: str, *, measured: bool) -> str | None:
    """A number with a point where it has a decimal comma (`2,75`, `1.234,56`) or Indian thousands (`12,34,567`).

    None where it has neither, or is as well two values as `1,2` is: then there have to be braces around the comma, or
    it is `measured` by a unit behind it. `1,234` is a thousand. This is for a gold answer that is one number only.
    """
    if "," not in answer:
        return None
    if found := _POINTS_AND_COMMA.fullmatch(answer):
        return f"{found[1].replace('.', '')}.{found[2]}"
    if _INDIAN.fullmatch(answer):
        return answer.replace(",", "")
    found = _DECIMAL_COMMA.fullmatch(answer)
    if found is None:
        return None
    whole, comma, places = found.groups()
    if (len(places) == 3 and whole.lstrip("+-") != "0") or not places.strip("0"):
        return None
    return f"{whole}.{places}" if measured or len(places) > 1 or comma != "," else None
