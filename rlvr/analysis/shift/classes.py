r"""Classes of tokens, by a rule on their text alone, for any tokenizer. Pure.

The first that holds, of a token's text without white space around it:

ending      a control token: `<|im_end|>`, `</s>`, `<pad>`, `[SEP]`
number      it has a digit
operator    it has no letter and a sign of arithmetic or a relation, is a LaTeX command for one, or says one in a word
format      white space and punctuation alone (brackets, line breaks, marks of Markdown), or another LaTeX command
connective  a word that joins or plans steps: "first", "so", "wait"
other       what is left: words, and parts of words

A part of a word or of a command is judged by itself: a tokenizer that splits `\frac` into `\` and `frac` has a token of
`format` and one of `operator`, and a word of the lists that it splits is `other`. The words are English.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CLASSES = ("ending", "number", "operator", "format", "connective", "other")
_CONTROL = re.compile(r"<\|[^|<>]*\|>|</?[A-Za-z_]+>|\[[A-Z]{2,}\]|<｜[^｜]*｜>")
_SIGNS = frozenset("+-*/^=<>%×÷·−")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMANDS = _words(
    "frac dfrac tfrac cdot times div pm mp sqrt le leq ge geq ne neq lt gt equiv approx sum prod int log ln sin cos "
    "tan binom pmod mod"
)
_PIECES = _words("frac dfrac tfrac cdot sqrt leq geq neq")  # of a command that was split, and no words
_OPERATOR_WORDS = _words(
    "plus minus times equals equal divided multiplied sum difference product add subtract"
)
_FORMAT_PIECES = _words("boxed fbox mathrm mathbf")
_CONNECTIVES = _words(
    "first second third next then finally now so thus therefore hence because since if when while whereas "
    "but however although though instead otherwise also moreover and or let lets suppose assume consider given "
    "note notice recall wait hmm actually alternatively maybe perhaps step start try check verify again "
    "similarly likewise meanwhile follows implies means well"
)


@lru_cache(maxsize=200_000)
def class_of(text: str) -> str:
    """The class of a token's text, one of `CLASSES`."""
    bare = text.strip()
    if _CONTROL.fullmatch(bare):
        return "ending"
    if any(char.isdigit() for char in bare):
        return "number"
    letters = "".join(char for char in bare if char.isalpha()).casefold()
    if not letters:
        if len(bare) > 1 and set(bare) in ({"*"}, {"-"}):  # Markdown's `**` and `---`
            return "format"
        signs = any(char in _SIGNS or unicodedata.category(char) == "Sm" for char in bare)
        return "operator" if signs else "format"
    command = bare.startswith("\\")
    if letters in _PIECES or letters in (_COMMANDS if command else _OPERATOR_WORDS):
        return "operator"
    if command or letters in _FORMAT_PIECES:
        return "format"
    return "connective" if letters in _CONNECTIVES else "other"
