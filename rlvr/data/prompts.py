"""How the sources of a run make prompts: each as it says itself, else as `data` says."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.models.tokenizer import read_chat_template
from rlvr.data.prompting.templates import PromptForm, Shown, build_template
from rlvr.data.sources import LoadedSource, is_endless, load_problems
from rlvr.errors import DataError
from rlvr.types import Problem

log = logging.getLogger(__name__)

RESPONSE = "response"  # column of what an example answers
# Columns that other frameworks make a part of the prompt.
COLUMNS_NOT_SHOWN = (
    *("tools", "images", "image", "videos", "video", "audios", "audio"),
    *("system", "system_prompt", "chat_template_kwargs"),
)


def template_of(source: SourceConfig, cfg: DataConfig) -> str:
    """The template of a source."""
    return cfg.template if source.template is None else source.template


def system_of(source: SourceConfig, cfg: DataConfig) -> str | None:
    """The system message of a source; an empty one is none."""
    return (cfg.system if source.system is None else source.system) or None


def examples_of(source: SourceConfig, cfg: DataConfig) -> str | int | None:
    """The examples of a source: a path, a number, or none."""
    return (cfg.examples if source.examples is None else source.examples) or None


def load_source(
    source: SourceConfig, cfg: DataConfig, *, evaluation: bool = False, verifier: str | None = None
) -> LoadedSource:
    """The problems of a source as `load_problems` has it, by the policies and the template of the configuration.

    `verifier` grades where a source names none.
    """
    template = template_of(source, cfg)
    loaded = load_problems(
        source,
        on_bad_row=cfg.on_bad_row,
        evaluation=evaluation,
        conversations=build_template(template).conversations,
        verifier=verifier,
    )
    _warn_of_unshown(loaded, template)
    _warn_of_given_answers(loaded)
    return loaded


def _warn_of_unshown(loaded: LoadedSource, template: str) -> None:
    """Warn of columns that are parts of a prompt elsewhere, and are not read here."""
    for column in COLUMNS_NOT_SHOWN:
        count = sum(bool(problem.columns.get(column)) for problem in loaded.problems)
        if count and not re.search(rf"\b{column}\b", template):
            log.warning(
                "data source %s: %d of %d rows have something in their column %r, which no prompt shows: prompts are "
                "text, made of the question (which may be a list of messages, or a template with {columns}), "
                "data.system and data.chat_template_kwargs",
                loaded.name,
                count,
                len(loaded.problems),
                column,
            )


def _warn_of_given_answers(loaded: LoadedSource) -> None:
    """Warn of conversations that end in their answer, from which a response would only go on."""
    given = [
        problem.id
        for problem in loaded.problems
        if problem.messages
        and problem.answer
        and problem.messages[-1].role == "assistant"
        and re.search(rf"(?<!\w){re.escape(problem.answer)}(?!\w)", problem.messages[-1].content)
    ]
    if given:
        log.warning(
            "data source %s: %d of %d conversations, such as %s, end in a turn of the assistant that holds their gold "
            "answer, and responses go on from there: leave that turn out, unless it is a beginning that is meant",
            loaded.name,
            len(given),
            len(loaded.problems),
            given[0],
        )


def chat_options_of(cfg: DataConfig) -> dict[str, Any]:
    """The arguments of `apply_chat_template` that the configuration sets.

    Raises:
        DataError: the file of another chat template cannot be read.
    """
    options = dict(cfg.chat_template_kwargs)
    if (own := read_chat_template(cfg.chat_template)) is not None:
        options["chat_template"] = own
    return options


def split_examples(
    source: SourceConfig, cfg: DataConfig, loaded: LoadedSource | None
) -> tuple[PromptForm, tuple[Problem, ...]]:
    """How a source makes prompts, and its problems without those that are shown as examples.

    `loaded` is None for the endless stream, which has other problems for examples.

    Raises:
        DataError: the examples cannot be read, or they leave no problem.
    """
    problems = () if loaded is None else loaded.problems
    form = PromptForm(template_of(source, cfg), system_of(source, cfg), chat_options=chat_options_of(cfg))
    asked = examples_of(source, cfg)
    if asked is None:
        return form, problems
    if isinstance(asked, str):
        file = replace(source, name=f"{source.name}_examples", path=asked, split=None, limit=None)
        shown, rest = load_problems(file).problems, problems
    elif is_endless(source):
        shown, rest = load_problems(replace(source, limit=asked)).problems, problems
    else:
        shown, rest = problems[:asked], problems[asked:]
        if not rest:
            raise DataError(
                f"data source {source.name!r}: examples={asked}, but it has {len(problems)} problems: none is left. "
                "Show fewer, or name a file of examples"
            )
    template = build_template(form.template)
    return replace(form, examples=tuple(Shown(p, _response(p, template.answer_line)) for p in shown)), rest


def _response(problem: Problem, answer_line: bool) -> str:
    """What an example answers: the text of its own column, else its answer in the form that the prompt asks for."""
    written = problem.columns.get(RESPONSE)
    if isinstance(written, str) and written.strip():
        return written
    if not problem.answer:
        raise DataError(
            f"problem {problem.id} is shown as an example, but has neither an answer nor a column {RESPONSE!r}; show "
            "problems that have one of them, from a file of examples"
        )
    return f"Answer: {problem.answer}" if answer_line else rf"\boxed{{{problem.answer}}}"
