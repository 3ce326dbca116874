r"""Numbers with what they measure: units, two-part quantities, money, dates and times of day; pure text.

math-verify leaves out what stands behind a number: `5\text{ feet }6\text{ inches}` is 5 to it, and 10 cents 10 dollars.
"""

import re
from fractions import Fraction
from functools import lru_cache
from math import gcd

from rlvr.reward.rules.dates import same_date
from rlvr.reward.rules.markup import WORDS

# Measure -> names of a unit -> how many of the smallest one it is.
_MEASURES: dict[str, dict[tuple[str, ...], int]] = {
    "length": {
        ("in", "inch", "inches"): 1,
        ("ft", "foot", "feet"): 12,
        ("yd", "yard", "yards"): 36,
        ("mi", "mile", "miles"): 63360,
    },
    "metric length": {
        ("nanometer", "nanometers", "nanometre", "nanometres"): 1,
        ("mm", "millimeter", "millimeters", "millimetre", "millimetres"): 10**6,
        ("cm", "centimeter", "centimeters", "centimetre", "centimetres"): 10**7,
        ("decimeter", "decimeters", "decimetre", "decimetres"): 10**8,
        ("m", "meter", "meters", "metre", "metres"): 10**9,
        ("km", "kilometer", "kilometers", "kilometre", "kilometres"): 10**12,
    },
    "mass": {
        ("mg", "milligram", "milligrams"): 1,
        ("g", "gram", "grams"): 1000,
        ("kg", "kilogram", "kilograms"): 10**6,
    },
    "weight": {("oz", "ounce", "ounces"): 1, ("lb", "lbs", "pound", "pounds"): 16},
    "time": {
        ("s", "sec", "second", "seconds"): 1,
        ("min", "minute", "minutes"): 60,
        ("h", "hr", "hrs", "hour", "hours"): 3600,
        ("day", "days"): 86400,
        ("week", "weeks"): 604800,
    },
    "calendar": {("month", "months"): 1, ("year", "years"): 12},
    "volume": {
        ("ml", "milliliter", "milliliters"): 1,
        ("l", "L", "liter", "liters", "litre", "litres"): 1000,
    },
}
# Name -> (measure, first name, how many of the smallest).
UNITS = {
    name: (measure, names[0], factor)
    for measure, units in _MEASURES.items()
    for names, factor in units.items()
    for name in names
}
_SYMBOL = re.compile(
    "A|V|W|J|N|K|C|F|L|Hz|Pa|mol|eV|kW|kr|Rs|am|pm|mph|kph|kmp?h|"
    "kHz|MHz|GHz|kPa|kJ|kN|kV|MW|GW|mA|mV|keV|MeV|GeV|dB|kWh|Nm|k?ohms?|micro[mgsLFCAV]|deg[CF]"
)
PER = {
    "mph": "mi/h",
    "kph": "km/h",
    "kmph": "km/h",
    "kmh": "km/h",
    "ohms": "ohm",
    "kohms": "kohm",
    "degC": "degrees C",
    "degF": "degrees F",
}
_UNIT = re.compile(
    r"(?:[0-9}\s]|\\[,; ])\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*)?([A-Za-z]+)\s*(?:/\s*([A-Za-z]+)\s*)?"
    r"(?:\^\s*\{?([2-9])\}?)?\s*\}?\s*(?:\^\s*\{?([2-9])\}?)?$"
)
_WORD_LAST = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}\s*$")  # `\\pi` is none
_PERCENT = re.compile(r"(?:\\?%|\bper ?cent)\s*\}?$", re.I)
_TEMPERATURE = re.compile(r"\\circ\s*\}?\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*)?([CF])\s*\}?$")
_WORDS_OF = re.compile(rf"{WORDS}\s*\{{([^{{}}]*)\}}")
_AMOUNT = re.compile(r"([0-9]{1,50}(?:\.[0-9]{1,50})?) ?([A-Za-z]+)[ ,]*(?:and )?")
_CENTS = re.compile(r"(?:\bcents?\s*\}?|¢|\\(?:text)?cent)\s*$", re.I)
_DOLLARS = re.compile(r"\\\$\s*[0-9.]|\bdollars?\b|\bUSD\b|^\s*(?:US)?\$[0-9.,]+\s*$", re.I)
_CURRENCY = re.compile(
    r"[€£¥₹₽₩₪]|\\(?:euro|pounds)(?![A-Za-z])|\b(?:euros?|EUR|GBP|yen|JPY|yuan|CNY|RMB|rupees?)\b", re.I
)
_SIGNS = {
    name: sign
    for sign, names in {
        "€": ("euro", "euros", "eur"), "£": ("pounds", "gbp"), "₹": ("rupee", "rupees"),
        "¥": ("yen", "jpy", "yuan", "cny", "rmb"),
    }.items()
    for name in names
}  # fmt: skip
_RATE = re.compile(r"(?<![A-Za-z])([A-Za-z]{1,20}) per ([A-Za-z]{1,20})")
_AGE = re.compile(r"(?<=(?:utes|ours|days|eeks|nths|ears)) (?:old|of age|later)$")
_SCALE = re.compile(r"\bdegrees? ([CF])(?:elsius|ahrenheit)?$")
_RAISED = re.compile(r"(?<=[A-Za-z]) (squared|cubed)$")
_RATIO = re.compile(r"[0-9]{1,30}(?:\s*(?::|to)\s*[0-9]{1,30}){1,8}")
# Ways to write a unit -> one of them, in this order.
_WRITTEN = (
    (re.compile(r"\s*\^\s*\{?\s*\\circ\s*\}?\s*([CF])$"), r" deg\1"),
    (
        re.compile(r"(?<=[0-9} ])\s*\\frac\s*\{\s*([A-Za-z]+)\s*\}\{\s*([A-Za-z]+)\s*(\^\{?[23]\}?)?\s*\}$"),
        r" \1/\2\3",
    ),
    (
        re.compile(r"(?<=[0-9} ][A-Za-z]|[A-Za-z]{2}) ?(?:\\cdot )?\s*([A-Za-z]{1,20})\s*\^\s*\{?-1\}?$"),
        r"/\1",
    ),
    (
        re.compile(
            r"(?<=[0-9} ][A-Za-z]|[A-Za-z]{2}) ?(?:\\cdot )?\s*([A-Za-z]{1,20})\s*\^\s*\{?-([23])\}?$"
        ),
        r"/\1^\2",
    ),
    (re.compile(r"\\Omega$"), "ohm"),
    (re.compile(r"\\mu\s*([mgsLFCAV])$"), r"micro\1"),
    (re.compile(r"(?<=[0-9] )N\s*\\cdot m$"), "Nm"),
)
_POWER = re.compile(r"\b(square|sq\.?|cubic|cu\.?) ([A-Za-z]+)$")
_TIMES_POWER = r"(?: ?\\(?:times|cdot) ?10 ?\^ ?(?:\{-?[0-9]{1,4}\}|[0-9]))?"
_MEASURED = re.compile(
    rf"([+-]?[0-9]{{1,50}}(?:,[0-9]{{1,50}}){{0,20}}(?:\.[0-9]{{1,50}})?{_TIMES_POWER}) ?"
    r"([A-Za-z]+(?: ?/ ?[A-Za-z]+)?(?: ?\^ ?\{?[23]\}?)?)"
)


def is_unit(name: str) -> bool:
    """Whether letters behind a number name what it measures."""
    return spelled(name) in UNITS or _SYMBOL.fullmatch(name) is not None


def units_differ(gold: str, answer: str) -> bool:
    """Whether both answers carry a known unit and the two are not the same (`12 m` and `12 cm`)."""
    units = [_unit(text) for text in (gold, answer)]
    return None not in units and units[0] != units[1]


def unit_of(text: str) -> str | None:
    """The first name of the unit that an answer ends in, None where it has none that is known."""
    found = _unit(text)
    return None if found is None else found[0]


def same_quantity(gold: str, answer: str) -> bool | None:
    """Compare `5 feet 6 inches` and the like, dates and times of day; None where the gold answer is none of them."""
    dated = same_date(without_words(gold), without_words(answer))
    if dated is not None:
        return dated
    ratios = [_RATIO.fullmatch(without_words(text)) for text in (gold, answer)]
    if ratios[0] is not None and ratios[1] is not None:
        return _reduced(ratios[0]) == _reduced(ratios[1])
    amounts = [_amounts(text) for text in (gold, answer)]
    # `12` and `12 cm` are decided elsewhere, `90 minutes` and `1.5 hours` here.
    if all(len(found) < 2 for found in amounts) and ([] in amounts or amounts[0][0][1] == amounts[1][0][1]):
        return None
    return _total(amounts[0]) is not None and _total(amounts[0]) == _total(amounts[1])


def in_cents(gold: str, answer: str) -> tuple[int, int] | None:
    """How many cents the unit of each is where one counts cents and the other dollars, else None."""
    cents = [_CENTS.search(text) is not None for text in (gold, answer)]
    dollars = [_DOLLARS.search(text) is not None for text in (gold, answer)]
    if cents == [True, False] and dollars[1]:
        return 1, 100
    if cents == [False, True] and dollars[0]:
        return 100, 1
    return None


def currencies_differ(gold: str, answer: str) -> bool:
    """Whether both uncleaned answers have a sign of a currency and not the same one (`\\$5` and `€5`)."""
    found = [currency_of(text) for text in (gold, answer)]
    return None not in found and found[0] != found[1]


def currency_of(text: str) -> str | None:
    """The sign of the currency that an uncleaned answer is in, None where it has none."""
    sign = _CURRENCY.search(text)
    if sign is not None:
        return _SIGNS.get(sign.group().lstrip("\\").lower(), sign.group())
    return "$" if _DOLLARS.search(text) else None


def without_unit(text: str) -> str | None:
    """The number of one that is followed by a known unit and nothing else, else None."""
    found = _MEASURED.fullmatch(without_words(text))
    if found is None:
        return None
    return found[1] if _unit(text) is not None or found[2].startswith("unit") else None


# Several rules ask the same of a pair, and a group's samples share the gold answer.
@lru_cache(maxsize=1024)
def without_words(text: str) -> str:
    """Without the wrappers of words, a rate as a quotient and square and cubic units as powers."""
    words = _AGE.sub("", " ".join(_WORDS_OF.sub(r" \1 ", text).split()))
    words = _SCALE.sub(r"deg\1", _RAISED.sub(lambda found: "^2" if found[1] == "squared" else "^3", words))
    words = _RATE.sub(r"\1/\2", words)
    if "\\" in words or "^" in words:
        for written, name in _WRITTEN:
            words = written.sub(name, words)
    return _POWER.sub(lambda found: f"{found[2]}^{2 if found[1].startswith('s') else 3}", words)


def _reduced(ratio: re.Match[str]) -> list[int]:
    terms = [int(term) for term in re.findall("[0-9]+", ratio.group())]
    common = gcd(*terms) or 1
    return [term // common for term in terms]


def _amounts(text: str) -> list[tuple[str, str]]:
    """(number, unit) of every part where the text has nothing but amounts of known units."""
    plain, found, end = without_words(text), [], 0
    while (part := _AMOUNT.match(plain, end)) is not None:
        if spelled(part[2]) not in UNITS:
            return []
        found.append((part[1], spelled(part[2])))
        end = part.end()
    return found if end == len(plain) else []


def _total(amounts: list[tuple[str, str]]) -> tuple[str, Fraction] | None:
    """(measure, in its smallest unit)."""
    measures = {UNITS[unit][0] for _, unit in amounts}
    if len(measures) != 1:
        return None
    return measures.pop(), sum((Fraction(number) * UNITS[unit][2] for number, unit in amounts), Fraction())


@lru_cache(maxsize=1024)
def _unit(text: str) -> tuple[str, str] | None:
    if temperature := _TEMPERATURE.search(text):
        return f"degrees {temperature[1]}", "1"
    if _PERCENT.search(text):
        return "percent", "1"
    plain = without_words(text)
    match = _UNIT.search(plain)
    if match is None or _WORD_LAST.search(plain, 0, match.start() + 1):
        return None  # a word before the unit
    names = [_name(name) for name in match.group(1, 2) if name is not None]
    known = [name for name in names if name is not None]
    return ("/".join(known), match[3] or match[4] or "1") if len(known) == len(names) else None


def spelled(unit: str) -> str:
    """As the table spells it; of single letters the case counts, `5M` is no length."""
    return unit if len(unit) == 1 else unit.lower()


def _name(unit: str) -> str | None:
    if unit in PER:
        return PER[unit]
    if spelled(unit) in UNITS:
        return UNITS[spelled(unit)][1]
    return unit if _SYMBOL.fullmatch(unit) else None
