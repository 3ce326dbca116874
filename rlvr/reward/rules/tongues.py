"""Small numbers in words of other languages than English, such as `zwölf` and `五十`: pure text."""

from fractions import Fraction

# From one on; a word that is another number or word in English (`once`, `six` apart) is left out.
_WORDS = (
    "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "un deux trois quatre cinq six sept huit neuf dix onze douze",
    "uno dos tres cuatro cinco seis siete ocho nueve diez - doce",
    "uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "um dois três quatro cinco seis sete oito nove dez onze doze",
    "один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
    "하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열 열하나 열둘",
)
_VALUES = {
    word: value
    for words in _WORDS
    for value, word in enumerate(words.split(), start=1)
    if word not in ("-", "six")
}
_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000}
LONGEST = 12  # characters


def number_in_tongues(text: str) -> Fraction | None:
    """The value of a word that is a small number in another language, or of Chinese digits below 10 000; else None."""
    if len(text) > LONGEST:
        return None
    value = _VALUES.get(text.casefold())
    if value is None and text and all(char in _DIGITS or char in _SCALES for char in text):
        value = _in_chinese(text)
    return None if value is None else Fraction(value)


def _in_chinese(text: str) -> int | None:
    """`三百二十一` as 321; None where scales do not fall or a digit has none."""
    total, room, digit = 0, 10_000, None
    for char in text:
        scale = _SCALES.get(char)
        if scale is None:
            if digit:
                return None
            digit = _DIGITS[char]
        elif scale < room and digit != 0:
            total, room, digit = total + (digit or 1) * scale, scale, None
        else:
            return None
    return total + (digit or 0) if room > 1 or not total else None
