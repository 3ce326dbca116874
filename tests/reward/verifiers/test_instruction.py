"""Constraints on a text: IFEval's checks by its own definitions, ours beside them, and rows that cannot be read."""

from __future__ import annotations

import json

import pytest

from rlvr.errors import DataError
from rlvr.reward.example import Example, MissingColumnError
from rlvr.reward.verdict import GradeRequest, Outcome, Rules
from rlvr.reward.verifiers.constraints import CONSTRAINTS, build_constraint
from rlvr.reward.verifiers.instruction import instruction, read_constraints
from rlvr.reward.workers.pool import GraderPool

# Verdicts of the checkers published with IFEval (instruction_following_eval/instructions.py; the counts of sentences
# and capital words without its model of English): id, arguments, texts that keep to it, texts that do not.
PUBLISHED = [
    ("keywords:existence", {"keywords": ["cat", "dog"]}, ["A CAT and dogs"], ["a cat"]),
    (
        "keywords:frequency",
        {"keyword": "cat", "frequency": 2, "relation": "at least"},
        ["cat, Catty"],
        ["cat"],
    ),
    ("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "less than"}, ["cat"], ["cat cat"]),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, ["cats concatenated"], ["a Cat."]),
    (
        "keywords:letter_frequency",
        {"letter": "a", "let_frequency": 2, "let_relation": "at least"},
        ["Aa", "banana"],
        ["cat"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["it's 1", "one two three"],
        ["one-two"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["a_b c"], ["a b c"]),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        ["One. Two.", "Really? Yes", 'He said "Yes." Then he left.', "So did Dr. J. Smith. He left."],
        ["It is 3.5 wide.", "one", "Dr. J. Smith left, e.g. today."],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a *** b", "***a***b***"],
        ["a", "a******b"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        ["First.\n\nSo, then", "First.\n\n'so' it is", "\n\nFirst.\n\nSo", "First.\n\n \n\nSo"],
        ["So\n\nfirst", "a\n\nSo\n\nb", "a\n\nsoon", "\n\nSo\n\nfirst"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2.0, "nth_paragraph": 2.0, "first_word": "so"},
        ["First.\n\nSo, then"],
        ["So\n\nfirst"],
    ),
    ("change_case:english_capital", {}, ["LOUD 1"], ["Loud", "1"]),
    ("change_case:english_lowercase", {}, ["quiet 1"], ["Quiet", "1"]),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["I said NO."],
        ["NOt At", "A1b ok"],
    ),
    ("startend:end_checker", {"end_phrase": "the end."}, ["This is THE END. ", '"So the end."'], ["The end"]),
    ("startend:quotation", {}, [' "yes" '], ['"', "'yes'", '"yes".']),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b] []"], ["[a]", "[a[b"]),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye\np. s. one more"],
        ["PS one more"],
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P. P. S more"], ["P.S. more"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n - b"],
        ["* a", "**a**\n* b\n- c\n- d"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* *b*", "**a** and *b*"],
        ["*a* * *", "**b**"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1 a\nSection 2 b"],
        ["Section 1 a section 2"],
    ),
    ("detectable_format:json_format", {}, ['{"a": [1]}', "```json\n[1]\n```"], ["{a: 1}", "so: [1]"]),
    ("detectable_format:title", {}, ["<<On cats>> They"], ["<< >>", "<On cats>"]),
    ("detectable_format:constrained_response", {}, ["So: My answer is no."], ["my answer is no."]),
    ("combination:two_responses", {}, ["a****** b"], ["a******a", "a", "a************b"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, ["say it. It"], ["It. Say it."]),
]
# Of ours.
OWN = [
    ("startend:start_checker", {"start_phrase": "Dear"}, [" dear all"], ["My dear"]),
    ("keywords:allowed_words", {"words": ["red", "blue"]}, ["Red, red blue!"], ["red green", ""]),
    (
        "length_constraints:number_characters",
        {"num_characters": 3, "relation": "at most"},
        [" abc "],
        ["abcd"],
    ),
    (
        "length_constraints:number_lines",
        {"num_lines": 2, "relation": "exactly"},
        ["a\n\nb\n"],
        ["a", "a\nb\nc"],
    ),
    ("detectable_format:constrained_response", {"options": ["left", "right"]}, ["go left"], ["Left"]),
    ("detectable_format:regex", {"pattern": "^[a-f]+$"}, ["face"], ["facet"]),
    (
        "length_constraints:number_words",
        {"num_words": 2, "relation": "exactly"},
        ["two words"],
        ["one", "a b c"],
    ),
]


@pytest.mark.parametrize(("name", "arguments", "kept", "broken"), PUBLISHED + OWN)
def test_a_constraint_holds_where_its_definition_says(name, arguments, kept, broken):
    check = build_constraint(name, arguments)
    assert {text: check(text) for text in kept} == dict.fromkeys(kept, True)
    assert {text: check(text) for text in broken} == dict.fromkeys(broken, False)


def test_every_constraint_is_tried():
    assert {name for name, *_ in PUBLISHED + OWN} == set(CONSTRAINTS)


ONE = {"id": "punctuation:no_comma"}
TWO = [ONE, {"id": "length_constraints:number_words", "num_words": 2, "relation": "exactly"}]


def row(answer: str = "", **columns: object) -> Example:
    return Example("w/1", "q", answer, "w", columns)


@pytest.mark.parametrize(
    ("example", "column"),
    [
        (row(constraints=TWO), "constraints"),
        (row(constraints=json.dumps(TWO)), "constraints"),
        (row(rules={"must": TWO}), "rules.must"),
        (row(json.dumps(TWO)), "constraints"),
        (
            row(  # as IFEval's rows are, absent arguments null
                instruction_id_list=[one["id"] for one in TWO],
                kwargs=[{}, {"num_words": 2, "relation": "exactly", "num_bullets": None}],
            ),
            "constraints",
        ),
        (
            row(  # the same through a table, and as JSON text
                instruction_id_list=[one["id"] for one in TWO],
                kwargs=[{}, {"num_words": 2.0, "relation": "exactly", "num_bullets": float("nan")}],
            ),
            "constraints",
        ),
        (
            row(
                instruction_id_list=json.dumps([one["id"] for one in TWO]),
                kwargs=json.dumps([{}, {"num_words": 2, "relation": "exactly"}]),
            ),
            "constraints",
        ),
        (
            row(
                instruction_id_list=[one["id"] for one in TWO],
                kwargs=["{}", '{"num_words": 2, "relation": "exactly"}'],
            ),
            "constraints",
        ),
    ],
)
def test_rows_of_several_forms_say_the_same(example, column):
    said = instruction(example, "one two", column=column)
    assert (said.outcome, said.score, said.detail) == (Outcome.CORRECT, 1.0, "")
    half = instruction(example, "one, two", column=column)
    assert (half.outcome, half.score, half.detail) == (Outcome.WRONG, 0.5, "not kept: punctuation:no_comma")
    assert instruction(example, " \n", column=column).outcome is Outcome.NO_ANSWER


def test_a_single_constraint_needs_no_list_and_ones_own_may_stand_beside_ours():
    [(name, check)] = read_constraints(row(constraints=ONE))
    assert (name, check("a, b")) == ("punctuation:no_comma", False)
    [(_, own)] = read_constraints(
        row(constraints=[{"id": "tests.helpers.constraints:rhymes", "ending": "at"}])
    )
    assert (own("the cat"), own("the dog")) == (True, False)


@pytest.mark.parametrize(
    ("example", "column", "words"),
    [
        (row(constraints=[]), "constraints", "no constraints"),
        (row("12"), "constraints", "no constraints: '12'"),
        (row("be brief"), "constraints", "no JSON list of constraints"),
        (
            row(instruction_id_list=["a:b"], kwargs="num_words: 2"),
            "constraints",
            "no JSON list of constraints",
        ),
        (row(instruction_id_list=7), "constraints", "instruction_id_list"),
        (row(instruction_id_list=["a:b"], kwargs=[3]), "constraints", "expected"),
        (row(constraints=["punctuation:no_comma"]), "constraints", r"expected \{'id'"),
        (row(constraints=[{"id": "punctuation:none"}]), "constraints", "no constraint 'punctuation:none'"),
        (
            row(constraints=[{"id": "language:response_language", "language": "de"}]),
            "constraints",
            "detector",
        ),
        (row(constraints=[{**ONE, "num": 1}]), "constraints", "unexpected keyword"),
        (
            row(instruction_id_list=["a:b"], kwargs=[{}, {}]),
            "constraints",
            "1 entries of instruction_id_list",
        ),
        (
            row(constraints=[{"id": "keywords:existence", "keywords": ["("]}]),
            "constraints",
            "cannot be checked: missing",
        ),
        (
            row(constraints=[{**TWO[1], "relation": "about"}]),
            "constraints",
            "relation 'about': expected one of less than",
        ),
    ],
)
def test_constraints_that_cannot_be_read_name_source_and_row(example, column, words):
    with pytest.raises(DataError, match=rf"source 'w', row w/1: .*{words}"):
        instruction(example, "some text", column=column)


def test_a_column_that_is_named_has_to_be_there():
    with pytest.raises(MissingColumnError, match="no column 'must'"):
        instruction(row(constraints=TWO), "text", column="must")


@pytest.mark.slow
def test_in_a_worker_a_share_of_constraints_is_a_score_with_a_threshold():
    rules = [Rules("instruction"), Rules("instruction", correct_from=0.5)]
    example = row(constraints=TWO)
    with GraderPool(workers=1, deadline_seconds=5, memory_mb=400, sources=rules) as pool:
        verdicts = pool.grade(
            [
                GradeRequest("all", "", "one two", example, rules[0]),
                GradeRequest("half", "", "one, two", example, rules[0]),
                GradeRequest("enough", "", "one, two", example, rules[1]),
                GradeRequest("bad row", "", "one, two", row(constraints=[{"id": "a:b"}]), rules[0]),
            ]
        )
    found = {name: (verdict.outcome, verdict.score) for name, verdict in verdicts.items()}
    assert found == {
        "all": (Outcome.CORRECT, 1.0),
        "half": (Outcome.WRONG, 0.5),
        "enough": (Outcome.CORRECT, 0.5),
        "bad row": (Outcome.FAILED, None),
    }
    assert verdicts["bad row"].detail.startswith("source 'w', row w/1: there is no constraint 'a:b'")
