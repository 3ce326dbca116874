"""Questions that spell a control token: inside a turn it would end the turn, or forge another one."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from rlvr.data.prompting.templates import PromptForm, build_template, question_of
from rlvr.errors import DataError
from rlvr.types import Problem, Tokenizer

log = logging.getLogger(__name__)

IDS_LISTED = 5


def without_control_tokens(
    problems: Sequence[Problem], form: PromptForm, tokenizer: Tokenizer, on_bad_row: str
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return the problems whose questions are text only, and the ids of the others, by `data.on_bad_row`.

    Where the text of a prompt is the question itself (template plain), it may be one that somebody has rendered, and
    its tokens are meant. Raises DataError where a question holds one and bad rows are refused, and where none is left.
    """
    template = build_template(form.template)
    tokens = [added.content for added in tokenizer.added_tokens_decoder.values() if added.special]
    if template.special_tokens or not tokens:
        return tuple(problems), ()
    known = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
    found = {}
    for problem in problems:
        asked = [message.content for message in problem.messages if message.role != "assistant"]
        for text in asked or [question_of(problem, template)]:
            if (match := known.search(text)) is not None:
                found[problem.id] = match[0]
    if not found:
        return tuple(problems), ()
    listed = ", ".join(f"{name} ({token})" for name, token in list(found.items())[:IDS_LISTED])
    message = (
        f"{len(found)} of {len(problems)} questions hold control tokens of {tokenizer.name_or_path!r}: {listed}"
        f"{', ...' if len(found) > IDS_LISTED else ''}"
    )
    if on_bad_row == "refuse" or len(found) == len(problems):
        raise DataError(
            f"{message}. Inside a turn of data.template={form.template!r:.40} they would end it or begin another: take "
            "them out of the rows, set data.on_bad_row=skip, or give prompts that are rendered whole with "
            "data.template=plain"
        )
    log.warning("%s. They are left out", message)
    return tuple(p for p in problems if p.id not in found), tuple(found)
