"""The file of an evaluation: what is written is what is read."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from rlvr.analysis.evaluation import (
    CONTENT,
    FILE_NAME,
    counts_up_to,
    differing_settings,
    evaluation_as_json,
    read_evaluation,
    summarise,
)
from rlvr.data.fingerprint import fingerprint
from rlvr.errors import DataError
from rlvr.stats.accuracy import EvalResult, accuracy_ci95, compare, pass_at_k
from rlvr.types import Problem, Prompt


def result(name, problems=5, n=6, seed=0):
    rng = np.random.default_rng(seed)
    correct = rng.random((problems, n)) < 0.5
    return EvalResult(
        name=name,
        problem_ids=tuple(f"{name}/{i}" for i in range(problems)),
        correct=correct,
        lengths=rng.integers(1, 50, (problems, n)),
        truncated=rng.random((problems, n)) < 0.1,
        answers=tuple((*("1" if right else ": NaN" for right in row[:-1]), None) for row in correct),
    )


@pytest.mark.parametrize(("n", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_reported_counts(n, counts):
    assert counts_up_to(n) == counts


def test_summary_agrees_with_the_statistics():
    chosen = result("a")
    figures = summarise(chosen)
    assert (figures.accuracy, figures.ci_low, figures.ci_high) == accuracy_ci95(chosen.correct)
    assert figures.pass_at[4] == pytest.approx(pass_at_k(chosen.correct)[:, 3].mean())
    assert list(figures.majority_at) == list(figures.pass_at) == [1, 2, 4, 6]
    assert (figures.problems, figures.samples_per_problem) == (5, 6)


def test_what_is_written_is_read(tmp_path):
    written = [result("a"), result("b", seed=1)]
    (tmp_path / FILE_NAME).write_text(evaluation_as_json("m", {"seed": 1}, written))
    for path in (tmp_path, tmp_path / FILE_NAME):
        read = read_evaluation(path)
        assert list(read) == ["a", "b"]
        for one in written:
            other = read[one.name]
            assert (other.problem_ids, other.answers) == (one.problem_ids, one.answers)
            for field in ("correct", "lengths", "truncated"):
                np.testing.assert_array_equal(getattr(other, field), getattr(one, field))
            assert compare(one, other).p_value == 1.0


def test_an_earlier_evaluation_with_other_settings_is_said_to_have_them(tmp_path):
    prompts = [Prompt(Problem(f"a/{n}", "1+1=?", "2", "a"), (1, 2)) for n in range(2)]
    regraded = [replace(p, problem=replace(p.problem, answer="3")) for p in prompts]
    before, after = (asdict(fingerprint(seen, 2)) for seen in (prompts, regraded))
    earlier = {"seed": 1, "eval": {"temperature": 1.0}, CONTENT: {"a": before, "b": before}}
    (tmp_path / FILE_NAME).write_text(evaluation_as_json("m", earlier, [result("a")]))
    now = {"seed": 2, "eval": {"temperature": 0.6}, CONTENT: {"a": after, "c": after}, "of_later": 1}
    for path in (tmp_path, tmp_path / FILE_NAME):
        assert differing_settings(path, earlier | {"seed": 2}) == []
        assert differing_settings(path, now) == [
            "the data of a: changed: its gold answers",
            "eval.temperature 1.0 -> 0.6",
        ]


def test_a_length_that_does_not_exist_is_null():
    right = EvalResult(
        "a", ("a/0",), np.ones((1, 1), bool), np.ones((1, 1), int), np.zeros((1, 1), bool), (("1",),)
    )
    content = json.loads(evaluation_as_json("m", {}, [right]))
    assert content["sets"][0]["summary"]["lengths"]["mean_wrong"] is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"sets": [{}]}', '{"sets": 3}', "\xff"],
    ids=["cut", "list", "empty", "number", "latin"],
)
def test_other_files_are_refused_by_name(tmp_path, text):
    (tmp_path / FILE_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{FILE_NAME} is not an"):
        read_evaluation(tmp_path)


def test_an_evaluation_with_missing_samples_is_refused(tmp_path):
    content = json.loads(evaluation_as_json("m", {}, [result("a")]))
    content["sets"][0]["lengths"].pop()
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(DataError, match="lengths is"):
        read_evaluation(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{FILE_NAME} does not exist"):
        read_evaluation(tmp_path)
