"""Verifiers of choices, short texts, patterns and JSON: what is right, what is wrong, and rows that cannot be used."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import DataError
from rlvr.reward.example import Example
from rlvr.reward.verdict import Outcome
from rlvr.reward.verifiers.choice import choice
from rlvr.reward.verifiers.exact_text import exact, normalize, normalized
from rlvr.reward.verifiers.json_schema import json_schema
from rlvr.reward.verifiers.regex_match import regex


def row(answer: str = "", **columns: object) -> Example:
    return Example("w/1", "q", answer, "w", columns)


TEXTS = ["a red fox", "a blue whale", "Neither"]
ARC = {"text": TEXTS, "label": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("example", "column", "right", "wrong"),
    [
        (
            row("B"),
            None,
            ["B", "(b)", r"\text{B}", "B) a blue whale", "Option B", "B."],
            ["A", "A, B", "(A)(B)", "whale"],
        ),
        (row("(C)"), None, ["C"], ["Can't say"]),
        (
            row("1", choices=TEXTS),
            "choices",
            ["B", "the blue whale", "A blue whale.", "B) a blue whale"],
            ["1", "A", "blue", "B) a red fox"],
        ),
        (row("a blue whale", choices=TEXTS), "choices", ["B"], ["C"]),
        (
            row("B", choices=TEXTS),
            "choices",
            ["B", "(B) blue whale"],
            ["C", "(A) blue whale", "A. a blue whale"],
        ),
        (row("1", choices=ARC), "choices", ["A", "red fox"], ["B"]),  # labels come before places
        (
            row("2", choices=ARC),
            "choices",
            ["2", "(2)", "2.", "Option 2", "2) a blue whale", "B", r"\text{blue whale}", r"\textbf{2}"],
            ["1", "2) a red fox", "2.5", "22", "1, 2", "0", "b whale"],
        ),
        (row("A", choices=["red fox", "blue whale", "A", "none"]), "choices", ["A", "red fox"], ["C", "B"]),
        (
            row("A", choices={"text": TEXTS, "label": ["B", "A", "C"]}),
            "choices",
            ["A", "blue whale", "A) blue whale", "(a)"],
            ["B", "red fox"],
        ),
        (row("-5", choices=["5", "-5"]), "choices", ["B", "-5"], ["A", "5"]),
        (
            row("C", q={"choices": {"text": TEXTS, "label": ["A", "B", "C"]}}),
            "q.choices",
            ["C", "neither"],
            ["A"],
        ),
    ],
)
def test_a_choice_has_to_name_the_one_option(example, column, right, wrong):
    for boxed, policy in (("{}", "whole"), (r"So \boxed{{{}}}.", "last_box")):
        for answers, expected in ((right, Outcome.CORRECT), (wrong, Outcome.WRONG)):
            found = {
                answer: choice(example, boxed.format(answer), policy, column=column) for answer in answers
            }
            assert {answer: v.outcome for answer, v in found.items()} == dict.fromkeys(answers, expected)
    assert choice(example, "no box", "last_box", column=column).outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    ("example", "column", "words"),
    [
        (row("42"), None, "'42' names no option"),
        (row("Z"), None, "names no option"),
        (row("D", choices=TEXTS), "choices", "names no option"),
        (row("A", choices="a, b"), "choices", "expected a list of 1 to 10 choices"),
        (row("A", choices=[]), "choices", "expected a list"),
    ],
)
def test_choices_that_cannot_be_read_name_source_and_row(example, column, words):
    with pytest.raises(DataError, match=rf"source 'w', row w/1: .*{words}"):
        choice(example, "A", "whole", column=column)


def test_exact_and_normalized_texts():
    for verify, same, other in (
        (exact, ["Paris ", "<think>Rome?</think> Paris"], ["paris", "Paris."]),
        (normalized, ["paris", " the Paris.", "PARIS"], ["Paris France", "pari"]),
    ):
        assert [verify(row("Paris"), text, "whole").correct for text in same + other] == [True] * len(
            same
        ) + [False] * len(other)
    many = row("Paris", aliases=["Lutetia", "City of Light", 75])
    assert normalized(many, "lutetia", "whole", column="aliases").correct
    assert normalized(many, "75", "whole", column="aliases").correct
    assert not normalized(many, "Paris", "whole", column="aliases").correct
    assert exact(row("Paris"), r"It is \boxed{Paris}", "last_box").correct
    assert exact(row("Paris"), "Paris", "last_box").outcome is Outcome.NO_ANSWER
    assert exact(row("Paris"), " ", "whole").outcome is Outcome.NO_ANSWER


# What normalize_answer of SQuAD's published evaluation script makes of these.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel-Tower, Paris!", "eiffeltower paris"),
        ("an apple a day", "apple day"),
        ("Theory of A", "theory of"),
        ("U.S.", "us"),
        ("Zu\u0308rich", "zürich"),
    ],
)
def test_normalised_as_squad_does(text, expected):
    assert normalize(text) == expected


def test_a_text_of_nothing_but_an_article_is_still_a_text():
    assert normalized(row("A"), "a", "whole").correct
    assert not normalized(row("A"), "the", "whole").correct
    assert not normalized(row("?!"), "!?", "whole").correct


@pytest.mark.parametrize("given_", [[], [True], [None], "", ["a", {}], 0.5j])
def test_texts_that_are_none_name_source_and_row(given_):
    with pytest.raises(DataError, match=r"source 'w', row w/1: column 'golds' is .*expected a text"):
        exact(row("x", golds=given_), "x", "whole", column="golds")


def test_patterns():
    assert regex(row(r"\d{4}-\d\d"), "on 2026-11").extracted == "2026-11"
    assert regex(row(r"\d{4}-\d\d"), "on 2026-11", full=True).outcome is Outcome.WRONG
    assert regex(row(r"\d{4}-\d\d"), " 2026-11\n", full=True).correct
    assert not regex(row("yes"), "<think>yes</think> no").correct
    assert regex(row("x", pattern="no$"), "well, no", column="pattern").correct
    assert regex(row("yes"), "").outcome is Outcome.NO_ANSWER
    with pytest.raises(DataError, match=r"source 'w', row w/1: '\(' is no regular expression: missing"):
        regex(row("("), "x")
    with pytest.raises(DataError, match="the pattern is '12'"):
        regex(row("", pattern=12), "x", column="pattern")


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    "example", [row(schema=SCHEMA), row(schema=json.dumps(SCHEMA)), row(json.dumps(SCHEMA))]
)
def test_json_has_to_be_what_the_schema_allows(example):
    for text in ('{"name": "A"}', ' {"name": "A", "age": 3} ', '<think>{</think>{"name": ""}'):
        assert json_schema(example, text).correct
    fenced = 'Here:\n```json\n{"name": 1}\n```\nno:\n```\n{"name": "A"}\n```'
    assert json_schema(example, fenced).correct  # the last block
    for others in (
        "```text\nname: A\n```\nso\n```json\n%s\n```",
        "1. so\n   ```json\n   %s\n   ```\n2. by\n```python\nx = 1\n```",
    ):
        assert json_schema(example, others % '{"name": "A"}').correct
    wrong = json_schema(example, '{"name": "A", "age": -1}')
    assert (wrong.outcome, wrong.detail) == (Outcome.WRONG, "$.age: -1 is less than the minimum of 0")
    for text in ("", "name: A", 'Here: {"name": "A"}', '{"name": NaN}', '{"name": "A"', "[" * 100_000):
        assert json_schema(example, text).outcome is Outcome.NO_ANSWER


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("not JSON", "cannot be read: Expecting value"),
        ("12", "cannot be read: a schema is an object"),
        ([SCHEMA], "a schema is an object"),
        ({"type": "texts"}, "its schema is none: 'texts' is not valid"),
        ({"minimum": "low"}, "its schema is none"),
        ({"$ref": "https://example.org/schema.json"}, "cannot be used: .*example.org"),
        ({"$ref": "#/nowhere"}, "cannot be used"),
        ({"pattern": "("}, "its schema"),
    ],
)
def test_a_schema_that_is_none_names_source_and_row(schema, words):
    with pytest.raises(DataError, match=rf"source 'w', row w/1: .*{words}"):
        json_schema(row(schema=schema), '"text"')


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "array", "string", "integer", "null"]),
        "minimum": st.integers(-2, 2),
        "required": st.lists(st.sampled_from("ab"), unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "maxItems": st.integers(0, 2),
    },
)


@given(schemas, values)
def test_json_is_judged_as_by_the_library(schema, value):
    said = json_schema(row(schema=schema), json.dumps(value))
    assert said.correct == jsonschema.Draft202012Validator(schema).is_valid(value)
