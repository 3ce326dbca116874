"""Verifiers that read the whole row, several of them in one pool, each by the rules of its source."""

from __future__ import annotations

import json

import pytest

from rlvr.config import Config, SourceConfig
from rlvr.data.sources import load_problems
from rlvr.errors import ConfigError
from rlvr.reward.example import Example, MissingColumnError, json_like
from rlvr.reward.verdict import GradeRequest, Outcome, Rules
from rlvr.reward.verifiers import load_verifier
from rlvr.reward.workers.pool import OFFENDERS_FILE, GraderPool, open_grader_pool
from rlvr.validate import validate

HELPERS = "tests.helpers.misbehaving_verifiers"
ALLOWED = Rules(f"{HELPERS}:allowed")
OTHER_COLUMN = Rules(f"{HELPERS}:allowed", options='{"column": "deep.words"}')
ANNOTATED = Rules(f"{HELPERS}:annotated")
SCORES = Rules(f"{HELPERS}:scores", correct_from=0.2)
GREEDY = Rules(f"{HELPERS}:greedy")
BY_POLICY = Rules(f"{HELPERS}:by_policy", policy="strict")
STRICT = Rules(policy="strict")
ROW = Example(
    "w/1",
    "Say it",
    "7",
    "w",
    {"allowed": ["red", "blue"], "deep": {"words": ["green"]}, "n": 1.5, "none": None},
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    sources = [ALLOWED, OTHER_COLUMN, ANNOTATED, SCORES, GREEDY, BY_POLICY, STRICT, Rules("math")]
    with GraderPool(
        workers=1, deadline_seconds=5, memory_mb=600, sources=sources, save_folder=folder
    ) as pool:
        yield pool, folder


def test_each_sample_is_graded_by_the_rules_of_its_source(pool):
    graders, _ = pool
    cases = [  # rules, response, expected
        (ALLOWED, "red", True),
        (ALLOWED, "green", False),
        (OTHER_COLUMN, "green", True),
        (OTHER_COLUMN, "red", False),
        (ANNOTATED, "w w/1 Say it 7 ['allowed', 'deep', 'n', 'none']", True),
        (SCORES, "low", True),  # 0.25 with a threshold of 0.2
        (BY_POLICY, "strict", True),
        (BY_POLICY, "last_box", False),
        (Rules(), r"\boxed{7} it is", True),  # the pool's own: our grader, last box
        (Rules("math"), r"\boxed{14/2}", True),
        (STRICT, r"\boxed{7} it is", False),  # text behind the box
        (STRICT, r"\boxed{7}", True),
    ]
    requests = [
        GradeRequest(str(i), ROW.answer, text, ROW, rules) for i, (rules, text, _) in enumerate(cases)
    ]
    verdicts = graders.grade(requests)
    assert [verdicts[str(i)].correct for i in range(len(cases))] == [right for *_, right in cases]
    assert not any(verdict.failed for verdict in verdicts.values())


def test_a_row_without_the_column_is_a_failure_that_names_source_row_and_column(pool):
    graders, folder = pool
    row = Example("w/2", "q", "7", "w", {"words": []})
    verdict = graders.grade([GradeRequest("a", "7", "red", row, ALLOWED)])["a"]
    assert verdict.outcome is Outcome.FAILED
    for words in ("source 'w', row w/2", "no column 'allowed'", "the row has words", "name the right one"):
        assert words in verdict.detail
    kept = json.loads((folder / OFFENDERS_FILE).read_text().splitlines()[-1])
    assert (kept["problem_id"], kept["verifier"]) == ("w/2", ALLOWED.verifier)


def test_a_verifier_that_changes_its_row_changes_no_other_verdict(pool):
    graders, _ = pool
    responses = ["red", "blue", "red"] * 20  # several of them in one chunk
    requests = [
        GradeRequest(str(i), "7", text, example=ROW, rules=GREEDY) for i, text in enumerate(responses)
    ]
    verdicts = graders.grade(requests)
    assert [verdicts[str(i)].correct for i in range(60)] == [text == "red" for text in responses]
    assert ROW["allowed"] == ["red", "blue"]


def test_rules_that_the_pool_was_not_opened_for_are_refused(pool):
    with pytest.raises(ValueError, match="were not among the `sources`"):
        pool[0].grade([GradeRequest("a", "7", "red", ROW, Rules("last_number"))])


def test_columns_are_found_by_name_and_along_dots():
    assert ROW["deep.words"] == ["green"]
    assert (ROW.get("absent", 3), ROW.get("none", 3)) == (3, None)
    assert "deep" in ROW
    assert "deep.absent" not in ROW
    with pytest.raises(MissingColumnError, match="has allowed, deep, n, none"):
        ROW["question"]
    assert Example("a", "", "", "s", {"a.b": 1, "a": {"b": 2}})["a.b"] == 1


def test_what_json_lacks_becomes_text():
    from datetime import date
    from decimal import Decimal

    assert json_like({1: (date(2026, 1, 2), Decimal("1.50")), "b": [None, True, 2, 0.5]}) == {
        "1": ["2026-01-02", "1.50"],
        "b": [None, True, 2, 0.5],
    }


def test_problems_carry_their_row_and_the_rules_of_their_source(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "q", "answer": 7, "allowed": ["red"], "deep": {"x": 1}}\n')
    cfg = SourceConfig(
        name="w", path=str(file), verifier="last_number", policy="strict", verifier_options={"b": 1, "a": 2}
    )
    [problem] = load_problems(cfg).problems
    assert problem.rules == Rules("last_number", "strict", None, '{"a": 2, "b": 1}')
    assert problem.example["allowed"] == ["red"]
    assert problem.example["deep.x"] == 1
    [request] = problem.grade_requests([("s", "text")])
    assert request == GradeRequest("s", "7", "text", problem.example, problem.rules)
    [made] = load_problems(SourceConfig(name="arithmetic_heldout", limit=1, policy="strict")).problems
    assert (made.columns, made.rules) == ({}, Rules(policy="strict"))


def test_a_sources_options_go_with_its_verifier():
    own = Rules("last_number", "strict", 0.5, '{"a": 1}')
    assert Rules().over(own) == own
    assert Rules(options='{"b": 1}').over(own) == Rules("last_number", "strict", 0.5, '{"b": 1}')
    assert Rules("math").over(own) == Rules("math", "strict", 0.5, "")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Rules(f"{HELPERS}:allowed", options='{"colum": "x"}'), "no option colum; use column"),
        (Rules(f"{HELPERS}:annotated", options='{"a": 1}'), "no option a; it takes none"),
        (Rules(options='{"a": 1}'), "verifier math: it has no option a"),
        (Rules("nowhere:verify"), "cannot be imported"),
        (Rules("jason_schema"), "unknown; use one of math, "),
    ],
)
def test_a_verifier_that_cannot_be_loaded_is_named(rules, words):
    with pytest.raises(ConfigError, match=words):
        load_verifier(rules)


@pytest.mark.slow
def test_one_of_several_verifiers_that_cannot_be_loaded_ends_the_start():
    cfg = Config(recipe="x").reward
    with pytest.raises(ConfigError, match="verifier 'nowhere:verify' cannot be loaded in a worker"):
        open_grader_pool(cfg, [ALLOWED, Rules("nowhere:verify")], workers=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": "lastbox"}, r"data\.train\.policy=lastbox: unknown"),
        ({"correct_from": 1.5}, r"data\.train\.correct_from=1\.5: must be a score"),
        ({"correct_from": 0.0}, r"data\.train\.correct_from=0: must be a score"),
    ],
)
def test_rules_of_a_source_that_cannot_be_are_refused(change, words):
    cfg = Config(recipe="x")
    for key, value in change.items():
        setattr(cfg.data.train, key, value)
    with pytest.raises(ConfigError, match=words):
        validate(cfg)


@pytest.mark.slow
def test_a_template_that_one_sources_policy_cannot_read_is_refused():
    cfg = Config(recipe="x")
    cfg.data.template, cfg.reward.policy, cfg.data.train.policy = "dapo", "last_box_or_unboxed", "strict"
    with pytest.raises(ConfigError, match=r"dapo with data\.train\.policy=strict"):
        validate(cfg)
    cfg.data.train.verifier = "last_number"  # which does not read by the policy
    validate(cfg)
