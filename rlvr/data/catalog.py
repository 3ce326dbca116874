"""The mathematics data sets known by name: where each lives on the Hugging Face hub and how to read it.

To add one, add an entry to `CATALOG`. A name decides the format of a row, also for a local copy of the data; a local
file whose first rows are of another format is one of the user's own, see `rlvr.data.problems`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rlvr.reward.extract import find_boxes, joined_boxes
from rlvr.types import Message

DAPO_PREFIX = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
DAPO_SUFFIX = '\n\nRemember to put your answer on its own line after "Answer:".'
_MESSAGES = re.compile(r"\s*\[\s*\{")
_PRINTED = re.compile(r"""\s*\[\s*\{\s*'(?:role|content)'\s*:""")
# What some templates write of a message beside its content: a prompt without it would be another one.
KEYS_NOT_SHOWN = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
_BOX_NAME = re.compile(r"\\(?:boxed|fbox|framebox)")


def as_text(value: Any) -> str:
    """Return a cell as stripped text: text as it is, whole numbers without a fraction, none with an exponent.

    Raises ValueError for anything that is neither text nor a finite number, and for text that is no Unicode.
    """
    return verbatim(value).strip()


def verbatim(value: Any) -> str:
    """Return a cell as `as_text` does, white space at its ends included.

    Raises ValueError as that does.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = value[error.start]
            raise ValueError(
                f"holds half a character ({half!r}, a lone surrogate), which is no text"
            ) from error
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return format(value.normalize(), "f")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is {_kind(value)}, expected text or a number")
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"is the number {value}, expected a finite one")
    if value == 0 or isinstance(value, int):
        return str(int(value))
    # The shortest decimal that is this number: 1e25 was never meant as the 10000000000000000905969664 that it is.
    return format(Decimal(repr(float(value))), "f").removesuffix(".0")


def conversation(value: Any) -> str | tuple[Message, ...]:
    """Return a question: text or a number as it stands, a list of messages whole, one user message as its text.

    The list may be written as JSON. Raises ValueError for anything else.
    """
    value = _listed(value)
    if not isinstance(value, list):
        return verbatim(value)
    messages = tuple(_message(turn, place) for place, turn in enumerate(value, start=1))
    if not messages:
        return ""
    if all(not message.content.strip() for message in messages):
        return ""
    return messages[0].content if [message.role for message in messages] == ["user"] else messages


def _listed(value: Any) -> Any:
    """The list of messages that a text is the JSON of; any other value as it is."""
    if not isinstance(value, str) or not _MESSAGES.match(value):
        return value
    if _PRINTED.match(value):  # of a data frame that was saved as csv
        raise ValueError(
            "is a list of messages as Python prints it, which is no JSON; write it with json.dumps"
        )
    try:
        turns = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return turns if all(isinstance(turn, dict) and "role" in turn for turn in turns) else value


def _message(turn: Any, place: int) -> Message:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise ValueError(f"is a list whose entry {place} is no message with 'role' and 'content'")
    if unread := [key for key in KEYS_NOT_SHOWN if turn.get(key)]:
        raise ValueError(
            f"has a message {place} with {unread[0]!r}, which prompts do not show; write it into its 'content', or "
            "take it out"
        )
    content = turn.get("content")
    if isinstance(content, list):  # parts, of which only text can be used
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise ValueError(f"has a message {place} with parts that are no text")
        content = "".join(texts)
    try:
        return Message(turn["role"], verbatim(content))
    except ValueError as error:
        raise ValueError(f"has a message {place} whose content {error}") from error


def after_hashes(value: Any) -> str:
    """Return what follows the last ``####`` of a worked GSM8K solution, thousands separators removed.

    Raises ValueError if the marker is missing.
    """
    _, marker, answer = as_text(value).rpartition("####")
    if not marker:
        raise ValueError("has no '#### answer' at its end")
    return answer.strip().replace(",", "")


def last_boxed(value: Any) -> str:
    r"""Return what the last ``\boxed{}`` of a worked solution says, as the grader reads it in a response.

    Several boxes that say one answer (``\boxed{1} and \boxed{-2}``) are joined. Also reads MATH's brace-free
    ``\boxed 3``. Raises ValueError if there is no complete box, or none behind one that never closes.
    """
    text = as_text(value)
    start = max(text.rfind(box) for box in (r"\boxed", r"\fbox", r"\framebox"))
    if start < 0:
        raise ValueError(r"has no \boxed{answer}")
    boxes = find_boxes(text)
    if boxes and boxes[-1].end > start:
        return joined_boxes(text, boxes)
    rest = _BOX_NAME.sub("", text[start:], count=1).lstrip()
    if rest.startswith("{"):
        raise ValueError(r"has a \boxed{ without its closing brace")
    return rest.split("$")[0].strip()


def joined_answers(value: Any) -> str:
    """Return one answer, or a list of them joined by commas, without dollar signs around each.

    Raises ValueError if an answer is neither text nor a number.
    """
    answers = value if isinstance(value, list) else [value]
    return ", ".join(as_text(answer).strip("$").strip() for answer in answers)


def dapo_question(value: Any) -> str | tuple[Message, ...]:
    """Return the bare question of a DAPO prompt, a list with one user message, without DAPO's instructions.

    The template `dapo` puts the instructions back. Any other conversation is returned whole. Raises ValueError if the
    value is neither text nor a list of messages.
    """
    if value is None or not isinstance(value, str | list):
        raise ValueError(f"is {_kind(value)}, expected text or a list of messages with 'content'")
    content = conversation(value)
    if isinstance(content, tuple):
        return content
    return content.removeprefix(DAPO_PREFIX).removesuffix(DAPO_SUFFIX).strip()


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Where a data set lives on the hub and how a row becomes a problem.

    Columns are tried in order and the first one that a row has is read; a dot steps into a nested record.
    """

    hub_id: str | None = None  # None: known as a local file only
    config: str | None = None
    train_split: str = "train"  # used for training when the configuration names no split
    eval_split: str = "test"  # used for evaluation; equal to train_split where there is only one
    question: tuple[str, ...] = ("problem", "question")
    answer: tuple[str, ...] = ("answer",)
    id: tuple[str, ...] = ("id",)
    read_question: Callable[[Any], str | tuple[Message, ...]] = as_text
    read_answer: Callable[[Any], str] = as_text
    repeats: bool = False  # the published file repeats its rows: keep the first of each id


LOCAL_FILE = CatalogEntry(question=("question", "problem", "prompt"), read_question=conversation)

CATALOG: dict[str, CatalogEntry] = {
    "gsm8k": CatalogEntry("openai/gsm8k", "main", id=("id", "idx"), read_answer=after_hashes),
    "math": CatalogEntry("DigitalLearningGmbH/MATH-lighteval", answer=("solution",), read_answer=last_boxed),
    "math500": CatalogEntry("HuggingFaceH4/MATH-500", train_split="test", id=("unique_id", "id")),
    "aime24": CatalogEntry("HuggingFaceH4/aime_2024", eval_split="train"),
    "aime25": CatalogEntry("math-ai/aime25", train_split="test"),
    "amc23": CatalogEntry("math-ai/amc23", train_split="test"),
    "olympiadbench": CatalogEntry(
        "math-ai/olympiadbench", train_split="test", answer=("final_answer",), read_answer=joined_answers
    ),
    "minerva": CatalogEntry("math-ai/minervamath", train_split="test"),
    "dapo_math_17k": CatalogEntry(
        "BytedTsinghua-SIA/DAPO-Math-17k",
        eval_split="train",
        question=("prompt",),
        answer=("reward_model.ground_truth",),
        id=("extra_info.index",),
        read_question=dapo_question,
        repeats=True,
    ),
}
