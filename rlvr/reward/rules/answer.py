r"""Clean an answer's markup and decide the plain cases exactly, without a computer algebra system.

Integers, choices and words are compared here in microseconds; whatever is left goes to math-verify.
On integer against integer the verdict equals math-verify's. On choices and words it is deliberately
stricter: math-verify reads the word "no" as the product n*o and would accept "on".
"""

import re
from fractions import Fraction

from rlvr.reward.rules.conversions import same_conversion
from rlvr.reward.rules.counted import changes_number, counted_in_words, whole_number_of, without_counted
from rlvr.reward.rules.expanded import called_choice
from rlvr.reward.rules.formulas import same_formula
from rlvr.reward.rules.letters import same_angle
from rlvr.reward.rules.markup import STYLE_WRAPPER, without_ends, without_lead, without_markup
from rlvr.reward.rules.named import split_list, value_of_equation
from rlvr.reward.rules.notation import NAMED_SETS, TRIGONOMETRY, based_number, for_algebra, plain_numbers
from rlvr.reward.rules.options import picked_choice, same_options
from rlvr.reward.rules.parameters import same_residue
from rlvr.reward.rules.percents import split_percent, with_percent_sign
from rlvr.reward.rules.periods import as_recurring, without_period
from rlvr.reward.rules.phrases import ASSENT, NO_SOLUTION, SAME_WORDS, TAKEN_BACK
from rlvr.reward.rules.quantities import same_quantity, units_differ, without_unit
from rlvr.reward.rules.remarks import without_remarks
from rlvr.reward.rules.separators import with_points
from rlvr.reward.rules.shapes import same_formula_signs
from rlvr.reward.rules.spelled import mixed_in_words, number_in_words, share_in_words
from rlvr.reward.rules.tongues import number_in_tongues
from rlvr.reward.rules.unions import same_chain

MOST_LAYERS = 20  # of delimiters and styles around one another
_MATH_DELIMITERS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("**", "**"),
    ("*", "*"),
    ("`", "`"),
    ('"', '"'),
    ("__", "__"),
    ("_", "_"),
    ("「", "」"),
    ("【", "】"),
)
_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degree|\\?text\s*\{\s*degrees?\s*\}|\bdegrees?)\s*$")
_DEGREE_SIGN = re.compile(
    r"\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z]))(?!\s*(?:\\(?:text|mathrm)\s*\{\s*)?[CF]\b)"
)
_CURRENCY = re.compile(
    r"\s*(?:\\text\s*\{\s*)?(?<!per )(?<![A-Za-z])(?:dollars?|usd|euros?|eur|pounds?|cents?|yen|yuan|"
    r"rmb|rupees?|pesos?|francs?|kr|kronor|kroner|rou?bles?)\b\s*\}?\s*$",
    re.I,
)
_INTEGER = re.compile(r"([+-]?)\s*(?:0*([0-9]{1,100})|([1-9][0-9]{0,2}(?:\{?,\}?[0-9]{3}){1,30}))")
_SIDE_BY_SIDE = re.compile(r"[+-]?[0-9.]+(?:[ '][0-9.]+)+")
_INDEX = r"\s*_\s*(?:[0-9A-Za-z]+|\{[^{}]*\})"
_INDEXED = re.compile(rf"[+-]?[0-9.,]+{_INDEX}")
_OTHER_BASE = re.compile(rf"[+-]?[0-9A-Za-z.]+{_INDEX}")
_GOES_ON = re.compile(r",\s*(?:\\[lc]?dots|\.\.+|…)$")
_RATIONAL = re.compile(
    r"([+-]?)(?:\\[dt]?frac\{?([0-9]{1,50})\}?\{([0-9]{1,50})\}|([0-9]{1,50})/([0-9]{1,50})|([0-9]{0,50}\.[0-9]{1,50}))"
)
_SHORT_FRACTION = re.compile("frac([0-9])([0-9])")
_TEN_TO = re.compile(r"([+-]?[0-9]+) \\times 10\^\{([+-]?[0-9]{1,3})\}")
_CHOICE_GOLD = re.compile(r"\(?([A-J])\)?[.:]?")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'\- ]*")
_SHORT_WORDS = frozenset({"no", "up", "in", "on", "am", "pm"})
_MATH_WORDS = frozenset(
    ["sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "inf", "infty", "infinity", "pi"]
)
_LETTERS_IN_ORDER = re.compile("[IVX]{2,}|[HT]{2,}")  # Roman numbers, tosses of a coin
_NOTHING = r"\emptyset"
_ARTICLE = re.compile(r"(?:an?|the) (?=[a-z]{3})")
_ARITHMETIC = re.compile(r"[*/^!+=]|\\(?:times|cdot|div|[dtc]?frac|sqrt|binom)|[0-9)}]\s*-")


def clean(answer: str) -> str:
    """Strip delimiters, emphasis, spacing and closing punctuation; map unicode look-alikes to LaTeX."""
    if answer.isdigit() and answer.isascii():
        return answer  # as most are
    text = as_recurring(without_markup(answer))
    for _ in range(MOST_LAYERS):
        before = text
        text = without_ends(text)
        for opening, closing in _MATH_DELIMITERS:
            inner = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner and opening not in inner:
                text = inner
        wrapped = STYLE_WRAPPER.fullmatch(text)
        text = without_lead(wrapped.group(1) if wrapped else text)
        if text == before:
            break
    if not TRIGONOMETRY.search(text):
        # The space keeps `60^\\circ,120^\\circ` two numbers.
        text = _DEGREES.sub("", _DEGREE_SIGN.sub(" ", text)).strip() or text
    text = whole_number_of(plain_numbers(_CURRENCY.sub("", text) or text))
    text = without_remarks(with_percent_sign(without_period(text)))
    counted = without_counted(text)
    return text if counted is None or number_value(counted) is None else counted


def integer_literal(answer: str) -> str | None:
    """Canonical digits of an integer such as `-012`, `(12)` or `1,234` (at most 100 digits), else None."""
    bare = answer[1:-1].strip() if answer.startswith("(") and answer.endswith(")") else answer
    match = _INTEGER.fullmatch(bare)
    if match is None:
        return None
    digits = match.group(2) or re.sub(r"[{},]", "", match.group(3))
    return digits if match.group(1) != "-" or digits == "0" else f"-{digits}"


def number_value(answer: str) -> Fraction | None:
    """The exact value of a cleaned answer that is nothing but a number: integer, decimal, fraction or percentage."""
    body, is_percent = split_percent(answer)
    whole = integer_literal(body)
    if whole is not None:
        value = Fraction(whole)
    else:
        plain_body = body.replace(" ", "")
        if "frac" in body:
            plain_body = _SHORT_FRACTION.sub(r"frac{\1}{\2}", plain_body)
        found = _RATIONAL.fullmatch(plain_body)
        if found is None:
            return None
        sign, top, bottom, plain, under, decimal = found.groups()
        try:
            value = Fraction(decimal or f"{top or plain}/{bottom or under}")
        except ZeroDivisionError:
            return None
        value = -value if sign == "-" else value
    return value / 100 if is_percent else value


def vote_key(answer: str) -> str:
    """What answers that vote together have in common: the value of a number, the values of a list in any order, else
    the text."""
    text = clean(answer)
    parts = (
        [text] if integer_literal(text) is not None or text.startswith(("(", "[", "{")) else split_list(text)
    )
    if len(parts) > 1:
        return ", ".join(sorted(map(vote_key, parts)))
    value = _value_of_product(for_algebra(text))
    return text if value is None else f"={value}"


def _value_of_product(text: str) -> Fraction | None:
    """The value of `45 \\times 10^{32}`, as scientific notation is written for algebra, or of a mixed number."""
    found = _TEN_TO.fullmatch(text)
    return number_value(text) if found is None else int(found[1]) * Fraction(10) ** int(found[2])


def estimate(answer: str) -> list[Fraction] | None:
    r"""Both values of `\frac{70}{9} \approx 7.78`, none where one is not the other rounded; None for anything else."""
    exact, sign, rounded = answer.partition(r"\approx")
    whole, short = number_value(exact.strip()), number_value(rounded.strip()) if sign else None
    if whole is None or short is None:
        return None
    place = Fraction(1, 10 ** len(rounded.strip(" $").partition(".")[2]))
    return [whole, short] if short and abs(whole - short) < place else []


def is_unevaluated(answer: str) -> bool:
    """Whether an answer still holds arithmetic, such as `3+4`, `2^{10}` or `6/2`."""
    return _ARITHMETIC.search(answer) is not None


def decide_exactly(gold: str, answer: str) -> bool | None:
    """Compare two cleaned answers where no algebra is needed; None where math-verify has to decide.

    Decided here: equal text, integer against integer, numbers with their bases, a choice letter, and words.
    """
    if gold == answer or same_formula_signs(gold, answer):
        return True
    gold_integer, answer_integer = integer_literal(gold), integer_literal(answer)
    if gold_integer is not None and answer_integer is not None:
        return gold_integer == answer_integer
    for compare in (same_quantity, same_conversion, same_residue, same_angle, same_chain):
        same = compare(gold, answer)
        if same is not None:
            return same
    gold_based = based_number(gold)
    answer_based = None if gold_based is None else based_number(value_of_equation(answer) or answer)
    if gold_based is not None and (answer_based is not None or _OTHER_BASE.fullmatch(answer)):
        return gold_based == answer_based
    if gold_based is not None and answer.isalnum() and not answer.isdigit():
        return based_number(f"{answer}_{gold_based[1]}") == gold_based
    formulas = same_formula(gold, answer) if gold_based is None else None
    if formulas is not None:
        return formulas
    percent = _same_percentage(gold, answer)
    if percent is not None:
        return percent
    gold_value = number_value(gold)
    if gold_value is not None and (same := _number_against(gold_value, answer)) is not None:
        return same
    measured = without_unit(gold) or gold, without_unit(answer) or answer
    if "," in answer and number_value(measured[0]) is not None:
        measured = measured[0], with_points(measured[1], measured=measured[1] != answer) or measured[1]
    values = [_value_of_product(for_algebra(text) if "10" in text else text) for text in measured]
    if None not in values and values[0] == values[1] and not units_differ(gold, answer):
        return True
    spelled = _same_in_words(gold, answer)
    if spelled is not None:
        return spelled
    if gold_integer is not None:
        return None
    options = same_options(gold, answer)
    if options is not None:
        return options
    choice = _CHOICE_GOLD.fullmatch(gold)
    if choice is not None:
        return picked_choice(answer) == choice.group(1)
    if _NOTHING in (gold, answer):
        return True if NO_SOLUTION & {_words(gold), _words(answer)} else None
    if _words(gold) in NO_SOLUTION and _words(answer) in NO_SOLUTION:
        return True
    if {_words(gold), _words(answer)} & NAMED_SETS.keys() and "\\" in gold + answer:
        return None  # words for a set
    if _is_words(gold):
        said = _words(gold)
        if said in ASSENT and _words(answer).startswith(f"{said}, "):
            return TAKEN_BACK.search(_words(answer), len(said)) is None  # `Yes, it is`
        return _named_together(gold) == _named_together(answer)
    return None


def _number_against(gold: Fraction, answer: str) -> bool | None:
    """Compare a number with an answer that stands for one without being written as one; None for any other answer."""
    if gold < 1 and (share := share_in_words(answer)) is not None:
        return gold == share
    for value in (called_choice(answer), mixed_in_words(answer), counted_in_words(answer)):
        if value is not None:
            return gold == value
    based = based_number(answer)
    if based is not None:  # a number without a base is in base ten
        digits, base = based
        return number_value(digits) == gold and (base == 10 or len(digits) == 1)
    if (
        _SIDE_BY_SIDE.fullmatch(answer)
        or _INDEXED.fullmatch(answer)
        or _GOES_ON.search(answer)
        or changes_number(answer)
    ):
        return False  # `2 2` is not their product, `2\text{ or more}` not 2
    estimated = estimate(answer)
    return None if estimated is None else gold in estimated


def _same_percentage(gold: str, answer: str) -> bool | None:
    """Compare two numbers of which one only has a percent sign; None for any other two.

    The sign may be left out where the number is larger than 1: up to there shares are written so, and 0.25 is 25 %.
    """
    (mine, is_percent), (theirs, also) = split_percent(gold), split_percent(answer)
    value, other = number_value(mine), number_value(theirs)
    if is_percent == also or value is None or other is None:
        return None
    return number_value(gold) == number_value(answer) or (value == other and abs(value) > 1)


def _same_in_words(gold: str, answer: str) -> bool | None:
    """Compare a number with one in words, such as `twelve`; None where there are not both."""
    if gold[:1].isalpha() == answer[:1].isalpha():
        return None
    values = [_said(text) if text[:1].isalpha() else number_value(text) for text in (gold, answer)]
    return None if None in values else values[0] == values[1]


def _said(words: str) -> Fraction | None:
    number = number_in_words(words)
    return number_in_tongues(words) if number is None else number


def is_plain(gold: str) -> bool:
    """Whether our own rules compare this cleaned gold answer with any other: a number, a choice or words."""
    readings = (integer_literal(gold), based_number(gold), _CHOICE_GOLD.fullmatch(gold))
    return any(reading is not None for reading in readings) or _is_words(gold)


def _is_words(gold: str) -> bool:
    text = STYLE_WRAPPER.sub(r"\1", gold)
    if not _WORDS.fullmatch(text):
        return False
    if _LETTERS_IN_ORDER.fullmatch(text):
        return True
    words = [word for word in text.lower().replace("-", " ").split() if word != "and"]
    if any(word in _MATH_WORDS for word in words):
        return False
    return any(len(word) >= 3 or word in _SHORT_WORDS for word in words)


def _named_together(text: str) -> list[str]:
    """What words name, in any order: `red and blue`."""
    return sorted(re.split(", and | and |, ", _words(text)))


def _words(text: str) -> str:
    plain = STYLE_WRAPPER.sub(r"\1", text).replace("~", " ")
    words = _ARTICLE.sub("", " ".join(plain.casefold().split()).rstrip("."), count=1)
    return SAME_WORDS.get(words, words)
