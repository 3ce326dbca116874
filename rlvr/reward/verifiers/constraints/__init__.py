"""Constraints on a text that a program can check, by the names of IFEval (arXiv 2311.07911), and more of their kind.

`CONSTRAINTS` holds them; `package.module:function` of your own stands beside them. A check is a function of the text
and of keyword arguments, and says whether the text keeps to it. None looks at the language: what counts words,
sentences or letters does so for any script that separates them, a few abbreviations such as `Mr.` aside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.dotted import find_named
from rlvr.errors import ConfigError, DataError
from rlvr.reward.verifiers.constraints import layout, wording

Check = Callable[..., bool]  # (text, **arguments)

CONSTRAINTS: dict[str, Check] = {
    "keywords:existence": wording.contains_all,
    "keywords:frequency": wording.keyword_frequency,
    "keywords:forbidden_words": wording.without_words,
    "keywords:letter_frequency": wording.letter_frequency,
    "keywords:allowed_words": wording.only_words,
    "length_constraints:number_words": wording.number_of_words,
    "length_constraints:number_sentences": wording.number_of_sentences,
    "length_constraints:number_characters": wording.number_of_characters,
    "length_constraints:number_paragraphs": layout.number_of_paragraphs,
    "length_constraints:nth_paragraph_first_word": layout.first_word_of_paragraph,
    "length_constraints:number_lines": layout.number_of_lines,
    "change_case:english_capital": wording.all_capitals,
    "change_case:english_lowercase": wording.all_lowercase,
    "change_case:capital_word_frequency": wording.capital_word_frequency,
    "startend:start_checker": wording.starts_with,
    "startend:end_checker": wording.ends_with,
    "startend:quotation": wording.in_quotation_marks,
    "punctuation:no_comma": wording.without_comma,
    "detectable_content:number_placeholders": layout.number_of_placeholders,
    "detectable_content:postscript": layout.postscript,
    "detectable_format:number_bullet_lists": layout.number_of_bullets,
    "detectable_format:number_highlighted_sections": layout.number_of_highlights,
    "detectable_format:multiple_sections": layout.number_of_sections,
    "detectable_format:json_format": layout.is_json,
    "detectable_format:title": layout.has_title,
    "detectable_format:constrained_response": layout.one_of,
    "detectable_format:regex": layout.matches,
    "combination:two_responses": layout.two_responses,
    "combination:repeat_prompt": layout.repeats_prompt,
}
# IFEval's one constraint that needs to know a language.
UNSUPPORTED = {"language:response_language": "it needs a detector of languages"}


def build_constraint(name: str, arguments: Mapping[str, Any]) -> Callable[[str], bool]:
    """The check called `name`, given its arguments; those that are None or nan are left out, as in IFEval's rows.

    A whole number that has become a float on its way through a table, 2.0, is an integer again.

    Raises:
        DataError: unknown name, or arguments that the check does not take.
    """
    if name in UNSUPPORTED:
        raise DataError(f"constraint {name!r} is not among ours: {UNSUPPORTED[name]}")
    try:
        check: Check = find_named(name, CONSTRAINTS, "constraint") if ":" in name else CONSTRAINTS[name]
    except (ConfigError, KeyError) as error:
        raise DataError(
            f"there is no constraint {name!r}; use one of {', '.join(CONSTRAINTS)}, or package.module:function"
        ) from error
    given = {key: _whole(value) for key, value in arguments.items() if value is not None and value == value}
    try:
        inspect.signature(check).bind("", **given)
    except TypeError as error:
        raise DataError(f"constraint {name!r} with {given}: {error}") from error
    return lambda text: bool(check(text, **given))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
