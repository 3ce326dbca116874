r"""Find the final answer in a response, according to a named policy.

The policy decides what counts as an answer; it never looks at the gold answer, so that extraction cannot
pick whichever candidate happens to be right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlvr.errors import ConfigError
from rlvr.reward.announced import announced_answer, is_announced_later

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
# A doubled backslash before a box is a model's escaping slip, not a line break: the box counts.
_TOKEN = re.compile(rf"{_BOX.pattern}|\\(?:[{{}}]|\\(?!boxed|fbox|framebox))|[{{}}]")
_THINK_END = "</think>"
_AFTER_BOX = re.compile(r"(?:[\s.!$*]|\\[\])])*")
# `\boxed 12`: TeX would box the first digit only, but a model that writes so means all of it.
_WITHOUT_BRACES = re.compile(r"\\boxed(?:\s+|(?=[0-9]))([^\s{}$\\\[]+)")
# Several boxes that say one answer: `\boxed{1} and \boxed{-2}`.
_GAP = r"(?:[\s$]|\\(?:q?quad(?![A-Za-z])|[,;: ]))*"
_BETWEEN_BOXES = re.compile(
    rf"{_GAP}(?:,|;|&|(?:,\s*)?\\?(?:\b(?:and|or)\b|(?:text|mathrm|mbox)\s*\{{\s*(?:and|or)\s*\}}))"
    rf"{_GAP}(?P<name>[A-Za-z]\s*=\s*)?"
)
NAME_REACH = 100  # characters before a box within which the name of its value stands


@dataclass(frozen=True, slots=True)
class Policy:
    r"""What counts as an answer.

    `unboxed_counts`: without any complete \boxed{}, an announced final answer is taken ("the answer is 12", a
    last line "#### 12", or one that is nothing but a value). `strict_format`: the text after the last
    `</think>` must hold exactly one \boxed{} with nothing but punctuation behind it, and for an integer gold
    answer the box must hold a number, not arithmetic left to the grader (`\boxed{3+4}`). `whole`: the answer is all
    that follows the last `</think>`.
    """

    name: str
    unboxed_counts: bool
    strict_format: bool
    whole: bool = False


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("last_box", unboxed_counts=False, strict_format=False),
        Policy("last_box_or_unboxed", unboxed_counts=True, strict_format=False),
        Policy("strict", unboxed_counts=False, strict_format=True),
        Policy("whole", unboxed_counts=False, strict_format=False, whole=True),
    )
}


def policy_named(name: str) -> Policy:
    """The policy of that name; raises ConfigError that lists the known ones."""
    if name not in POLICIES:
        raise ConfigError(f"unknown grading policy {name!r}: expected one of {', '.join(sorted(POLICIES))}")
    return POLICIES[name]


@dataclass(frozen=True, slots=True)
class Box:
    """A complete box: `text[start:end]` is the whole command, `content` what stands between its braces."""

    start: int
    end: int
    content: str


def find_boxes(text: str) -> list[Box]:
    r"""Complete outermost \boxed{}, \fbox{} and \framebox{} in reading order, in one linear pass.

    Escaped braces do not count, and a box that never closes is no box (the boxes within it are).
    """
    return _scan(text)[0]


def _scan(text: str) -> tuple[list[Box], int]:
    """The complete boxes, and where the last box begins that never closes (-1: all do)."""
    first = _BOX.search(text)
    if first is None:
        return [], -1
    boxes: list[Box] = []
    open_braces: list[re.Match[str] | None] = []
    for opened, closing in _closed_boxes(text, first.start(), open_braces):
        while boxes and boxes[-1].start > opened.start():
            boxes.pop()  # inner boxes belong to the box that encloses them
        boxes.append(Box(opened.start(), closing.end(), text[opened.end() : closing.start()]))
    return boxes, max((token.start() for token in open_braces if token is not None), default=-1)


def _closed_boxes(
    text: str, begin: int, open_braces: list[re.Match[str] | None]
) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """What opens and what closes each box, inner ones too, as they close.

    `open_braces` is what is still open: the command that opened the brace of a box, None for a plain one.
    """
    for token in _TOKEN.finditer(text, begin):
        piece = token.group()
        if piece == "{":
            open_braces.append(None)
        elif piece == "}":
            opened = open_braces.pop() if open_braces else None
            if opened is not None:
                yield opened, token
        elif piece[-1] == "{" and len(piece) > 2:
            open_braces.append(token)


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer's text, or None and the reason why there is none."""

    content: str | None
    reason: str = ""


def extract_answer(response: str, policy: Policy) -> Extraction:
    """The final answer of a response under a policy; never raises, linear in the response's length."""
    if policy.strict_format:
        return _extract_strict(response)
    if policy.whole:
        text = final_part(response).strip()
        return Extraction(text) if text else Extraction(None, "the response is empty")
    boxes, unclosed = _scan(response)
    if boxes and policy.unboxed_counts and is_announced_later(response[boxes[-1].end :]):
        boxes = []  # what is announced after the last box is the later word
    if boxes:
        if unclosed >= boxes[-1].end:
            return Extraction(None, "the last box never closes")
        content = joined_boxes(response, boxes)
        return Extraction(content) if content else Extraction(None, "the last box is empty")
    if not policy.unboxed_counts:
        return Extraction(None, "no complete box")
    if unclosed < 0 and (bare := bare_box(response)):
        return Extraction(bare)
    announced = announced_answer(response)
    return Extraction(announced) if announced else Extraction(None, "no box and no announced answer")


def bare_box(text: str) -> str | None:
    r"""What the last `\\boxed 12` holds where no box has braces, else None."""
    bare = _WITHOUT_BRACES.findall(text)
    return bare[-1].rstrip(".,;") if bare else None


def joined_boxes(text: str, boxes: list[Box]) -> str:
    """The last box's content, or those of the boxes that it is the last of: `1, -2` for `\\boxed{1} and \\boxed{-2}`.

    Empty where the last box is.
    """
    first = len(boxes) - 1
    while first:
        between = _BETWEEN_BOXES.fullmatch(text, boxes[first - 1].end, boxes[first].start)
        # `x = \boxed{3}, x = \boxed{5}` are two values of one unknown, `x = \boxed{3}, y = \boxed{5}` are not.
        named = between and (between["name"] or "").replace(" ", "")
        start = boxes[first - 1].start
        before = (
            text[max(0, start - NAME_REACH) : start].rstrip("$ \n").replace(" ", "")[-2:] if named else ""
        )
        if between is None or named != before:
            break
        first -= 1
    contents = [_unwrap_nested(box.content) for box in boxes[first:]]
    return ", ".join(dict.fromkeys(filter(None, contents))) if contents[-1] else ""


def without_boxes(content: str) -> str:
    """A box's content with the contents of the boxes within it in their place."""
    if _BOX.search(content) is None:
        return content
    kept, end = [], 0
    open_boxes: list[bool] = []
    for token in _TOKEN.finditer(content):
        piece = token.group()
        is_box = piece[-1] == "{" and len(piece) > 2
        if piece == "{" or is_box:
            open_boxes.append(is_box)
        if is_box or (piece == "}" and open_boxes and open_boxes.pop()):
            kept.append(content[end : token.start()])
            end = token.end()
    return "".join([*kept, content[end:]])


def final_part(response: str) -> str:
    """What follows the last `</think>`, or all of it."""
    return response.rsplit(_THINK_END, 1)[-1]


def _extract_strict(response: str) -> Extraction:
    final = final_part(response)
    mentions = final.count("\\boxed")
    if mentions != 1:
        return Extraction(None, f"{mentions} \\boxed in the final part: expected exactly one")
    boxes = find_boxes(final)
    if not boxes or not final.startswith("\\boxed", boxes[-1].start):
        return Extraction(
            None, "the \\boxed in the final part never closes, or another kind of box follows it"
        )
    if not _AFTER_BOX.fullmatch(final, boxes[-1].end):
        return Extraction(None, "text follows the box")
    content = boxes[-1].content
    return Extraction(content) if content.strip() else Extraction(None, "the box is empty")


def _unwrap_nested(content: str) -> str:
    """What the innermost of boxes holds that are nothing but a box in a box; in one linear pass."""
    inside = {
        (opened.start(), closing.end()): (opened.end(), closing.start())
        for opened, closing in _closed_boxes(content, 0, [])
    }  # span of a box -> span of its content
    span: tuple[int, int] | None = (0, len(content))
    while span is not None:
        start, end = span
        while start < end and content[start].isspace():
            start += 1
        while start < end and content[end - 1].isspace():
            end -= 1
        span = inside.get((start, end))
    return content[start:end]
