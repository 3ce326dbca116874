r"""Prompt templates: how a question becomes the text that the model continues.

Which `data.template` suits which model:

    plain       the question and nothing else: the built-in model, and base models that were taught a format
    chat        the tokenizer's own chat template around the question: instruction-tuned models
    qwen_math   Qwen2.5-Math's prompt with its \boxed{} instruction in ChatML: Qwen base and instruct models
    dapo        DAPO's instructions around the question, in the tokenizer's chat template as in DAPO's own run
    dapo_plain  the same instructions without a chat template: base models that have none

The two DAPO templates ask for an "Answer:" line instead of a box: grade them with a reward.policy that reads
both (last_box_or_unboxed), or every answer counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.data.catalog import DAPO_PREFIX, DAPO_SUFFIX
from rlvr.data.prompting.column_templates import CHAT, column_filler, is_written_out
from rlvr.dotted import find_named, require_record
from rlvr.errors import DataError
from rlvr.types import Message, Problem, Prompt, Tokenizer

QWEN_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."
ROLES = ("system", "developer", "user", "assistant", "tool")
OTHER_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant"}  # as ShareGPT and others write them
MOST_LOST = 0.1  # share of a prompt's characters; Unicode normalisation may merge a few


def _plain(question: str, tokenizer: Tokenizer) -> str:
    return question


def _chat(question: str, tokenizer: Tokenizer) -> str:
    return render_messages((Message("user", question),), tokenizer)


def _as_it_is(question: str) -> str:
    return question


def template_text(tokenizer: Tokenizer, options: Mapping[str, Any]) -> str:
    """The Jinja text that conversations are rendered in; empty where there is none.

    A tokenizer may have several by name: a conversation without tools takes the one called `default`.
    """
    template = options.get("chat_template") or tokenizer.chat_template or ""
    return str(template.get("default", "")) if isinstance(template, dict) else str(template)


def render_messages(
    messages: Sequence[Message], tokenizer: Tokenizer, options: Mapping[str, Any] | None = None
) -> str:
    """Return a conversation in the tokenizer's chat template, open for the assistant to go on.

    A last turn of the assistant is a beginning that it continues, white space at its end included. `options` are
    further arguments of `apply_chat_template`. Raises DataError where there is no template, where it raises, and
    where it leaves a system or user message out.
    """
    where = f"data.template: the chat template of the tokenizer {tokenizer.name_or_path!r}"
    if not (template := template_text(tokenizer, options or {})):
        raise DataError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template, which data.template=chat and "
            "data.template=dapo need; use plain, dapo_plain or, for Qwen models, qwen_math, or name a file with "
            "data.chat_template"
        )
    _refuse_odd_roles(messages, template)
    last = messages[-1]
    goes_on = last.role == "assistant"
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = str(
            tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
                **(options or {}),
            )
        )
    except Exception as error:  # a template is a program that came with the tokenizer: it may raise anything
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"{where} cannot render a conversation of {roles}: {type(error).__name__}: {error}. Give the messages that "
            "it asks for, use another data.template (plain), or mend the template"
        ) from error
    if goes_on and text.endswith(last.content.rstrip()):
        text += last.content[len(last.content.rstrip()) :]  # some templates trim what they are given
    lost = [m.role for m in messages if m.role in ("system", "user") and m.content.strip() not in text]
    if lost:
        raise DataError(
            f"{where} leaves out the {lost[0]} message; use a template that renders it, or drop the message"
        )
    return text


def _refuse_odd_roles(messages: Sequence[Message], template: str) -> None:
    """Refuse a role that is a usual one in another spelling: a template that writes any role would write it as it is.

    Raises:
        DataError: names the usual one.
    """
    for place, message in enumerate(messages, start=1):
        said = message.role.strip().lower()
        usual = OTHER_ROLES.get(said, said)
        if message.role != usual and usual in ROLES and message.role not in template:
            raise DataError(
                f"message {place} has the role {message.role!r}, which the chat template does not name; write "
                f"{usual!r}"
            )


def _qwen_math(question: str, tokenizer: Tokenizer) -> str:
    for mark in ("<|im_start|>", "<|im_end|>"):
        if len(tokenizer.encode(mark, add_special_tokens=False)) != 1:
            raise DataError(
                f"the tokenizer {tokenizer.name_or_path!r} does not know {mark} as one token, which "
                "data.template=qwen_math needs; use chat, plain or dapo_plain"
            )
    return (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{question}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def _dapo_text(question: str) -> str:
    return f"{DAPO_PREFIX}{question}{DAPO_SUFFIX}"


def _dapo_plain(question: str, tokenizer: Tokenizer) -> str:
    return _dapo_text(question)


def _dapo(question: str, tokenizer: Tokenizer) -> str:
    return _chat(_dapo_text(question), tokenizer)


@dataclass(frozen=True, slots=True)
class Template:
    """How a question is rendered, and who writes the special tokens at its start."""

    render: Callable[[str, Tokenizer], str]
    special_tokens: bool  # True: the tokenizer adds its own (a BOS); False: the rendered text holds them
    conversations: bool = False  # whether a list of messages passes whole
    answer_line: bool = False  # whether it asks for a last line "Answer: ..." instead of a box
    # The user's turn around a question, where the tokenizer's chat template does the rest: such a template takes a
    # system message, and examples as turns. `render` then is the same with neither.
    user_turn: Callable[[str], str] | None = None
    repeats: bool = True  # whether examples may stand before it as text
    fill: Callable[[Problem], str] | None = None  # the question from all columns of a row

    @property
    def chat(self) -> bool:
        """Whether prompts go through the tokenizer's chat template."""
        return self.user_turn is not None


TEMPLATES: dict[str, Template] = {
    "plain": Template(_plain, special_tokens=True),
    "chat": Template(_chat, special_tokens=False, conversations=True, user_turn=_as_it_is),
    "qwen_math": Template(_qwen_math, special_tokens=False, repeats=False),
    "dapo": Template(_dapo, special_tokens=False, answer_line=True, user_turn=_dapo_text),
    "dapo_plain": Template(_dapo_plain, special_tokens=True, answer_line=True),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A question with a response, that prompts show before their own question."""

    problem: Problem
    response: str


@dataclass(frozen=True, slots=True)
class PromptForm:
    """How the problems of a source become prompts."""

    template: str = "plain"
    system: str | None = None  # for conversations that bring none
    examples: tuple[Shown, ...] = ()
    # Arguments of `apply_chat_template`: variables of the chat template, and `chat_template` for another one.
    chat_options: Mapping[str, Any] = field(default_factory=dict)


def build_template(name: str, key: str = "data.template") -> Template:
    """The template called `name` (built in, text with columns, or a dotted path).

    Raises:
        ConfigError: unknown name, no `Template`, or no Jinja.
    """
    if is_written_out(name):
        fill = column_filler(name)
        if name.startswith(CHAT):
            return Template(_chat, special_tokens=False, user_turn=_as_it_is, fill=fill)
        return Template(_plain, special_tokens=True, fill=fill)
    template = find_named(name, TEMPLATES, key)
    require_record(template, name, key, Template)
    return template


def render(template: str, question: str, tokenizer: Tokenizer) -> str:
    """Return the text of a prompt.

    Raises ConfigError for an unknown template, DataError where the tokenizer lacks what the template needs.
    """
    return build_template(template).render(question, tokenizer)


def question_of(problem: Problem, template: Template) -> str:
    """What a template asks: the question, or what it makes of the row's columns."""
    return problem.question if template.fill is None else template.fill(problem)


def prompt_text(problem: Problem, form: PromptForm, tokenizer: Tokenizer) -> str:
    """A problem as the text that the model continues, with the form's system message and examples before it.

    Raises DataError as `render_messages` does, and where the template names a column that a row lacks.
    """
    template = build_template(form.template)

    if form.system and template.user_turn is None and not problem.messages:
        raise DataError(
            f"data.system with data.template={form.template!r:.40}: only templates with turns have a place for it "
            "(chat, dapo, text that begins with chat:)"
        )
    examples = [e for e in form.examples if e.problem.question != problem.question]  # never its own answer
    if template.user_turn is None and not problem.messages:
        blocks = [template.render(question_of(example.problem, template), tokenizer) for example in examples]
        before = [f"{_spaced(b)}{e.response}\n\n" for b, e in zip(blocks, examples, strict=True)]
        return "".join([*before, template.render(question_of(problem, template), tokenizer)])
    wrap = template.user_turn or _as_it_is
    own = list(problem.messages) or [Message("user", wrap(question_of(problem, template)))]
    system = [Message("system", form.system)] if form.system else []
    if own[0].role == "system":
        system, own = own[:1], own[1:]
    shown: list[Message] = []
    for example in examples:
        asked = example.problem.messages or (Message("user", wrap(question_of(example.problem, template))),)
        shown += [*asked, Message("assistant", example.response)]
    return render_messages([*system, *shown, *own], tokenizer, form.chat_options)


def _spaced(block: str) -> str:
    return block if block[-1:].isspace() else f"{block} "


def tokenize(problem: Problem, form: PromptForm | str, tokenizer: Tokenizer) -> Prompt:
    """Render a problem and turn it into token ids, with exactly one set of special tokens at the start.

    Raises DataError as `prompt_text` does, and if there are no tokens, if the tokenizer lost part of the text, or if
    they end in the end token, after which a model would not continue.
    """
    form = PromptForm(form) if isinstance(form, str) else form
    template = form.template
    text = prompt_text(problem, form, tokenizer)
    # A question may be a whole prompt that somebody has rendered before, its BOS included.
    begun = bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))
    ids = tokenizer.encode(text, add_special_tokens=build_template(template).special_tokens and not begun)
    if not ids:
        raise DataError(f"prompt {problem.id}: no tokens for {problem.question!r} in template {template!r}")
    if tokenizer.eos_token and problem.question.endswith(tokenizer.eos_token):
        raise DataError(
            f"prompt {problem.id}: its question ends in the end token {tokenizer.eos_token!r}, after which nothing is "
            "written; take it out of the row"
        )
    if ids[-1] == tokenizer.eos_token_id and not text.endswith(str(tokenizer.eos_token)):
        raise DataError(
            f"prompt {problem.id}: the tokenizer {tokenizer.name_or_path!r} appends its end token; "
            "set add_eos_token to false in its tokenizer_config.json"
        )
    lost = 1 - _letters(str(tokenizer.decode(ids))) / max(_letters(text), 1)
    if lost > MOST_LOST:
        raise DataError(
            f"prompt {problem.id}: the tokenizer {tokenizer.name_or_path!r} loses {lost:.0%} of the text "
            f"{text[:60]!r}; its vocabulary does not cover it: use another model or other data"
        )
    return Prompt(problem=problem, token_ids=tuple(ids))


def _letters(text: str) -> int:
    """The characters that are not white space."""
    return sum(not char.isspace() for char in text)
