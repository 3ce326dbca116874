"""Values of named unknowns, such as `p=2, q=3`: pure text.

math-verify compares them as a set of values, so that it takes `3, 2` for `p=2, q=3`.
"""

import re

_INDEX = r"(?:_(?:\{[A-Za-z0-9]+\}|[A-Za-z0-9]+))?"
_ASSIGNMENT = re.compile(rf"\s*(\\?[A-Za-z][A-Za-z0-9]*{_INDEX}'{{0,3}})\s*:?=([^=<>]+)")
_DERIVATIVE = re.compile(r"\s*\\[dt]?frac\s*\{\s*d([a-zA-Z])\s*\}\s*\{\s*d[a-z]\s*\}\s*=")
_UNKNOWN_LAST = re.compile(r"([^A-Za-z=<>!]+?)\s*=\s*([A-Za-z])")
_NAME = re.compile(rf"\\?[A-Za-z][A-Za-z0-9]*{_INDEX}")
_TOGETHER = re.compile(r"\s*\(([^()=]+)\)\s*=\s*\(([^=<>]+)\)\s*")
_COMMAND = re.compile(r"\\(?:[dtc]?frac|sqrt|cdot|times|left|right)(?![A-Za-z])")
_COMPUTES = re.compile(r"[0-9+\-*/^]|\\[dtc]?frac|\\sqrt")
_AND = re.compile(r"\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}|\b(?:and|or)\b|;")
_OPENING, _CLOSING = "([{", ")]}"


def split_list(text: str) -> list[str]:
    """The parts of a list between its outermost commas and "and"s, without its brackets."""
    text = _AND.sub(",", text)
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char in _OPENING) - (char in _CLOSING)
        if char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts = [part.strip() for part in [*parts, text[start:]]]
    return [part for part in parts if part]


def assignments(text: str) -> dict[str, str] | None:
    """{name: value} where every part of a list is an assignment and no name comes twice, else None."""
    together = _TOGETHER.fullmatch(text)
    if together is not None:  # (x, y) = (1, 2)
        names, values = split_list(together[1]), split_list(together[2])
        if len(names) == len(values) and all(_NAME.fullmatch(name) for name in names):
            return dict(zip(names, values, strict=True)) if len(set(names)) == len(names) else None
    parts = split_list(text)
    found = [_ASSIGNMENT.fullmatch(part) for part in parts]
    if not found or None in found:
        return None
    pairs = {part[1]: part[2].strip() for part in found if part is not None}
    return pairs if len(pairs) == len(parts) else None


def value_of_equation(text: str) -> str | None:
    """The right side of a single `name = value`, which may be a list, or None where the text is nothing of the kind."""
    found = _ASSIGNMENT.fullmatch(text)
    return None if found is None else found[2].strip()


def indexed_values(text: str) -> str:
    """The values of `x_1 = 2, x_2 = 3`, the solutions of one unknown; other text as it is."""
    named = assignments(text) if "_" in text and "=" in text else None
    bases = {name.partition("_")[0] for name in named or ()}
    return ", ".join(named.values()) if named and len(named) > 1 and len(bases) == 1 else text


def unknown_first(text: str) -> str:
    """`3 = x` as `x = 3`, a derivative that is set equal to something as `y'`; other text as it is."""
    text = _DERIVATIVE.sub(r"\1' =", text)
    found = _UNKNOWN_LAST.fullmatch(text)
    return f"{found[2]} = {found[1]}" if found else text


def solved_for_another(left: str) -> bool:
    """Whether the left side of an equation computes with one unknown, as `2x`, `x^2` or `\\sqrt{x}` does."""
    plain = _COMMAND.sub("", left)
    letters = set(re.findall("[A-Za-z]", plain))
    if len(letters) != 1 or not letters.pop().islower() or re.search(r"[(_'\\]", plain):
        return False  # of several, and of functions, indices and named figures, nothing can be said
    return _COMPUTES.search(left) is not None


def without_parentheses(text: str) -> str:
    """The inside of a list in parentheses."""
    inner = text.strip()
    return inner[1:-1] if inner.startswith("(") and inner.endswith(")") else inner
