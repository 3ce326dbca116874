r"""What math-verify's parser would work out, or try readings of, for seconds or for ever: pure text.

It multiplies out numbers in matrices, tuples and intervals as it reads them, and determinants of letters too; on chains
such as `a^a^a^a` it takes twice as long with each sign.
"""

import re
from math import lgamma, log, log10

MOST_DIGITS = 100_000  # of a number that an expression makes; `5^{5^{5^5}}` is never worked out
MOST_ENTRIES = 9  # of a determinant with letters
MOST_BARS = 16
_DIGIT_POWER = re.compile(r"[0-9]{1,30}[\s)}]*(?:(?:\^|\*\*)[\s({+-]*[0-9]{1,30}\s*)+")
_FACTORIAL = re.compile(r"([0-9]{1,30})(?:\s*\^\s*\{?\s*([0-9]{1,30}))?[\s)}]*!")
_CHAIN = re.compile(
    r"(?:[\^_]\s*\\?[0-9A-Za-z]+\s*){9}|(?:[0-9A-Za-z]!){20}|"
    r"(?:\\(?:a(?:rc)?(?:sin|cos|tan)|sin|cos|tan|cot|sec|csc|ln|log|exp)(?![A-Za-z])\s*){9}"
)
_OF_MATRICES = re.compile(
    r"\\operatorname\s*\{\s*(?:zeros|ones|eye|rank|rref|nullspace|norm|eig[a-z]*|diagonalize|svd|SVD|ortho?[a-z]*)\s*\}"
)
# Of these the determinant is worked out, of a power the inverse.
_DETERMINANT = re.compile(
    r"\\begin\{vmatrix\}(.*?)\\end\{vmatrix\}|\\det\s*\(?\s*\\begin\{[pb]matrix\}(.*?)\\end|"
    r"\\begin\{[pb]matrix\}((?:(?!\\end).)*)\\end\{[pb]matrix\}\s*\^",
    re.S,
)
_COMMAND = re.compile(r"\\[A-Za-z]+")


def takes_too_long(text: str) -> bool:
    """Whether a cleaned answer is not to be parsed: what it makes is too large, or its readings are too many."""
    if any(map(_is_endless, _DIGIT_POWER.findall(text))):
        return True
    if any(_factorial_digits(found) > MOST_DIGITS for found in _FACTORIAL.finditer(text)):
        return True
    if _CHAIN.search(text) or text.count("|") > MOST_BARS or _OF_MATRICES.search(text):
        return True
    return any(_is_wide(found[found.lastindex or 0]) for found in _DETERMINANT.finditer(text))


def _is_endless(tower: str) -> bool:
    """Whether a power of powers of whole numbers, read from the right, has too many digits."""
    *bases, value = (int(part) for part in re.findall("[0-9]+", tower))
    for base in reversed(bases):
        if base < 2:
            value = base
        elif value > MOST_DIGITS / log10(base):
            return True
        else:
            value = base**value
    return False


def _factorial_digits(found: re.Match[str]) -> float:
    digits = log10(int(found[1]) or 1) * int(found[2] or 1)
    if digits > log10(MOST_DIGITS):
        return float("inf")
    return lgamma(10**digits + 1) / log(10)


def _is_wide(rows: str) -> bool:
    letters = re.search("[A-Za-z]", _COMMAND.sub("", rows)) is not None
    return letters and rows.count("&") + rows.count(r"\\") + 1 > MOST_ENTRIES
