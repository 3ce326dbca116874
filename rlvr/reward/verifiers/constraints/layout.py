"""Checks of the form of a text: paragraphs, lists, sections, JSON, whole answers. Pure; IFEval's: arXiv 2311.07911."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from rlvr.reward.verifiers.constraints.wording import compare

ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")  # IFEval's own
_PLACEHOLDER = re.compile(r"\[.*?\]")
_STAR_BULLET = re.compile(r"^\s*\*[^\*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^\s*-.*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*[^\n\*]*\*")
_BOLD = re.compile(r"\*\*[^\n\*]*\*\*")
_TITLE = re.compile(r"<<[^\n]+>>")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_MARKS = ".,?!'\""


def number_of_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Whether there are so many paragraphs, divided by ***, none of them empty but the first and the last."""
    parts = _DIVIDER.split(text)
    inner = parts[1:-1]
    if not all(part.strip() for part in inner):
        return False
    ends = parts[:1] + parts[1:][-1:]
    return len(inner) + sum(bool(part.strip()) for part in ends) == num_paragraphs


def first_word_of_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Whether there are so many paragraphs, divided by an empty line, and one of them begins with a word."""
    # IFEval's own code counts these but looks among the blank ones, too: three line ends would move all that follow.
    parts = [part for part in text.split("\n\n") if part.strip()]
    if nth_paragraph > len(parts):
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    end = next((place for place, sign in enumerate(word) if sign in _MARKS), len(word))
    return len(parts) == num_paragraphs and word[:end].lower() == first_word.lower()


def number_of_lines(text: str, num_lines: int, relation: str) -> bool:
    """How many lines are not empty."""
    return compare(sum(bool(line.strip()) for line in text.splitlines()), relation, num_lines)


def number_of_placeholders(text: str, num_placeholders: int) -> bool:
    """Whether there are at least so many [placeholders]."""
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """Whether there is a postscript that begins with the marker, `P.S.` and `P.P.S` also with spaces in them."""
    spaced = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(spaced.get(postscript_marker, postscript_marker.lower()), text.lower()) is not None


def number_of_bullets(text: str, num_bullets: int) -> bool:
    """Whether so many lines begin with * or -."""
    return len(_STAR_BULLET.findall(text)) + len(_DASH_BULLET.findall(text)) == num_bullets


def number_of_highlights(text: str, num_highlights: int) -> bool:
    """Whether at least so many parts are *highlighted*."""
    found = [part.strip("*") for part in _HIGHLIGHT.findall(text)]
    found += [part.removeprefix("**").removesuffix("**") for part in _BOLD.findall(text)]
    return sum(bool(part.strip()) for part in found) >= num_highlights


def number_of_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """Whether there are at least so many sections, each headed by the word and a number."""
    return len(re.split(rf"\s?{section_spliter}\s?\d+\s?", text)) - 1 >= num_sections


def is_json(text: str) -> bool:
    """Whether the text, without a fence around it, is JSON."""
    inner = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def has_title(text: str) -> bool:
    """Whether there is a <<title>>."""
    return any(found.lstrip("<").rstrip(">").strip() for found in _TITLE.findall(text))


def one_of(text: str, options: Sequence[str] = ANSWERS) -> bool:
    """Whether one of the options stands in the text."""
    return any(option in text for option in options)


def matches(text: str, pattern: str) -> bool:
    """Whether a regular expression is found in the text."""
    return re.search(pattern, text) is not None


def two_responses(text: str) -> bool:
    """Whether there are two different responses, divided by ******."""
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    given = [part for part in parts if part]
    return len(given) == 2 and given[0] != given[1]


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    """Whether the text begins with the prompt; upper and lower case are the same."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())
