"""Whether two numbers that math-verify calls equal really are: it rounds to six decimals, whatever their size.

Takes sympy values; sympy is imported when the first pair comes.
"""

from typing import Any

RELATIVE = 1e-5  # beyond, two numbers are apart; 0.333333 and 1/3 are 1e-6 apart
LEAST_DIGITS = 3  # significant digits from which on a decimal counts as a rounded value of an exact one


def numbers_apart(gold: Any, answer: Any) -> bool:
    """Whether both values are numbers, or collections of as many, that differ by more than rounding."""
    from sympy import FiniteSet, Interval, MatrixBase, Tuple

    if isinstance(gold, MatrixBase) and isinstance(answer, MatrixBase):
        return gold.shape == answer.shape and any(map(_apart, gold, answer))
    if isinstance(gold, Interval) and isinstance(answer, Interval):
        return any(map(_apart, gold.args[:2], answer.args[:2]))
    if isinstance(gold, FiniteSet) and isinstance(answer, FiniteSet):
        golds, answers = _by_size(gold.args), _by_size(answer.args)
        return len(golds) == len(answers) and any(map(_apart, golds, answers))
    if isinstance(gold, Tuple) and isinstance(answer, Tuple) and len(gold) == len(answer):
        return any(map(_apart, gold, answer))
    return _apart(gold, answer)


def derivatives_differ(gold: Any, answer: Any) -> bool:
    """Whether one has a derivative of a letter that the other one lacks: worked out, each such derivative is 0."""
    from sympy import Basic, Derivative

    if not (isinstance(gold, Basic) and isinstance(answer, Basic)):
        return False
    return bool(gold.atoms(Derivative) != answer.atoms(Derivative))


def is_list_against_scalar(gold_parsed: list[Any], answer_parsed: list[Any], answer: str) -> bool:
    """Whether an answer lists values where one is expected: math-verify makes {3} of `3,3` and calls it equal to 3."""
    from sympy import Equality, FiniteSet, Set, Tuple

    values = [value.rhs if isinstance(value, Equality) else value for value in gold_parsed]
    gold_is_collection = any(isinstance(value, (Set, Tuple)) for value in values)
    answer_is_list = any(isinstance(value, FiniteSet) for value in answer_parsed)
    return answer_is_list and not gold_is_collection and "," in answer


def roots_equal(gold: Any, answer: Any) -> bool:
    """Whether two expressions with roots or logarithms agree for positive unknowns, as sqrt(1/n) and 1/sqrt(n) do."""
    from sympy import Abs, Expr, Pow, Symbol, log, simplify

    def is_root_of_unknowns(value: Any) -> bool:
        if not isinstance(value, Expr) or not value.free_symbols or value.has(Abs):
            return False
        return any(power.exp.is_Rational and not power.exp.is_Integer for power in value.atoms(Pow)) or any(
            part.free_symbols for part in value.atoms(log)
        )

    if (
        not (is_root_of_unknowns(gold) and is_root_of_unknowns(answer))
        or gold.free_symbols != answer.free_symbols
    ):
        return False
    positive = {symbol: Symbol(f"positive_{symbol}", positive=True) for symbol in gold.free_symbols}
    return bool(simplify((gold - answer).subs(positive)) == 0)


def with_imaginary_unit(value: Any) -> Any:
    """The value with sympy's own i in the place of a symbol of that name, where no other symbol is in it.

    Of an equation that is its right side; of a collection each member.
    """
    from sympy import Eq, Equality, FiniteSet, I, Or, Tuple

    if isinstance(value, Equality):
        return Eq(value.lhs, with_imaginary_unit(value.rhs), evaluate=False)
    if isinstance(value, FiniteSet | Tuple | Or):
        return value.func(*map(with_imaginary_unit, value.args))
    symbols: set[Any] = getattr(value, "free_symbols", set())
    if {str(symbol) for symbol in symbols} != {"i"}:
        return value
    return value.subs(dict.fromkeys(symbols, I))


def _by_size(values: Any) -> list[Any]:
    numbers = [value for value in values if _is_real_number(value)]
    return sorted(numbers, key=_evaluated) if len(numbers) == len(values) else []


def _is_real_number(value: Any) -> bool:
    from sympy import Expr

    return (
        isinstance(value, Expr)
        and not value.free_symbols
        and value.is_real is True
        and value.is_finite is True
    )


def _apart(gold: Any, answer: Any) -> bool:
    if not (_is_real_number(gold) and _is_real_number(answer)):
        return False
    a, b = _evaluated(gold), _evaluated(answer)
    gap, size = abs(a - b), max(abs(a), abs(b))
    if gap <= RELATIVE * size or size == 0:
        return False
    return not any(gap <= _rounding(one, other) for one, other in ((gold, answer), (answer, gold)))


def _evaluated(number: Any) -> Any:
    value = number.evalf(30)
    # sympy found no digit of it: a zero in disguise, such as sin(pi), of which a residue is left.
    return 0 * value if getattr(value, "_prec", 0) == 1 else value


def _rounding(decimal: Any, exact: Any) -> float:
    """Half a unit of a decimal's last place where it may be the rounded other value; else 0."""
    from sympy import Float

    if not isinstance(decimal, Float) or exact.has(Float):
        return 0.0
    text = f"{float(decimal):.15g}"
    digits, _, exponent = text.partition("e")
    whole, _, places = digits.lstrip("-").partition(".")
    if len((whole + places).strip("0")) < LEAST_DIGITS:
        return 0.0
    return 0.5000001 * 10.0 ** (int(exponent or 0) - len(places))
