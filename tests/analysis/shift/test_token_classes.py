"""The rule that puts a token into a class, on the pieces of several kinds of tokenizers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.data.models.tokenizer import load_tokenizer

EXAMPLES = {
    "ending": ["<|endoftext|>", "<|im_end|>", "</s>", "<s>", "<pad>", "[SEP]", "<｜end▁of▁sentence｜>"],
    "number": ["7", " 12", "3.5", "١٢", "x1", "1st"],
    "operator": ["+", " = ", "−", "×", "\\frac", " \\times", "frac", "≤", "∑", " plus", "Equals", "|", "+("],
    "format": [
        "\n\n",
        " ",
        "",
        "{",
        "}.",
        "\\",
        "\\boxed",
        "boxed",
        "```",
        "#",
        ",",
        "$",
        " (",
        "\\left",
        "**",
        "---",
        "…",
    ],
    "connective": ["first", " Then", "So", " therefore", "Wait,", "LET", " because", "Let's"],
    "other": ["dog", " apples", "ing", "ﬁ", "лес", "猫", "x", " le", "int", "\ufffd"[:0] + "theref"],
}


@pytest.mark.parametrize(("text", "expected"), [(t, name) for name, texts in EXAMPLES.items() for t in texts])
def test_examples(text, expected):
    assert class_of(text) == expected


@pytest.mark.slow
@given(st.text(max_size=12))
def test_every_text_has_a_class_and_white_space_around_it_does_not_matter(text):
    found = class_of(text)
    assert found in CLASSES
    assert class_of(f" {text}\n") == found


@pytest.mark.parametrize("name", ["builtin", "builtin_two_tasks"])
def test_the_built_in_vocabularies_have_tokens_of_most_classes(name):
    tokenizer = load_tokenizer(name)
    classes = {class_of(str(tokenizer.decode([token]))) for token in range(len(tokenizer))}
    assert classes >= {"ending", "number", "operator", "format", "connective"}
