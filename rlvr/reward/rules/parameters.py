r"""Whole-number parameters and residues, such as `n\pi, n \in \mathbb{Z}` and `x \equiv 3 \pmod 7`: pure text."""

import re

_DECLARED = re.compile(
    r"(?<![A-Za-z])([a-z])\s*(?:\\in(?![A-Za-z])|∈)\s*(?:\\mathbb\s*\{?\s*[NZ]|\\Z|[ZN](?![A-Za-z])|[ℤℕ])"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"(?<![A-Za-z\\])[a-z](?![A-Za-z])|(?<=[0-9])[a-z](?![A-Za-z])")
_WITH_VALUES = frozenset("ie")
_RESIDUE = re.compile(
    r"(?:([a-z])\s*(?:\\equiv\s*|=\s*))?([+-]?[0-9]{1,50})\s*\(?\s*"
    r"(?:\\pmod|\\p?mod|\\bmod|\(?\s*(?:\\(?:text|mathrm)\s*\{\s*)?mod)\s*\}?\s*\{?\s*([1-9][0-9]{0,49})\s*\}?\s*\)?"
)


def with_parameter_of(gold: str, answer: str, clean_gold: str, clean_answer: str) -> str:
    """The cleaned answer with the gold answer's name of a parameter that either declares to be a whole number.

    Only where this letter is the one in which the two differ: another name in the text of the problem stays.
    """
    if "∈" not in gold + answer and "\\in" not in gold + answer:
        return clean_answer
    declared = set(_DECLARED.findall(gold)) | set(_DECLARED.findall(answer))
    values = (_COMMAND.sub(" ", text).rpartition("=")[2] for text in (clean_gold, clean_answer))
    letters = [set(_LETTER.findall(value)) - _WITH_VALUES for value in values]
    mine, theirs = letters[0] - letters[1], letters[1] - letters[0]
    if len(mine) != 1 or len(theirs) != 1 or not (mine | theirs) & declared:
        return clean_answer
    old, new = theirs.pop(), mine.pop()
    piece = re.compile(rf"\\[A-Za-z]+|(?<![A-Za-z]){old}(?![A-Za-z])")
    return piece.sub(lambda found: new if found.group() == old else found.group(), clean_answer)


def same_residue(gold: str, answer: str) -> bool | None:
    """Compare two residues, `3 \\pmod 7` and `x \\equiv 10 \\pmod 7`; None where one of the two is none."""
    if "mod" not in gold or "mod" not in answer:
        return None
    found = [_RESIDUE.fullmatch(text) for text in (gold, answer)]
    if found[0] is None or found[1] is None:
        return None
    names = {match[1] for match in found if match is not None and match[1]}
    moduli = {int(match[3]) for match in found if match is not None}
    values = [int(match[2]) for match in found if match is not None]
    return len(names) < 2 and len(moduli) == 1 and (values[0] - values[1]) % moduli.pop() == 0
