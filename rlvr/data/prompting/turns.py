"""What a chat template reads of `data.chat_template_kwargs`, whether it writes the date, and how it ends a turn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rlvr.data.prompting.templates import render_messages, template_text
from rlvr.errors import DataError
from rlvr.types import Message, Tokenizer

SET_BY_THE_RUN = (
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "conversation",
    "chat_template",
)
ANSWER = "The answer is 2"
FIXED_DATE = "{{% macro strftime_now(form) %}}{date}{{% endmacro %}}"  # stands before the template's own text
ASKED = (Message("user", "What is 1 + 1?"), Message("assistant", ANSWER), Message("user", "And 1 + 2?"))


def refuse_unread_options(tokenizer: Tokenizer, options: Mapping[str, Any], given: Iterable[str]) -> None:
    """Refuse variables that would change nothing, as a misspelt one.

    Raises:
        DataError: the template does not name one of `given`, or it is an argument that the run itself sets.
    """
    text = template_text(tokenizer, options)
    for name in given:
        if name in SET_BY_THE_RUN:
            raise DataError(
                f"data.chat_template_kwargs.{name}: the run itself sets this argument; leave it out"
            )
        if not re.search(rf"\b{re.escape(name)}\b", text):
            raise DataError(
                f"data.chat_template_kwargs.{name}: the chat template of {tokenizer.name_or_path!r} reads no variable "
                "of that name, so it would change nothing; correct the name, or leave it out"
            )


def holds_the_date(tokenizer: Tokenizer, options: Mapping[str, Any]) -> bool:
    """Whether the template writes today's date into a prompt; as far as it takes a single question."""
    asked = [Message("user", "What is 1 + 1?")]

    def rendered(date: str) -> str:
        fixed = FIXED_DATE.format(date=date) + template_text(tokenizer, options)
        return render_messages(asked, tokenizer, {**options, "chat_template": fixed})

    try:
        return rendered("1 Jan 2001") != rendered("2 Feb 2002")
    except DataError:  # whether it can render the prompts of the run is found out there
        return False


def end_of_turn(tokenizer: Tokenizer, options: Mapping[str, Any]) -> tuple[str, int] | None:
    """The special token with which the template ends an answer, and its id.

    None where it ends otherwise, and where it takes no second question: then this is not known.
    """
    try:
        rest = render_messages(ASKED, tokenizer, options).partition(ANSWER)[2].lstrip()
    except DataError:  # whether it can render the prompts of the run is found out there
        return None
    special = {
        added.content: index for index, added in tokenizer.added_tokens_decoder.items() if added.special
    }
    ends = [token for token in special if rest.startswith(token)]
    if not ends:
        return None
    token = max(ends, key=len)
    return token, special[token]


def never_opened(tokenizer: Tokenizer, options: Mapping[str, Any]) -> str:
    """What the template writes between a question and its answer, but not at the end of a prompt.

    Empty where there is nothing, where the template reads `add_generation_prompt` and so writes it when it is asked to,
    and where it takes no second question.
    """
    if "add_generation_prompt" in template_text(tokenizer, options):
        return ""
    try:
        text = render_messages(ASKED, tokenizer, options)
    except DataError:  # whether it can render the prompts of the run is found out there
        return ""
    before_answer = text.partition(ASKED[0].content)[2].partition(ANSWER)[0].rstrip()
    end = text.rpartition(ASKED[2].content)[2].rstrip()
    return before_answer.removeprefix(end).strip() if before_answer.startswith(end) else ""
