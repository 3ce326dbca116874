r"""Letters that stand for values, where math-verify folds their case, reads words into them or units: pure text.

It takes `R - r` for 0, and `4t` for 4 tons, the same as 4.
"""

import re

from rlvr.reward.rules.quantities import is_unit

# Words and commands as wholes, then letters one by one.
_PIECE = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|"
    r"(?<![A-Za-z])(?:[A-Z][a-z]{2,}|[a-z]{3,}|or)(?![A-Za-z])|[A-Za-z]"
)
_GREEK = re.compile(r"\\(?:Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega)")
# Names that hardly any answer has, for those that are told apart.
_FRESH = (
    r"\zeta",
    r"\eta",
    r"\iota",
    r"\kappa",
    r"\upsilon",
    r"\chi",
    r"\nu",
    r"\xi",
    r"\psi",
    r"\tau",
    r"\rho",
)
_FACTOR = (
    r"(?:[0-9.]|\\[dt]?frac(?:\{[^{}]*\}\{[^{}]*\}|[0-9]{2})|\\sqrt(?:\{[^{}]*\}|[0-9])|\\pi(?![A-Za-z]))"
)
_TIMES = r"\s*(?:\\cdot|\\times|\*)?\s*"
_PRODUCT = re.compile(
    rf"([+-]?)({_FACTOR}(?:\s*{_FACTOR})*)(?:{_TIMES}([A-Za-z](?:{_TIMES}[A-Za-z]){{0,3}}))"
)
_ORDINAL = re.compile(r".*(?:1st|2nd|3rd|[0-9]th)", re.S | re.I)
_NUMERIC = re.compile(
    r"\\(?:[dtc]?frac|sqrt|times|cdot|div|pi|binom|left|right|circ|log|ln|lg|a(?:rc)?(?:sin|cos|tan)|sin|cos|tan|cot|sec|csc|"
    r"exp|pm|mp|infty)(?![A-Za-z])"
)
_ANGLE = re.compile(r"(?:\\angle\s*)?([A-Z]{3})")
_FUNCTION_OF = re.compile(r"([A-Za-z])\s*\(\s*([a-z])\s*\)\s*=")
_PRIMED = re.compile(r"[A-Za-z]\s*(?:\^\s*\{?\s*)?'+")
_WITH_VALUES = frozenset("ie")


def told_apart(gold: str, answer: str) -> tuple[str, str]:
    """Both texts with names of their own for capital letters that stand beside their small ones in either.

    Where only one of the two occurs, students and gold answers write `x` and `X` for the same.
    """
    seen = [set(_PIECE.findall(text)) for text in (gold, answer)]
    both = sorted(
        {
            piece
            for pieces in seen
            for piece in pieces
            if len(piece) == 1 and piece.isupper() and piece.lower() in pieces
        }
        | {piece for pieces in seen for piece in pieces if _is_capital_beside_small(piece, seen)}
    )
    free = [name for name in _FRESH if not any(name in pieces for pieces in seen)]
    names = dict(zip(both, free, strict=False))

    def renamed(found: re.Match[str]) -> str:
        name = names.get(found.group())
        if name is None:
            return found.group()
        raised = found.string[: found.start()].rstrip()[-1:] in ("^", "_")
        return f"{{{name}}}" if raised else f"{name} "

    return _PIECE.sub(renamed, gold), _PIECE.sub(renamed, answer)


def _is_capital_beside_small(piece: str, seen: list[set[str]]) -> bool:
    return _GREEK.fullmatch(piece) is not None and any(piece.lower() in pieces for pieces in seen)


def with_argument_of(gold: str, answer: str) -> str:
    """The answer with the gold answer's letter where both define the same function: `f(n)=n+1` beside `f(x)=x+1`."""
    golds, answers = _FUNCTION_OF.match(gold), _FUNCTION_OF.match(answer)
    if golds is None or answers is None or golds[1] != answers[1] or golds[2] == answers[2]:
        return answer
    old, new = answers[2], golds[2]
    if new in _PIECE.findall(answer) or new in _WITH_VALUES:
        return answer
    return _PIECE.sub(lambda found: new if found.group() == old else found.group(), answer)


def primes_differ(gold: str, answer: str) -> bool:
    """Whether one of two answers has a derivative or another primed letter that the other one has not.

    What one of the two is the value of, as in `y' = 2x`, does not count.
    """
    if "'" not in gold and "'" not in answer:
        return False
    texts = (
        (gold, answer)
        if ("=" in gold) == ("=" in answer)
        else (text.rpartition("=")[2] for text in (gold, answer))
    )
    first, second = (set(_PRIMED.findall(text)) for text in texts)
    return first != second


def explicit_product(text: str, *, of_unknowns: bool = False) -> str:
    r"""`2ab` as `a \cdot b \cdot (2)`, where the letters are no units or known to be unknowns; other text as it is.

    The number comes last because math-verify looks for units at the end.
    """
    found = _PRODUCT.fullmatch(text)
    if found is None or _ORDINAL.fullmatch(text):
        return text
    letters = "".join(re.findall("[A-Za-z]", re.sub(r"\\(?:cdot|times)", "", found[3])))
    if _WITH_VALUES & set(letters) or (is_unit(letters) and not (of_unknowns and len(letters) == 1)):
        return text
    return r" \cdot ".join([*letters, f"({found[1]}{found[2].strip()})"])


def has_no_letters(text: str) -> bool:
    """Whether a text computes with numbers only."""
    return any(map(str.isdigit, text)) and re.search(r"[A-Za-z]", _NUMERIC.sub("", text)) is None


def same_angle(gold: str, answer: str) -> bool | None:
    r"""Whether `\angle ABC` is the answer's angle, from either side; None where one of the two is no angle."""
    found = [_ANGLE.fullmatch(text) for text in (gold, answer)]
    if not gold.startswith("\\angle") or None in found:
        return None
    first, second = (angle[1] for angle in found if angle is not None)
    return second in (first, first[::-1])
