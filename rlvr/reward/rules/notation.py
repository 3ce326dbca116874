r"""Notations of one value that math-verify misreads, written as LaTeX that it reads: pure text to text.

`plain_numbers` belongs to the cleaning of every answer, `for_algebra` to what only math-verify sees.
"""

import re
from fractions import Fraction

from rlvr.reward.rules.expanded import both_signs, counted_out
from rlvr.reward.rules.letters import has_no_letters
from rlvr.reward.rules.markup import WORDS
from rlvr.reward.rules.products import polar_form, with_products
from rlvr.reward.rules.shapes import turned_inward
from rlvr.reward.rules.unions import set_minus, union_of_intervals, without_points

_CURRENCY_SIGN = (
    r"(?:[€£¥₹₽₩₪¢₺₫₴₱₦]|"
    rf"{WORDS}\s*\{{\s*(?:[€£¥₹₽₩₪¢₺₫₴₱₦]|\\\$)\s*\}}|(?:US|A|C|HK|NZ|S)\\?\$|"
    r"(?:USD|EUR|GBP|JPY|CNY|INR|CHF|CAD|AUD|NZD|HKD|SGD|KRW)(?![A-Za-z])|Rs(?![A-Za-z])\.?|\\\$|"
    r"\\(?:euro|pounds|texteuro|textsterling|textyen|yen|cent|textcent)(?![A-Za-z])(?:\{\})?)"
)
_MONEY_BEFORE = re.compile(rf"^([+-]?)\s*{_CURRENCY_SIGN}\s*(?=[0-9.])")
_MONEY_AFTER = re.compile(rf"(?<=[0-9])\s*{_CURRENCY_SIGN}$")
_TEXT_COMMA = re.compile(
    r"(?<=[0-9])(?:\\(?:text|mathrm)\s*\{\s*,\s*\}|\{(?:\\[,;: ]| )\}|~|')(?=[0-9]{3}(?![0-9]))"
)
# A number begins where nothing before it can belong to it: at the start or after a separator.
_START = r"(?<![0-9A-Za-z.^/_)}])(?<![0-9A-Za-z.^/)}] )"
_SPACED = re.compile(rf"{_START}[0-9]{{1,3}}(?: [0-9]{{3}}){{1,30}}(?![0-9])(?! [0-9])(?!\s*/)")
_WHOLE = re.compile(r"(?<![0-9.])([0-9]{1,100})\.0{1,100}(?![0-9.])")
_MIXED = re.compile(rf"{_START}([0-9]{{1,30}}) +([0-9]{{1,30}}) ?/ ?([0-9]{{1,30}})(?![0-9/^])")
_SCIENTIFIC = re.compile(
    r"(?<![0-9A-Za-z.\\])([0-9]{1,100})(?:\.([0-9]{0,100}))?"
    r"(?:[eE]([+-]?[0-9]{1,4})(?![0-9A-Za-z.])|"
    r"\s*(?:\\times|\\cdot|\*|[xX])\s*10\s*(?:\^|\*\*)\s*(?:\{\s*([+-]?[0-9]{1,4})\s*\}|([+-]?[0-9]{1,4})(?![0-9])))"
)
_DEGREES = re.compile(r"([0-9]{1,50}(?:\.[0-9]{1,50})?)\s*\^\s*\{?\s*\\circ(?![A-Za-z])\s*\}?")
TRIGONOMETRY = re.compile(r"(?:sin|cos|tan|cot|sec|csc|(?<![a-z])cis)(?![a-z])")
_MEMBER = re.compile(r"^[A-Za-z]\s*\\in\s*(?=[\[(\]]|\\\{|\\mathbb)")
_DECIMAL_POWER = re.compile(r"\^\s*([0-9]{0,50}\.[0-9]{1,50})(?![0-9.])")
_LOGARITHMS = (
    (re.compile(r"\\lg(?![A-Za-z])"), r"\\log_{10}"),
    (re.compile(r"\\log_\{?e\}?(?![A-Za-z])"), r"\\ln "),
)
_SIGNED_POWER = re.compile(r"\^\s*([+-][0-9]+)")
_POWER = re.compile(r"(?<=[0-9A-Za-z)}])\s*\*\*\s*(?=[0-9A-Za-z({+-])")
_PLAIN_FUNCTION = re.compile(
    r"(?<![A-Za-z\\])(?:(sin|cos|tan|cot|sec|csc|ln|log|sinh|cosh|tanh)|a(?:rc)?(sin|cos|tan))(?=\(|\|| [0-9A-Za-z\\])|"
    r"(?<![A-Za-z\\])(log)(?=_)"
)
_BASE_BEHIND = re.compile(r"(?<![A-Za-z\\])log([0-9]{1,2})(?=\()")
_NEGATIVE_ROOT = re.compile(r"\\sqrt\s*\[\s*([3579])\s*\]\s*\{\s*-\s*([0-9A-Za-z.^]+)\s*\}")
_TIMES_I = re.compile(r"(?<=[0-9)}])\s*\*\s*[iI](?![A-Za-z])")
_FUNCTION = re.compile(
    r"(?:\\|(?<![A-Za-z\\]))(sqrt|exp|cbrt|abs|floor|ceil)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)"
)
_PLAIN_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt(?=\s*[{0-9])")
_CALLS = {"sqrt": r"\sqrt{%s}", "exp": "e^{%s}", "cbrt": r"\sqrt[3]{%s}", "abs": "|%s|"} | {
    "floor": r"\lfloor %s\rfloor", "ceil": r"\lceil %s\rceil",
}  # fmt: skip
_NEGATIVE = re.compile(r"^(?:negative|minus) (?=infinity$|\\infty|[0-9\\])")
_NAME = re.compile(r"(?<![A-Za-z\\])(pi|infinity|infty|inf|oo)(?![A-Za-z])")
_NAMES = {"pi": r"\pi "} | dict.fromkeys(("infinity", "infty", "inf", "oo"), r"\infty ")
_IMAGINARY = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])")
_ONE_IMAGINARY = re.compile(r"(?<![0-9.c])1 ?(?=i(?![A-Za-z]))")
_DECIMAL = re.compile(r"(?<![0-9.])([0-9]{0,50})\.([0-9]{1,50})(?![0-9.])")
_POINTS = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,20}")
_FRACTION_OF_PI = re.compile(r"(?<![0-9A-Za-z.^/)}])([0-9]{1,50})/([0-9]{1,50}) (?=\\pi(?![A-Za-z]))")
_IN_BASE = re.compile(
    rf"([+-]?[0-9A-Za-z]+)\s*(?:{WORDS}\s*\{{)?\s*\(?(?:in )?base\s*\}}?\s*([0-9]{{1,2}}|[a-z]+)\s*\)?\s*\}}?"
)
NAMED_SETS = {
    f"{lead}{name}": rf"\mathbb{{{letter}}}"
    for name, letter in (
        ("real numbers", "R"), ("reals", "R"), ("integers", "Z"), ("rational numbers", "Q"), ("natural numbers", "N"),
        ("complex numbers", "C"),
    )
    for lead in ("all ", "the set of all ", "set of all ", "the ", "")
    if lead or name == "real numbers"
} | dict.fromkeys(("any real number", "every real number"), r"\mathbb{R}")  # fmt: skip
_POSITIVE_REALS = re.compile(r"\\mathbb\s*\{?R\}?\s*(?:\^\s*\{?\s*\+\s*\}?|_\s*\{\s*>\s*0\s*\})")
_BASE_NAMES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BASES = {name: base for base, name in enumerate(_BASE_NAMES, start=2)} | {"sixteen": 16}
_PREFIXES = {"x": 16, "b": 2, "o": 8}
_PREFIXED = re.compile(r"([+-]?)0([xXbBoO])([0-9A-Fa-f]+)")
_BASED = re.compile(
    r"([+-]?)\s*(?:\\(?:text|mathrm)\s*\{\s*)?\(?\s*([0-9A-Za-z]+)(?:\.([0-9A-Za-z]+))?\s*\)?\s*\}?\s*_\s*"
    r"(?:\{\s*)?(?:\\(?:text|mathrm)\s*\{\s*)?\(?\s*(?:base\s+)?([0-9]{1,2}|[a-z]+)\s*\)?\s*\}*"
)


def plain_numbers(text: str) -> str:
    """An answer with money signs, spaces between thousands and empty decimals taken out: `€1 250.0` is `1250`."""
    text = _MONEY_AFTER.sub("", _MONEY_BEFORE.sub(r"\1", text))
    text = _TEXT_COMMA.sub("", text)
    if text[:3].lstrip("+-").startswith("0") and (found := _PREFIXED.fullmatch(text)):
        return f"{found[1]}{found[3]}_{{{_PREFIXES[found[2].lower()]}}}"  # to math-verify 0x1F is 0 times x
    if _POINTS.fullmatch(text):  # two points or more: 1.234.567
        return text.replace(".", "")
    return _WHOLE.sub(r"\1", _SPACED.sub(lambda found: found.group().replace(" ", ""), text))


def for_algebra(text: str) -> str:
    r"""A cleaned answer as math-verify reads it rightly, with the same value.

    Scientific notation becomes an exact product (`4.5e33` is 45 x 10^32, not 4.5 times Euler's number to the 33), a
    mixed number its sum, plain-text `pi`, `sqrt()`, `exp()`, `abs()`, `sin()` and `**` LaTeX, decimals beside the
    imaginary unit and in arithmetic fractions, degrees parts of pi, inequalities of one unknown joined by "or" or "and"
    a union of intervals.
    """
    text = _MEMBER.sub("", text)
    text = turned_inward(without_points(text) or union_of_intervals(text) or set_minus(text))
    text = polar_form(with_products(text))
    text = NAMED_SETS.get(text.casefold()) or both_signs(counted_out(text))
    if _POSITIVE_REALS.fullmatch(text):
        return r"(0,\infty)"
    if TRIGONOMETRY.search(text):  # elsewhere degrees count as they are
        text = _DEGREES.sub(r"(\\frac{\1 \\pi}{180})", text)
    for logarithm, plain in _LOGARITHMS:
        text = logarithm.sub(plain, text)
    text = _FRACTION_OF_PI.sub(r"\\frac{\1}{\2}", text)
    text = _MIXED.sub(_mixed, _SCIENTIFIC.sub(_power_of_ten, text))
    text = _PLAIN_FUNCTION.sub(_function, _POWER.sub("^", text))
    text = _BASE_BEHIND.sub(r"\\log_{\1}", _NEGATIVE_ROOT.sub(r"(-\\sqrt[\1]{\2})", text))
    text = _SIGNED_POWER.sub(r"^{\1}", text)
    text = _FUNCTION.sub(lambda found: _CALLS[found[1]] % found[2], text)
    text = _TIMES_I.sub("i", _PLAIN_ROOT.sub(r"\\sqrt", text))
    text = _NAME.sub(lambda found: _NAMES[found.group()], _NEGATIVE.sub("-", text))
    if _IMAGINARY.search(text):
        text = _ONE_IMAGINARY.sub("", _DECIMAL.sub(_fraction, text))
    elif _is_sum_or_power(text):
        text = _DECIMAL.sub(lambda found: f"({_fraction(found)})", _DECIMAL_POWER.sub(r"^{\1}", text))
    return text


def _is_sum_or_power(text: str) -> bool:
    """Whether a text computes with decimals and has no unknown: math-verify rounds them on the way."""
    return any(sign in text[1:] for sign in "+-*/^") and has_no_letters(text)


def based_number(text: str) -> tuple[str, int] | None:
    r"""(digits, base) of a number whose base is a subscript, such as `204_5` or `A5_{16}`; None for anything else."""
    found = _BASED.fullmatch(_IN_BASE.sub(r"\1_{\2}", text) if "base" in text else text)
    if found is None or not found[2][0].isalnum():
        return None
    sign, whole, places, named = found.groups()
    base = int(named) if named.isdigit() else _BASES.get(named, 0)
    whole, places = whole.upper().lstrip("0") or "0", (places or "").upper().rstrip("0")
    fits = 2 <= base <= 36 and all(int(digit, 36) < base for digit in whole + places)
    digits = ("-" * (sign == "-")) + whole + (f".{places}" if places else "")
    return (digits, base) if fits else None


def _mixed(found: re.Match[str]) -> str:
    whole, top, bottom = (int(part) for part in found.groups())
    return rf"\frac{{{whole * bottom + top}}}{{{bottom}}}" if top < bottom else found.group()


def _function(found: re.Match[str]) -> str:
    plain, inverse, logarithm = found.groups()
    return rf"\arc{inverse}" if inverse else rf"\{plain or logarithm}"


def _power_of_ten(found: re.Match[str]) -> str:
    decimals = found[2] or ""
    exponent = int(next(part for part in found.groups()[2:] if part is not None)) - len(decimals)
    return rf"{int(found[1] + decimals)} \times 10^{{{exponent}}}"


def _fraction(found: re.Match[str]) -> str:
    value = Fraction(found.group())
    return (
        str(value.numerator)
        if value.denominator == 1
        else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )
