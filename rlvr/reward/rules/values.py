"""Expressions compared by their values, where math-verify would simplify them for seconds or for ever.

Takes sympy values; sympy is imported when the first pair comes.
"""

from math import inf, log10
from typing import Any

from rlvr.reward.rules.sizes import MOST_DIGITS

MOST_TERMS = 100  # of a sum or a product that is worked out
MOST_INTERVALS = 20
_DIGITS = 60  # worked with
_DIGITS_SEEN = 25
_MOST_DIGITS_SEEN = 10_000  # beyond, two are the same where they are written the same
_EQUAL = 1e-50  # below it, two numbers without decimals are the same
_FAR_APART = 1e-3  # beyond it, two do that have decimals
_APART = 1e-6  # beyond it, two expressions differ where they are evaluated
# What unknowns are where expressions are evaluated, first positive as roots and logarithms of them need.
_VALUES = (1.3717, 0.7391, 2.1193, 1.0537, 0.3119, 1.7713, 2.6131, 0.5227)
_PLACES = ((1, 0), (-1, 1), (-1, 3))  # sign, and how far the values are moved on among the unknowns


def too_large(value: Any) -> bool:
    """Whether working a value out makes numbers of more than `MOST_DIGITS` digits, or it has too many intervals."""
    from sympy import Basic, Interval

    if not isinstance(value, Basic):
        return False
    return _digits(value, {}) > MOST_DIGITS or len(value.atoms(Interval)) > MOST_INTERVALS


def worked_out(value: Any) -> Any:
    """The value with its sums and products of a few terms added up and multiplied; others stay."""
    from sympy import Add, Basic, Mul, Product, Sum

    if not isinstance(value, Basic) or not value.has(Sum, Product):
        return value

    def all_terms(term: Any) -> Any:
        if len(term.limits) != 1 or len(term.limits[0]) != 3:
            return term
        index, low, high = term.limits[0]
        if not (low.is_Integer and high.is_Integer and high - low < MOST_TERMS):
            return term
        terms = [term.function.subs(index, place) for place in range(int(low), int(high) + 1)]
        return (Add if isinstance(term, Sum) else Mul)(*terms)

    return value.replace(lambda part: isinstance(part, Sum | Product), all_terms)


def left_open(value: Any) -> bool:
    """Whether a value still holds an integral, a limit, or a sum or product that has not been worked out.

    Of an equation that is its right side.
    """
    from sympy import Basic, Equality, Integral, Limit, Product, Sum

    value = value.rhs if isinstance(value, Equality) else value
    return isinstance(value, Basic) and bool(value.has(Sum, Product, Integral, Limit))


def same_by_value(gold: Any, answer: Any) -> bool | None:
    """Whether two expressions are equal, told by what they are worth; None where that does not settle it.

    Two are the same that agree to 50 digits, with unknowns at three places; those differ that do so at a positive one.
    """
    from sympy import Equality, Expr, Float, Tuple

    if isinstance(answer, Equality) and isinstance(gold, Expr):
        answer = answer.rhs
    if isinstance(gold, Equality) and gold.lhs.is_Symbol and isinstance(answer, Expr):
        gold = gold.rhs
    if isinstance(gold, Tuple) and isinstance(answer, Tuple) and len(gold) == len(answer):
        return False if False in map(same_by_value, gold, answer) else None
    if not (_has_a_value(gold) and _has_a_value(answer)):
        return None
    numbers = _rational(gold), _rational(answer)  # a decimal is none
    if numbers[0] is not None and numbers[1] is not None:
        return bool(numbers[0] == numbers[1])
    unknowns = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if len(unknowns) > len(_VALUES):
        return None
    if gold.has(Float) or answer.has(Float):
        gap = _relative_gap(gold, answer, dict(zip(unknowns, _VALUES, strict=False))) if unknowns else None
        return False if gap is not None and gap > _FAR_APART else None
    gaps = []
    for sign, moved in _PLACES if unknowns else _PLACES[:1]:
        values = [sign * value for value in (*_VALUES[moved:], *_VALUES[:moved])]
        gaps.append(_relative_gap(gold, answer, dict(zip(unknowns, values, strict=False))))
        if gaps[0] is None or gaps[0] > _EQUAL:
            break
    if gaps[0] is not None and gaps[0] > (_APART if unknowns else _EQUAL):
        return False
    if all(gap is not None and gap <= _EQUAL for gap in gaps):
        return _same_to_the_last_digit(gold, answer, dict(zip(unknowns, _VALUES, strict=False)))
    return None


def _same_to_the_last_digit(gold: Any, answer: Any, places: dict[Any, float]) -> bool:
    """Whether two that agree to 50 digits do so in all that their numbers have, unlike x^{2024}+1 and x^{2024}-1."""
    from sympy import Float

    hidden = max(_digits(gold, {}), _digits(answer, {}))
    if hidden < _DIGITS_SEEN:
        return True
    if hidden > _MOST_DIGITS_SEEN:
        return bool(gold.doit() == answer.doit())
    gap = _relative_gap(gold, answer, places, _DIGITS + int(hidden))
    return gap is not None and bool(gap < Float(10) ** -(_DIGITS - 10 + int(hidden)))


def _has_a_value(value: Any) -> bool:
    """Whether a value is an expression with nothing left to be worked out."""
    from sympy import Derivative, Expr, Symbol

    return (
        isinstance(value, Expr)
        and not isinstance(value, Symbol)
        and not (value.has(Derivative) or left_open(value))
    )


def _rational(value: Any) -> Any:
    """The fraction that a value made of fractions is, None for any other."""
    if not all(part.is_Rational for part in value.atoms()):
        return None
    number = value.doit()
    return number if number.is_Rational else None


def _relative_gap(gold: Any, answer: Any, places: dict[Any, float], digits: int = _DIGITS) -> Any:
    """How far two expressions are from one another beside their size; None where one has no value there."""
    try:
        values = [part.evalf(digits, subs=places) for part in (gold, answer)]
        if not all(value.is_number and value.is_finite for value in values):
            return None
        # A zero of which sympy found no digit has a residue in its place.
        one, other = (0 * value if getattr(value, "_prec", 0) == 1 else value for value in values)
        size = max(abs(one), abs(other))
        return abs(one - other) / size if size else 0.0
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return None  # sympy raises on what has no value there


def _digits(value: Any, places: dict[Any, int]) -> float:
    """About how many digits the largest number has that working a value out makes, indices at their `places`."""
    from sympy import Pow, Product, Sum, Tuple, binomial, cosh, exp, factorial, gamma, sinh

    if value.is_Rational:
        return log10(max(abs(value.p), value.q, 1))
    if value in places:
        return log10(max(abs(places[value]), 1))
    if isinstance(value, Sum | Product):
        lasts = {limit[0]: int(limit[2]) for limit in value.limits if len(limit) == 3 and limit[2].is_Integer}
        places = places | lasts
    parts = [_digits(part, places) for part in value.args if not isinstance(part, Tuple)]
    if isinstance(value, Pow | exp | sinh | cosh):
        size = _size(value.args[-1], parts[-1], places)
        base = max(parts[0], 0.0 if value.args[0].is_Rational else 0.4) if isinstance(value, Pow) else 0.4
        return parts[-1] if size is None else max(parts[-1], size * base)
    if isinstance(value, factorial | binomial | gamma):
        top = _size(value.args[0], parts[0], places)
        return (
            sum(parts)
            if top is None
            else max(sum(parts), top * (0.31 if len(parts) > 1 else log10(max(top, 1))))
        )
    return sum(parts)


def _size(value: Any, digits: float, places: dict[Any, int]) -> float | None:
    """How large a number is, endless beyond what `MOST_DIGITS` allows; None where it has unknowns."""
    if value.free_symbols - places.keys():
        return None
    if digits > log10(MOST_DIGITS) + 4:
        return inf
    return abs(complex(value.evalf(5, subs=places)))
