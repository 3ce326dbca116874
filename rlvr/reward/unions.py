r"""Inequalities of one unknown joined by "or", such as `x < 0 \text{ or } x > 1`, as a union of intervals: pure text.

math-verify reads the last of them only.
"""

import re

_OR = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*,?\s*or\s*\}|\bor\b|\\lor\b|\\vee\b")
_RELATION = re.compile(r"(<=|>=|<|>|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![A-Za-z]))")
_UNKNOWN = re.compile(r"[A-Za-z]")
_COMMAND = re.compile(r"\\[A-Za-z]+")


def union_of_intervals(text: str) -> str | None:
    """The union in LaTeX, or None where the text is anything but two or more such inequalities."""
    parts = _OR.split(text)
    found = [_interval(part) for part in parts] if len(parts) > 1 else []
    intervals = [pair for pair in found if pair is not None]
    if not found or len(intervals) < len(found) or len({unknown for unknown, _ in intervals}) > 1:
        return None
    return r"\cup".join(interval for _, interval in intervals)


def _interval(text: str) -> tuple[str, str] | None:
    """(unknown, interval) of `x < 1`, `1 > x` or `0 < x < 1`."""
    pieces = [piece.strip() for piece in _RELATION.split(text)]
    if len(pieces) not in (3, 5):
        return None
    less = ["l" in sign or "<" in sign for sign in pieces[1::2]]
    if len(set(less)) > 1:
        return None
    if not less[0]:
        pieces = pieces[::-1]
    closed = ["e" in sign or "=" in sign for sign in pieces[1::2]]
    if len(pieces) == 5:
        low, unknown, high = pieces[::2]
        brackets = "[" if closed[0] else "(", "]" if closed[1] else ")"
    elif _UNKNOWN.fullmatch(pieces[0]):
        low, unknown, high = r"-\infty", pieces[0], pieces[2]
        brackets = "(", "]" if closed[0] else ")"
    else:
        low, unknown, high = pieces[0], pieces[2], r"\infty"
        brackets = "[" if closed[0] else "(", ")"
    ends = _COMMAND.sub("", low + high)
    if not _UNKNOWN.fullmatch(unknown) or _UNKNOWN.search(ends) or not low or not high:
        return None
    return unknown, f"{brackets[0]}{low},{high}{brackets[1]}"
