r"""Letters that stand for values, where math-verify folds their case, reads words into them or units: pure text.

It takes `R - r` for 0, and `4t` for 4 tons, the same as 4.
"""

import re

from rlvr.reward.quantities import is_unit

_PIECE = re.compile(r"\\(?:text|textbf|textrm|mathrm|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z]")
_GREEK = re.compile(r"\\(Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega)(?![A-Za-z])")
_GLUED = re.compile(r"((?:.*[0-9}])?)([A-Za-z]{1,3})", re.S)
_SPACED = re.compile(r"(.*[0-9}])\s+([A-Za-z])", re.S)
_ORDINAL = re.compile(r".*(?:1st|2nd|3rd|[0-9]th)", re.S | re.I)
_COMMAND = re.compile(r"\\(?!text|mathrm|mbox)[A-Za-z]+")
_ANGLE = re.compile(r"(?:\\angle\s*)?([A-Z]{3})")
_NOT_UNKNOWN = frozenset("ie")  # which have values


def told_apart(gold: str, answer: str) -> tuple[str, str]:
    """Both texts with names of their own for capital letters that stand beside their small ones in either.

    Where only one of the two occurs, students and gold answers write `x` and `X` for the same.
    """
    seen = [{piece for piece in _PIECE.findall(text) if len(piece) == 1} for text in (gold, answer)]
    both = {
        letter for letters in seen for letter in letters if letter.isupper() and letter.lower() in letters
    }

    def renamed(found: re.Match[str]) -> str:
        piece = found.group()
        if piece in both:
            return f"{piece.lower()}_{{9}}"
        greek = _GREEK.fullmatch(piece)
        return rf"\{greek[1].lower()}_{{9}}" if greek else piece

    return _PIECE.sub(renamed, gold), _PIECE.sub(renamed, answer)


def explicit_product(text: str, *, of_unknowns: bool = False) -> str:
    r"""`2ab` as `2 \cdot a \cdot b`, where the letters are no units or known to be unknowns; other text as it is."""
    found = _GLUED.fullmatch(text) or _SPACED.fullmatch(text)
    if found is None or not found[1] or _ORDINAL.fullmatch(text) or (is_unit(found[2]) and not of_unknowns):
        return text
    head, letters = found[1].strip(), found[2]
    if _NOT_UNKNOWN & set(letters) or head.count("{") != head.count("}") or "," in head or "text" in head:
        return text
    return r" \cdot ".join([head, *letters])


def has_no_letters(text: str) -> bool:
    """Whether a text is numbers and commands only."""
    return bool(text.strip()) and re.search("[A-Za-z]", _COMMAND.sub("", text)) is None


def same_angle(gold: str, answer: str) -> bool | None:
    r"""Whether `\angle ABC` is the answer's angle, from either side; None where one of the two is no angle."""
    found = [_ANGLE.fullmatch(text) for text in (gold, answer)]
    if not gold.startswith("\\angle") or None in found:
        return None
    first, second = (angle[1] for angle in found if angle is not None)
    return second in (first, first[::-1])
