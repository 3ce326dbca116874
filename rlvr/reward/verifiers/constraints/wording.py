"""Checks of words, letters, length and case. Pure; definitions of IFEval's checks: arXiv 2311.07911, table 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
# A word, a mark or a sign of its own: what a capital word is looked for in.
_TOKEN = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*|\S")
# A point behind a title, an initial or another of these does not end a sentence, as in IFEval's tokenizer.
_ABBREVIATED = r"(?<!\b(?:Mr|Ms|Dr|St|Jr|Sr|vs)\.)(?<!\b(?:Mrs|e\.g|i\.e)\.)(?<!\bProf\.)(?<!\b[A-Z]\.)"
_SENTENCE_END = re.compile(rf"[.!?…。！？]+{_ABBREVIATED}[\"'”’)\]]*(?=\s|$)|[。！？]+")
_RELATIONS = ("less than", "at least", "at most", "exactly")


def compare(found: int, relation: str, wanted: int) -> bool:
    """Whether a count stands in a relation to a number.

    Raises:
        ValueError: the relation is unknown.
    """
    if relation not in _RELATIONS:
        raise ValueError(f"relation {relation!r}: expected one of {', '.join(_RELATIONS)}")
    by_name = (found < wanted, found >= wanted, found <= wanted, found == wanted)
    return by_name[_RELATIONS.index(relation)]


def contains_all(text: str, keywords: Sequence[str]) -> bool:
    """Whether every keyword, a regular expression, is found; upper and lower case are the same."""
    return all(re.search(keyword, text, flags=re.IGNORECASE) for keyword in keywords)


def keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """How often a keyword, a regular expression, is found; upper and lower case are the same."""
    return compare(len(re.findall(keyword, text, flags=re.IGNORECASE)), relation, frequency)


def without_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """Whether none of the words stands in the text as a whole word; upper and lower case are the same."""
    return not any(re.search(rf"\b{word}\b", text, flags=re.IGNORECASE) for word in forbidden_words)


def only_words(text: str, words: Sequence[str]) -> bool:
    """Whether there are words, and each is one of these; upper and lower case are the same."""
    allowed = {word.casefold() for word in words}
    found = [word.casefold() for word in _WORD.findall(text)]
    return bool(found) and all(word in allowed for word in found)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """How often a letter, or another sign, is found; upper and lower case are the same."""
    return compare(text.lower().count(letter.lower()), let_relation, let_frequency)


def number_of_words(text: str, num_words: int, relation: str) -> bool:
    r"""How many words there are: runs of letters, digits and underscores, as IFEval counts them."""
    return compare(len(_WORD.findall(text)), relation, num_words)


def number_of_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """How many sentences there are.

    One ends with a full stop, question or exclamation mark before white space or at the end; what is left over is one
    more. IFEval counts with a model of English (punkt), which also knows abbreviations.
    """
    ends = list(_SENTENCE_END.finditer(text))
    left_over = _WORD.search(text, ends[-1].end() if ends else 0) is not None
    return compare(len(ends) + left_over, relation, num_sentences)


def number_of_characters(text: str, num_characters: int, relation: str) -> bool:
    """How many characters there are, without white space at the ends."""
    return compare(len(text.strip()), relation, num_characters)


def all_capitals(text: str) -> bool:
    """Whether there are letters, and none is a small one."""
    return text.isupper()


def all_lowercase(text: str) -> bool:
    """Whether there are letters, and none is a capital."""
    return text.islower()


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """How many words are in capitals alone."""
    return compare(sum(word.isupper() for word in _TOKEN.findall(text)), capital_relation, capital_frequency)


def starts_with(text: str, start_phrase: str) -> bool:
    """Whether the text begins with a phrase; upper and lower case are the same."""
    return text.strip().lower().startswith(start_phrase.strip().lower())


def ends_with(text: str, end_phrase: str) -> bool:
    """Whether the text ends with a phrase, quotation marks around the text aside; upper and lower case are the same."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def in_quotation_marks(text: str) -> bool:
    """Whether the text stands between double quotation marks."""
    inner = text.strip()
    return len(inner) > 1 and inner[0] == inner[-1] == '"'


def without_comma(text: str) -> bool:
    """Whether there is no comma."""
    return "," not in text
