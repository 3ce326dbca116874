"""Small pieces of safe HTML: escaped text, visible tokens, embedded JSON, tables. Pure."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WHITESPACE = {" ": "sp", "\n": "nl", "\t": "tab"}
# Control, format (bidirectional overrides among them), private, surrogate, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"}


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already and is not escaped again."""

    html: str


Content = str | Markup


def as_html(content: Content) -> str:
    """Escaped text, or markup as it is."""
    return content.html if isinstance(content, Markup) else escape(content)


def visible_token(text: str) -> Markup:
    """A token with its spaces and line ends shown by style, so that a selection still copies the text.

    Characters that cannot be seen, such as bidirectional overrides, are shown as U+XXXX.
    """
    return Markup("".join(_character(c) for c in text) or '<span class="code">empty</span>')


def _character(character: str) -> str:
    if character in WHITESPACE:
        return f'<span class="{WHITESPACE[character]}">{character}</span>'
    if unicodedata.category(character) in UNSEEN:
        return f'<span class="code">U+{ord(character):04X}</span>'
    return escape(character)


def embedded_json(identity: str, content: Any) -> str:
    """A script element that holds JSON and that no content can close early.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{escape(identity)}">{text}</script>'


def table(header: Sequence[str], rows: Sequence[Sequence[Content]], caption: str) -> str:
    """A caption and a table that scrolls inside its own container; the first column names the row."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in header)
    body = "".join(
        f'<tr><th scope="row">{as_html(row[0])}</th>'
        + "".join(f"<td>{as_html(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<p class="caption">{unbroken(caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def unbroken(text: str) -> str:
    """Escaped text whose numbers stay on one line with their per cent signs."""
    return escape(text).replace(" %", "\u00a0%")


def details(summary: str, text: str) -> str:
    """A closed block of preformatted text."""
    return (
        f"<details><summary>{escape(summary)}</summary>"
        f'<pre tabindex="0" aria-label="{escape(summary)}">{escape(text)}</pre></details>'
    )
