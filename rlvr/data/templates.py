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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlvr.data.catalog import DAPO_PREFIX, DAPO_SUFFIX
from rlvr.dotted import find_named, require_record
from rlvr.errors import DataError
from rlvr.types import Message, Problem, Prompt, Tokenizer

QWEN_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."
MOST_LOST = 0.1  # share of a prompt's characters; Unicode normalisation may merge a few


def _plain(question: str, tokenizer: Tokenizer) -> str:
    return question


def _chat(question: str, tokenizer: Tokenizer) -> str:
    return render_messages((Message("user", question),), tokenizer)


def render_messages(messages: Sequence[Message], tokenizer: Tokenizer) -> str:
    """Return a conversation in the tokenizer's chat template, open for the assistant to go on.

    A last turn of the assistant is a beginning that it continues, white space at its end included. Raises DataError
    where there is no template, where it raises, and where it leaves a system or user message out.
    """
    where = f"data.template: the chat template of the tokenizer {tokenizer.name_or_path!r}"
    if not tokenizer.chat_template:
        raise DataError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template, which data.template=chat and "
            "data.template=dapo need; use plain, dapo_plain or, for Qwen models, qwen_math"
        )
    last = messages[-1]
    goes_on = last.role == "assistant"
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = str(
            tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
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


def _dapo_plain(question: str, tokenizer: Tokenizer) -> str:
    return f"{DAPO_PREFIX}{question}{DAPO_SUFFIX}"


def _dapo(question: str, tokenizer: Tokenizer) -> str:
    return _chat(_dapo_plain(question, tokenizer), tokenizer)


@dataclass(frozen=True, slots=True)
class Template:
    """How a question is rendered, and who writes the special tokens at its start."""

    render: Callable[[str, Tokenizer], str]
    special_tokens: bool  # True: the tokenizer adds its own (a BOS); False: the rendered text holds them
    conversations: bool = False  # whether a list of messages passes whole
    answer_line: bool = False  # whether it asks for a last line "Answer: ..." instead of a box


TEMPLATES: dict[str, Template] = {
    "plain": Template(_plain, special_tokens=True),
    "chat": Template(_chat, special_tokens=False, conversations=True),
    "qwen_math": Template(_qwen_math, special_tokens=False),
    "dapo": Template(_dapo, special_tokens=False, answer_line=True),
    "dapo_plain": Template(_dapo_plain, special_tokens=True, answer_line=True),
}


def build_template(name: str) -> Template:
    """The template called `name` (built in, or a dotted path).

    Raises:
        ConfigError: unknown name, or no `Template`.
    """
    template = find_named(name, TEMPLATES, "data.template")
    require_record(template, name, "data.template", Template)
    return template


def render(template: str, question: str, tokenizer: Tokenizer) -> str:
    """Return the text of a prompt.

    Raises ConfigError for an unknown template, DataError where the tokenizer lacks what the template needs.
    """
    return build_template(template).render(question, tokenizer)


def takes_conversations(template: str) -> bool:
    """Whether prompts of a template may be conversations rather than one question."""
    return build_template(template).conversations


def tokenize(problem: Problem, template: str, tokenizer: Tokenizer) -> Prompt:
    """Render a problem and turn it into token ids, with exactly one set of special tokens at the start.

    Raises DataError as `render` does, and if there are no tokens, if the tokenizer lost part of the text, or if
    it appended its end token, after which a model would not continue.
    """
    if problem.messages:
        text = render_messages(problem.messages, tokenizer)
    else:
        text = render(template, problem.question, tokenizer)
    # A question may be a whole prompt that somebody has rendered before, its BOS included.
    begun = bool(tokenizer.bos_token) and text.startswith(str(tokenizer.bos_token))
    ids = tokenizer.encode(text, add_special_tokens=build_template(template).special_tokens and not begun)
    if not ids:
        raise DataError(f"prompt {problem.id}: no tokens for {problem.question!r} in template {template!r}")
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
