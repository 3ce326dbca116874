r"""The options that a cleaned answer names, such as `(B)`, `Option B` or `A, C`: pure text."""

import re

from rlvr.reward.rules.markup import STYLE_WRAPPER, WORDS

_NAMED = re.compile(
    r"(?:(?:option|choice|answer)\s*:?\s*)?(?:\(([A-Ja-j])\)|([A-Ja-j])(?=$|[.):,]| [-–—] (?![A-J]$)|"
    r" (?:because|since)\b| \(?-?[0-9]))",
    re.I,
)
_COUNTER = re.compile(r"^(?:选项|选|選項)\s*|\s*(?:项|項|选项)$|(?<=[A-J]) :$")
_ENCLOSED = re.compile(r"[\[<\"']([A-J])[\]>\"']")
_ANOTHER = re.compile(
    r"(?:[\s.,;:/&()\[\]]|\b(?:and|or)\b)*\(?([A-J]|(?<=\()[a-j])(?=\s*(?:$|[).:,;/&\]]|(?:and|or)\b))"
)
_SEVERAL = re.compile(r"\(?[A-J]\)?(?:(?: ?[,;] ?(?:and )?| and )\(?[A-J]\)?){1,9}")
_RUN = re.compile("[A-J]{2,10}")
# `(B) 12`: an option and what it says; in words `C. elegans` is none.
_LABELLED = re.compile(
    r"(?:\(([A-J])\)[.:]?\s*|([A-J])\)\s+|([A-J])[.:]\s+(?=[-0-9$\\]))(?![,;/&]|(?:and|or)\b|\(?[A-J]\b)(.+)"
)
# What an answer may have between the two as well, where the gold answer has a value: `B, 13`, `B (13)`, `B - 13`.
_LABELLED_LOOSELY = re.compile(
    rf"([A-J])(?:\s*[,=]\s*|\s+[-–—]\s+|\s*\(|\s+)((?:{WORDS}\s*\{{\s*)?[-+]?(?:[0-9.$]|\\(?!text|math|mbox|begin)).*)"
)
_STYLED_LABEL = re.compile(rf"^(\(?){WORDS}\s*\{{\s*([^{{}}]*?)\s*\}}")
# Straight behind an option, words that take it back or leave another one open; further on they belong to its text.
_TAKEN_BACK = re.compile(
    r"[\s,;:)\-–—]*(?:(?:is|was)(?:n't| not| wrong| incorrect| false)|wrong|incorrect|maybe|perhaps|unless)\b",
    re.I,
)


def picked_choice(answer: str) -> str | None:
    """The option that a cleaned answer names, None where it names none or, like `A, B` or `(A)(B)`, several."""
    answer = _COUNTER.sub("", STYLE_WRAPPER.sub(r"\1", answer))
    enclosed = _ENCLOSED.fullmatch(answer)
    if enclosed is not None:
        return enclosed[1]
    picked = _NAMED.match(answer)
    if picked is None:
        return None
    letter = (picked.group(1) or picked.group(2)).upper()
    if _TAKEN_BACK.match(answer, picked.end()):
        return None
    another = _ANOTHER.match(answer, picked.end())
    return letter if another is None or another.group(1).upper() == letter else None


def asked_option(gold: str, answer: str) -> tuple[str, str]:
    """Both as letters or as values, where the gold answer is an option with its value, as `(B) 12`.

    An answer that names an option and another value is left as it is, and so is any other pair.
    """
    labelled = None if gold == answer else _labelled(gold)
    if labelled is None:
        return gold, answer
    letter, value = labelled
    theirs = _labelled(answer) or _labelled_loosely(answer)
    if theirs is not None:
        return (value, theirs[1]) if theirs[0] == letter else (letter, theirs[0])
    picked = picked_choice(answer)
    return (value, answer) if picked is None else (letter, picked)


def _labelled(text: str) -> tuple[str, str] | None:
    """The letter and the value of `(B) 12`, None for anything else."""
    found = _LABELLED.fullmatch(_STYLED_LABEL.sub(r"\1\2", text))
    return None if found is None else (found[1] or found[2] or found[3], found[4].strip())


def _labelled_loosely(text: str) -> tuple[str, str] | None:
    found = _LABELLED_LOOSELY.fullmatch(_STYLED_LABEL.sub(r"\1\2", text))
    if found is None:
        return None
    value = found[2].strip()
    return found[1], value[:-1] if value.endswith(")") and "(" not in value else value


def same_options(gold: str, answer: str) -> bool | None:
    """Compare several options in any order, `A, C` or `AC`; None where one of the two names none or both are words."""
    if _RUN.fullmatch(gold) and _RUN.fullmatch(answer):
        return None
    options = [_options(text) for text in (gold, answer)]
    return None if None in options else options[0] == options[1]


def _options(text: str) -> frozenset[str] | None:
    is_run = _RUN.fullmatch(text) is not None
    if not is_run and not _SEVERAL.fullmatch(text):
        return None
    letters = re.findall("[A-J]", text)
    return frozenset(letters) if not is_run or letters == sorted(set(letters)) else None
