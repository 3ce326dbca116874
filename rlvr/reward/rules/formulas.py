r"""Formulas of chemistry, such as `H_2O` and `\text{CO}_2`, whose letters are no factors: pure text."""

import re

_ELEMENTS = (
    "He|Li|Be|Ne|Na|Mg|Al|Si|Cl|Ar|Ca|Ti|Cr|Mn|Fe|Co|Ni|Cu|Zn|Br|Ag|Sn|Ba|Pt|Au|Hg|Pb|H|B|C|N|O|F|P|S|K|V|I|U"
)
_FORMULA = re.compile(rf"(?:\(?(?:{_ELEMENTS})(?:\)?[0-9]{{1,3}})?\)?){{1,30}}")
_MARKUP = re.compile(r"\\(?:text|mathrm|ce|mbox|textrm)(?![A-Za-z])|[_{}\s]")
LONGEST = 100  # characters


def same_formula(gold: str, answer: str) -> bool | None:
    """Compare two formulas with a number in the gold answer, None where one of the two is none."""
    if len(gold) > LONGEST or len(answer) > LONGEST:
        return None
    formulas = [_MARKUP.sub("", text) for text in (gold, answer)]
    if not re.search("[A-Z].*[0-9]", formulas[0]) or not re.search("[A-Z].*[A-Z]", formulas[0]):
        return None
    if not all(map(_FORMULA.fullmatch, formulas)):
        return None
    return formulas[0] == formulas[1]
