"""A page from its template: one file that needs nothing else, with every text in it escaped."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rlvr.reporting.figures.canvas import Drawn
from rlvr.reporting.theme import css_variables

WHITESPACE = {" ": "sp", "\n": "nl", "\t": "tab"}
# Control, format (bidirectional overrides among them), private, surrogate, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the large figures in the head of a page."""

    value: str
    label: str
    note: str


def document(
    template: str,
    title: str,
    figures: Sequence[Drawn],
    *,
    tokens: dict[str, Any] | None = None,
    **content: Any,
) -> str:
    """A self-contained HTML file: no request leaves it, and a content security policy says so to the browser.

    The numbers of the `figures` in it go along; `tokens` is what the script of the token pages reads.
    """
    style = _source("style.css")
    for theme in ("light", "dark"):
        style = style.replace(f"/*{theme}*/", css_variables(theme))
    page = environment().get_template(template)
    return page.render(
        title=title,
        style=Markup(style),
        figure_data=embedded_json("figure-data", {figure.name: figure.csv for figure in figures}),
        token_data=embedded_json("token-data", tokens),
        **content,
    )


@cache
def environment() -> Environment:
    """Jinja with autoescape; a name that a template needs and nobody gave is an error."""
    made = Environment(
        loader=PackageLoader("rlvr.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["unbroken"] = unbroken
    made.globals["source"] = lambda name: Markup(_source(name))
    return made


def _source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]


def unbroken(text: str) -> str:
    """Text whose numbers stay on one line with their per cent signs."""
    return text.replace(" %", "\u00a0%")


def visible_token(text: str) -> Markup:
    """A token with its spaces and line ends shown by style, so that a selection still copies the text.

    Characters that cannot be seen, such as bidirectional overrides, are shown as U+XXXX.
    """
    return Markup("").join(map(_character, text)) or Markup('<span class="code">empty</span>')


def _character(character: str) -> Markup:
    if character in WHITESPACE:
        return Markup('<span class="{}">{}</span>').format(WHITESPACE[character], character)
    if unicodedata.category(character) in UNSEEN:
        return Markup('<span class="code">U+{:04X}</span>').format(ord(character))
    return escape(character)


def embedded_json(identity: str, content: Any) -> Markup:
    """A script element that holds JSON and that no content can close early.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(identity, Markup(text))
