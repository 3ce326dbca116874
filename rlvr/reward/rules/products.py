r"""Products of numbers, and what stands for one, where math-verify adds or reads nothing: pure text.

It takes a whole number and a positive number in parentheses or a binomial behind it for a mixed number, as
`2\frac{1}{2}` is one: `2(3)` is 5 to it, and `\binom{5}{2}\binom{4}{2}` 16.
"""

import re
from math import prod

_NUMBER = r"(?:[0-9]{1,50}(?:\.[0-9]{1,50})?|\\[dt]?frac(?:\{[0-9]{1,50}\}\{[0-9]{1,50}\}|[0-9]{2}))"
# Not behind an index, an exponent or the base of a logarithm: `\log_2(3)` is no product.
_IN_PARENTHESES = re.compile(rf"(?:(?<![0-9A-Za-z_.^])([0-9]{{1,50}})|(\)))\s*(?=\({_NUMBER}\))")
_BINOMIAL = re.compile(r"(?:(?<![0-9A-Za-z_.^])([0-9]{1,50})|([)}]))\s*(?=\\binom)")
_DOUBLE_FACTORIAL = re.compile(r"(?<![0-9A-Za-z.])([0-9]{1,3})!!(?!!)")
_REMAINDER = re.compile(r"([0-9]{1,50})\s*(?:\\b?mod(?![A-Za-z])|\bmod\b)\s*([1-9][0-9]{0,49})")
_CIS = re.compile(
    r"\\?(?:operatorname\s*\{\s*cis\s*\}|(?:text|mathrm)\s*\{\s*cis\s*\}|(?<![A-Za-z])cis)\s*"
    r"(\([^()]{1,100}\)|\\[dt]?frac\{[^{}]{1,50}\}\{[^{}]{1,50}\}|[0-9.]{1,20}(?:\s*\^\s*\{?\s*\\circ\s*\}?)?)"
)
_ROOT_OF_ONE = re.compile(r"\\sqrt\s*\[\s*([0-9n]{1,3})\s*\]\s*([0-9A-Za-z])")


def with_products(text: str) -> str:
    r"""The text with `\cdot` between numbers, and double factorials and remainders as the numbers that they are."""
    if "(" in text:
        text = _IN_PARENTHESES.sub(lambda found: rf"{found[1] or found[2]} \cdot ", text)
    if "\\binom" in text and "\\log" not in text:
        text = _BINOMIAL.sub(lambda found: rf"{found[1] or found[2]} \cdot ", text)
    if "!!" in text:
        text = _DOUBLE_FACTORIAL.sub(lambda found: str(prod(range(int(found[1]), 0, -2))), text)
    if "mod" in text and (found := _REMAINDER.fullmatch(text)):
        return str(int(found[1]) % int(found[2]))
    return _ROOT_OF_ONE.sub(r"\\sqrt[\1]{\2}", text) if "\\sqrt" in text else text


def polar_form(text: str) -> str:
    r"""`2\operatorname{cis}60^\circ` with the cosine and the sine that it stands for; other text as it is."""
    if "cis" not in text:
        return text
    return _CIS.sub(lambda found: rf"(\cos {found[1]}+i\sin {found[1]})", text)
