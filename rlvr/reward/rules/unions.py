r"""Inequalities of one unknown, such as `x < 0 \text{ or } x > 1`, as an interval or a union of them: pure text.

math-verify reads the last of several only, and neither `5 > x > 3` nor what defines a set.
"""

import re
from dataclasses import dataclass

from rlvr.reward.rules.named import split_list

_OR = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*,?\s*or\s*\}|\bor\b|\\lor\b|\\vee\b")
_AND = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*,?\s*and\s*\}|\band\b|\\land\b|\\wedge\b|,")
_RELATION = re.compile(r"(<=|>=|<|>|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![A-Za-z]))")
_UNKNOWN = re.compile(r"[A-Za-z]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_MINUS_SET = re.compile(r"(?<=[)\]}R])\s*(?:-|\\backslash)\s*(?=\\\{)")
_ABSOLUTE = re.compile(
    r"\s*\|\s*([A-Za-z])\s*\|\s*(<=|<|\\(?:leqslant|leq|le|lt)(?![A-Za-z]))\s*([0-9./]+|\\[dt]?frac[0-9{}]+)\s*"
)
_ALL_BUT = re.compile(
    r"(?:\\text\s*\{\s*)?(?:all|every|any) (?:real numbers?|reals?)(?: [a-z])?,? "
    r"(?:except|but|excluding|other than)(?: for)?\s*\}?\s*(?:[a-z]\s*=\s*)?(?P<points>.+)",
    re.I,
)
_NOT_EQUAL = re.compile(r"\s*([A-Za-z])\s*(?:\\neq?(?![A-Za-z])|!=)\s*(.+)")
_POINT = re.compile(r"[-+]?(?:[0-9.]+(?:/[0-9]+)?|\\[dt]?frac\{[0-9]+\}\{[0-9]+\})")
_ANY_REAL = re.compile(r"\s*(?:[A-Za-z]\s*\\in\s*)?\\mathbb\s*\{?R\}?\s*")
_SET = re.compile(
    r"\\\{\s*[A-Za-z]\s*(?:\\in\s*\\(?:mathbb\s*\{?R\}?|R)\s*)?(?:\\mid(?![A-Za-z])|\\?\||:)(.*)\\\}", re.S
)


@dataclass(frozen=True, slots=True)
class _Interval:
    unknown: str
    low: str  # empty: none
    high: str
    closed: tuple[bool, bool]

    @property
    def text(self) -> str:
        brackets = "[" if self.closed[0] else "(", "]" if self.closed[1] else ")"
        low, high = self.low or r"-\infty", self.high or r"\infty"
        return f"{brackets[0]}{low},{high}{brackets[1]}"


def without_points(text: str) -> str | None:
    r"""`\mathbb{R}\setminus\{0,1\}` for `x \ne 0, x \ne 1` and for all reals but these; None for anything else.

    Conditions that bound the unknown give the interval in the place of the reals.
    """
    if "\\" not in text and "!" not in text and "all " not in text.lower():
        return None
    if named := _ALL_BUT.fullmatch(text):
        points = split_list(named["points"].rstrip("}"))
        return _reals_without(points) if all(map(_POINT.fullmatch, points)) else None
    bounds: list[str] = []
    unknowns: set[str] = set()
    points = []
    for part in split_list(text):
        found = _NOT_EQUAL.fullmatch(part)
        if found is not None:
            unknowns.add(found[1])
            points.append(found[2])
        elif points and not bounds and _POINT.fullmatch(part):
            points.append(part)
        else:
            bounds.append(part)
    if not points or len(unknowns) > 1 or not all(map(_POINT.fullmatch, points)):
        return None
    bounds = [bound for bound in bounds if not _ANY_REAL.fullmatch(bound)]
    if not bounds:
        return _reals_without(points)
    interval = _both(",".join(bounds))
    if interval is None or interval.unknown not in unknowns:
        return None
    return rf"{interval.text}\setminus\{{{','.join(points)}\}}"


def _reals_without(points: list[str]) -> str:
    return rf"\mathbb{{R}}\setminus\{{{','.join(points)}\}}"


def same_chain(gold: str, answer: str) -> bool | None:
    """True where one of two chains of inequalities is the other read backwards, `x<y<z` and `z>y>x`; else None."""
    chains = [[part.replace(" ", "") for part in _RELATION.split(text)] for text in (gold, answer)]
    if len(chains[0]) < 5 or len(chains[0]) != len(chains[1]):
        return None
    first, second = (_upward(chain) for chain in chains)
    return True if first is not None and first == second else None


def _upward(chain: list[str]) -> list[str] | None:
    less = ["l" in sign or "<" in sign for sign in chain[1::2]]
    if len(set(less)) > 1:
        return None
    signs = ["<=" if "e" in sign or "=" in sign else "<" for sign in chain[1::2]]
    parts = [part for pair in zip(chain[::2], [*signs, ""], strict=True) for part in pair][:-1]
    return parts if less[0] else parts[::-1]


def set_minus(text: str) -> str:
    r"""`\mathbb{R} - \{1\}` with the sign that is read; other text as it is."""
    return _MINUS_SET.sub(r"\\setminus", text) if "\\{" in text else text


def union_of_intervals(text: str) -> str | None:
    """The interval or union in LaTeX, or None where the text is anything else or one plain inequality."""
    if absolute := _ABSOLUTE.fullmatch(text):
        brackets = "[]" if "e" in absolute[2] or "=" in absolute[2] else "()"
        return f"{brackets[0]}-{absolute[3]},{absolute[3]}{brackets[1]}"
    defined = _SET.fullmatch(text)
    condition = defined[1] if defined else text
    parts = _OR.split(condition)
    plain = len(parts) == 1 and defined is None and len(_AND.split(condition)) == 1
    if plain and ">" not in _COMMAND.sub(lambda command: ">" if "g" in command[0] else "", condition):
        return None  # `x < 1` and `0 < x < 1`, which math-verify reads
    found = [_both(part) for part in parts]
    intervals = [interval for interval in found if interval is not None]
    if len(intervals) < len(found) or len({interval.unknown for interval in intervals}) > 1:
        return None
    if plain and not (intervals[0].low and intervals[0].high):
        return None
    return r"\cup".join(interval.text for interval in intervals)


def _both(text: str) -> _Interval | None:
    """The interval of one inequality, or of two that bound the unknown from either side."""
    pieces = [_interval(piece) for piece in _AND.split(text)]
    if len(pieces) > 2 or pieces[0] is None:
        return None
    first = pieces[0]
    if len(pieces) == 1:
        return first
    second = pieces[1]
    if second is None or second.unknown != first.unknown:
        return None
    if bool(first.low) == bool(second.low) or bool(first.high) == bool(second.high):
        return None
    low, high = (first, second) if first.low else (second, first)
    return _Interval(first.unknown, low.low, high.high, (low.closed[0], high.closed[1]))


def _interval(text: str) -> _Interval | None:
    """That of `x < 1`, `1 > x` or `0 < x < 1`."""
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
        found = _Interval(unknown, low, high, (closed[0], closed[1]))
    elif _UNKNOWN.fullmatch(pieces[0]):
        low, unknown, high = "-", pieces[0], pieces[2]
        found = _Interval(unknown, "", high, (False, closed[0]))
    else:
        low, unknown, high = pieces[0], pieces[2], "-"
        found = _Interval(unknown, low, "", (closed[0], False))
    ends = _COMMAND.sub("", low + high)
    return found if _UNKNOWN.fullmatch(unknown) and not _UNKNOWN.search(ends) and low and high else None
