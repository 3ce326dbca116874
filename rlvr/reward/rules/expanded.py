r"""What stands for several values or for a number that is counted, written out: `\pm` and binomials; pure text."""

import re
from math import comb, perm

from rlvr.reward.rules.named import split_list

_SIGNS = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_ONE_UNKNOWN = re.compile(r"[a-z]\s*=\s*(?=[0-9\\])(?!.*[a-z]$)")  # what it equals is compared by itself
_N = r"(\{\s*[0-9]{1,3}\s*\}|[0-9]{1,3})"
# `10C5`, `{}_{10}C_5`, `^{10}C_5` and, with the upper number behind, `C_{10}^5`.
_CHOSEN = re.compile(
    rf"(?<![0-9A-Za-z.}}])(?:\{{\s*\}})?\s*[_^]?\s*{_N}\s*([CP])\s*_?\s*{_N}(?![0-9A-Za-z._^!])"
)
_CALLED = re.compile(
    r"(?:n?Cr?|C|(?:\\?text)?\{?comb\}?|\\?binom)\s*\(\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)"
)
_CHOSEN_FROM = re.compile(
    rf"(?<![0-9A-Za-z\\])([CPA])_{_N}\s*\^\s*{_N}|(?<![0-9A-Za-z\\])([CPA])\^{_N}\s*_\s*{_N}"
)


def both_signs(text: str) -> str:
    r"""`\frac{3\pm\sqrt5}{2}` as the two values with a comma between them; other text as it is."""
    if "\\pm" not in text or _ONE_UNKNOWN.match(text):
        return text
    braced = text.startswith("\\{") and text.endswith("\\}")
    parts = []
    for part in split_list(text[2:-2] if braced else text):
        # Of two signs one cannot tell whether they go together.
        once = _SIGNS.findall(part).count("pm") == 1
        parts += [_signed(part, up) for up in (True, False)] if once else [part]
    return rf"\{{{', '.join(parts)}\}}" if braced else ", ".join(parts)


def counted_out(text: str) -> str:
    """Numbers of combinations (C) and arrangements (P, A) in schools' notation as numbers."""
    if "C" not in text and "P" not in text and "A_" not in text and "A^" not in text:
        return text
    text = _CHOSEN.sub(lambda found: _number(found[2], found[1], found[3]), text)
    return _CHOSEN_FROM.sub(
        lambda found: (
            _number(found[1], found[2], found[3]) if found[1] else _number(found[4], found[6], found[5])
        ),
        text,
    )


def called_choice(text: str) -> int | None:
    """The number of combinations that `C(10, 5)` or `nCr(10, 5)` stands for, None for anything else."""
    found = _CALLED.fullmatch(text)
    return None if found is None else comb(int(found[1]), int(found[2]))


def _signed(text: str, up: bool) -> str:
    return _SIGNS.sub(lambda found: "+" if (found[1] == "pm") == up else "-", text)


def _number(kind: str, n: str, k: str) -> str:
    top, bottom = (int(number.strip("{} ")) for number in (n, k))
    return f"({(comb if kind == 'C' else perm)(top, bottom)})"
