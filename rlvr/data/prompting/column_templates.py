r"""Templates that are written in the configuration: `{column}`, or Jinja, over the columns of a row.

    data.template='Question: {question}\nAnswer:'            the whole text that the model continues
    data.template='chat:{question}\n\nChoices: {choices}'    the user's turn, in the tokenizer's chat template
    data.template='{{ question }}{% for c in choices %}\n- {{ c }}{% endfor %}'

A column is a name, or names along dots into a nested record. Any other brace is text, as in `\boxed{}`. `question` is
always there. `answer` never is: a prompt must not show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rlvr.errors import ConfigError, DataError
from rlvr.reward.example import find_column
from rlvr.types import Problem

CHAT = "chat:"  # in front of the text of a user's turn
_COLUMN = re.compile(r"\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_JINJA = re.compile(r"\{\{|\{%")


def is_written_out(template: str) -> bool:
    """Whether a template is text with columns rather than a name."""
    return bool(_COLUMN.search(template) or _JINJA.search(template))


@lru_cache(maxsize=64)
def column_filler(template: str) -> Callable[[Problem], str]:
    """The function that fills a problem's columns into a template.

    It raises DataError where the problem has no such column, or a Jinja template fails on it.

    Raises:
        ConfigError: the template is no Jinja.
    """
    text = template.removeprefix(CHAT)
    return _jinja(text) if _JINJA.search(text) else lambda problem: _filled(text, problem)


def _filled(text: str, problem: Problem) -> str:
    columns = _columns(problem)

    def value(match: re.Match[str]) -> str:
        there, found = find_column(columns, match[1])
        if not there:
            raise _missing(problem, repr(match[1]), columns)
        return found if isinstance(found, str) else str(found)

    return _COLUMN.sub(value, text)


def _jinja(text: str) -> Callable[[Problem], str]:
    from jinja2 import StrictUndefined, TemplateError, UndefinedError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    try:
        compiled = environment.from_string(text)
    except TemplateError as error:
        raise ConfigError(f"data.template={text!r:.60}: is no Jinja template: {error}") from error

    def fill(problem: Problem) -> str:
        columns = _columns(problem)
        try:
            return compiled.render(columns)
        except UndefinedError as error:
            raise _missing(problem, f"something that is not there ({error})", columns) from error
        except Exception as error:  # a template is a program of the user's
            raise DataError(
                f"source {problem.source!r}, row {problem.id}: data.template {text!r:.60} fails with "
                f"{type(error).__name__}: {error}"
            ) from error

    return fill


def _columns(problem: Problem) -> dict[str, Any]:
    columns = {name: value for name, value in problem.columns.items() if name != "answer"}
    return columns | {"question": problem.question}


def _missing(problem: Problem, what: str, columns: dict[str, Any]) -> DataError:
    return DataError(
        f"source {problem.source!r}, row {problem.id}: data.template names {what}; its columns are "
        f"{', '.join(columns)} (never the gold answer). Name one of them, or add the column to the data"
    )
