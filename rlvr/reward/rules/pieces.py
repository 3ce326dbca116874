r"""Functions in pieces, `\begin{cases} x & x \ge 0 \\ -x & x < 0 \end{cases}`: which value stands where; pure text."""

import re

_CASES = re.compile(r"([^{}\\]*=)?\s*\\begin\{cases\}(.*)\\end\{cases\}\s*", re.S)
_WRAPPED = re.compile(r"\\(?:text|textrm|mathrm|mbox)\s*\{([^{}]*)\}")
_LEADING = re.compile(r"^(?:,|if|when|for|where|\s)+")
_FILLING = re.compile(r"\b(?:is|an|a|as|integer|number)\b|[.,;\s]")
_OTHERWISE = re.compile(r"otherwise|else|inallothercases")
_SIGNS = (
    (r"\geqslant", r"\ge "),
    (r"\leqslant", r"\le "),
    (r"\geq", r"\ge "),
    (r"\leq", r"\le "),
    (r"\neq", r"\ne "),
)


def pieces(text: str) -> dict[str, str] | None:
    """{condition: value} of a function in pieces without spaces and filling words, None for anything else."""
    found = _CASES.fullmatch(text)
    if found is None:
        return None
    rows = [row for row in re.split(r"\\\\", found[2]) if row.strip()]
    parts = [row.split("&") for row in rows]
    if len(parts) < 2 or any(len(part) != 2 for part in parts):
        return None
    values = {_condition(condition): value.strip().rstrip(",").strip() for value, condition in parts}
    return values if len(values) == len(parts) else None


def _condition(text: str) -> str:
    plain = _LEADING.sub("", _WRAPPED.sub(r" \1 ", text))
    for written, sign in _SIGNS:
        plain = plain.replace(written, sign)
    plain = _FILLING.sub("", plain)
    return "otherwise" if _OTHERWISE.fullmatch(plain) else plain
