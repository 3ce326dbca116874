"""The percent sign behind a number, and words for it: pure text."""

import re

_PERCENT = re.compile(r"\s*(?:\\?%|\\?text\s*\{\s*(?:\\?%|percent)\s*\}|\bpercent|\bper cent)\s*$", re.I)
_WORD = re.compile(r"(?<=[0-9}])\s*(?:\\text\s*\{\s*)?\b(?:pct|percentage(?: points?)?)\s*\}?$")


def with_percent_sign(text: str) -> str:
    r"""`28 pct` and `28 percentage points` as `28\%`; other text as it is."""
    return _WORD.sub(r"\\%", text)


def split_percent(answer: str) -> tuple[str, bool]:
    """The cleaned answer without its percent sign, and whether there was one."""
    body = _PERCENT.sub("", answer)
    return (body, True) if body and body != answer else (answer, False)
