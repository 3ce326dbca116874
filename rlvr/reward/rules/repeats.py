"""Values that a list has more than once, and sets beside tuples, where math-verify makes sets of all: pure text."""

import re
from collections import Counter

from rlvr.reward.rules.answer import integer_literal, number_value
from rlvr.reward.rules.named import split_list
from rlvr.reward.rules.shapes import is_plain_list

_SET = re.compile(r"\\\{([^{}()]*(?:\{[^{}]*\}[^{}()]*)*)\\\}")
_TUPLE = re.compile(r"\(([^()]*)\)")


def repeats_differ(gold: str, answer: str) -> bool:
    """Whether the gold answer is a list that has a value twice, and the answer has not the same values as often."""
    if "," not in gold or integer_literal(gold) is not None or not is_plain_list(gold):
        return False
    values = [_value(part) for part in split_list(gold)]
    if len(set(values)) == len(values):
        return False
    braced = _SET.fullmatch(answer)
    theirs = [_value(part) for part in split_list(braced[1] if braced else answer)]
    plain = all(isinstance(value, tuple) for value in values + theirs)
    return Counter(values) != Counter(theirs) if plain else len(values) != len(theirs)


def set_beside_tuple(gold: str, answer: str) -> bool:
    r"""Whether of two answers one is `\{1,2\}`, a set, and the other `(1,2)`, with an order or an interval."""
    for one, other in ((gold, answer), (answer, gold)):
        braced, bracketed = _SET.fullmatch(one), _TUPLE.fullmatch(other)
        if braced and bracketed and len(split_list(braced[1])) > 1 and len(split_list(bracketed[1])) > 1:
            return True
    return False


def _value(text: str) -> object:
    """Equal for equal numbers: its numerator and denominator; else the text."""
    number = number_value(text)
    return text.replace(" ", "") if number is None else (number.numerator, number.denominator)
