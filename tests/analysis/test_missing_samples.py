"""Samples on which the verifier failed are missing from every figure, never wrong answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.analysis.config import SelectConfig
from rlvr.analysis.cross.decoder import Mixed
from rlvr.analysis.cross.experiment import Experiment
from rlvr.analysis.cross.records import budget_rows
from rlvr.analysis.cross.store import Store
from rlvr.analysis.evaluation import (
    claim_settings,
    evaluation_as_json,
    groups_in_parts,
    read_evaluation,
    result_of,
    summarise,
)
from rlvr.analysis.shift.responses import build_index, response_files
from rlvr.analysis.sweep.compare import compare_conditions
from rlvr.analysis.sweep.runs import read_sweep
from rlvr.config import Config
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import VerifierError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.evaluation import report, sample_and_grade
from rlvr.stats.accuracy import (
    EvalResult,
    accuracy_ci95,
    avg_at_k,
    compare,
    correctness,
    length_stats,
    pass_at_k,
)
from rlvr.stats.majority import majority_at_k
from rlvr.types import Group, Problem, Prompt, Sample, Span
from tests.helpers.analyze_cases import VOCABULARY, write_responses
from tests.helpers.cross_parts import BASE, JS, POLICY
from tests.helpers.sweep_cases import make_run

Rows = list[list[bool]]
ROWS = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=2, max_size=6)
)


def with_gaps(rows: Rows, places: Sequence[int]) -> list[list[bool | None]]:
    """The rows with one missing sample more each, somewhere."""
    return [
        [*row[: p % (len(row) + 1)], None, *row[p % (len(row) + 1) :]]
        for row, p in zip(rows, itertools.cycle(places), strict=False)
    ]


def result(rows: Sequence[Sequence[bool | None]], *, name: str = "s", right: str = "1") -> EvalResult:
    """An evaluation in which right answers are `right`, wrong ones 2, and missing ones have none."""
    texts = {True: right, False: "2", None: None}
    shape = (len(rows), len(rows[0]))
    return EvalResult(
        name=name,
        problem_ids=tuple(f"p{i}" for i in range(len(rows))),
        correct=correctness(rows),
        lengths=np.arange(shape[0] * shape[1]).reshape(shape),
        truncated=np.zeros(shape, dtype=np.bool_),
        answers=tuple(tuple(texts[value] for value in row) for row in rows),
    )


@pytest.mark.slow
@given(rows=ROWS, places=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_one_missing_sample_of_every_problem_is_as_if_it_had_not_been_asked_for(rows, places):
    gaps = with_gaps(rows, places)
    n = len(rows[0])
    full, less = correctness(rows), correctness(gaps)
    assert full.dtype == np.bool_
    assert avg_at_k(less) == pytest.approx(avg_at_k(full))
    assert accuracy_ci95(less) == pytest.approx(accuracy_ci95(full))
    np.testing.assert_allclose(pass_at_k(less)[:, :n], pass_at_k(full))
    assert np.isnan(pass_at_k(less)[:, n]).all()  # n + 1 of n samples
    one, other = result(rows), result(gaps)
    for k in range(1, n + 1):
        np.testing.assert_allclose(
            majority_at_k(other.answers, less, k), majority_at_k(one.answers, full, k), atol=1e-12
        )
    flipped = [[not value for value in row] for row in rows]
    expected, found = compare(one, result(flipped)), compare(other, result(with_gaps(flipped, places[::-1])))
    assert (found.problems, found.differing) == (expected.problems, expected.differing)
    assert found.difference == pytest.approx(expected.difference)


def test_a_problem_without_a_graded_sample_is_left_out():
    rows = [[True, False], [None, None], [True, True]]
    assert avg_at_k(correctness(rows)) == 0.75
    assert accuracy_ci95(correctness(rows)) == accuracy_ci95(correctness([rows[0], rows[2]]))
    summary = summarise(result(rows))
    assert (summary.problems, summary.accuracy, summary.pass_at) == (3, 0.75, {1: 0.75, 2: 1.0})
    both = result(rows), result([[True, True], [True, True], [False, True]])
    for found in (compare(*both), compare(*both[::-1])):
        assert (found.problems, found.difference) == (2, 0.0)
    with pytest.raises(ValueError, match="failed on every sample"):
        accuracy_ci95(correctness([[None, None]]))


def test_uneven_gaps_by_hand():
    rows = [[True, None, None, None], [True, False, False, None]]
    assert avg_at_k(correctness(rows)) == pytest.approx((1 + 1 / 3) / 2)  # the problem is the unit
    np.testing.assert_allclose(
        pass_at_k(correctness(rows)), [[1, np.nan, np.nan, np.nan], [1 / 3, 2 / 3, 1, np.nan]]
    )
    stats = length_stats(result(rows))
    assert (stats.mean, stats.mean_correct, stats.mean_wrong) == (3.5, 2.0, 5.5)


def test_evaluation_json_keeps_them_apart(tmp_path: Path):
    rows = [[True, None], [False, True]]
    text = evaluation_as_json("m", {}, [result(rows)])
    assert json.loads(text)["sets"][0]["correct"] == [[1, None], [0, 1]]
    (tmp_path / "evaluation.json").write_text(text)
    np.testing.assert_array_equal(read_evaluation(tmp_path)["s"].correct, correctness(rows))
    whole = evaluation_as_json("m", {}, [result([[True, False]])])
    (tmp_path / "evaluation.json").write_text(whole)
    assert read_evaluation(tmp_path)["s"].correct.dtype == np.bool_


# Evaluations of responses


def problem(name: str) -> Prompt:
    return Prompt(Problem(name, f"{name}?", "1", "test"), (1, 2))


class Engines:
    """Answers with the number of the sample."""

    def generate(self, prompts: Sequence[Prompt], sampling: object, *, n: int, key: str) -> list[Group]:
        return [
            Group(
                p,
                tuple(
                    Sample(
                        f"{key}/{p.id}/{i}", (5,), np.zeros(1, dtype=np.float32), str(i), False, (Span(0, 0),)
                    )
                    for i in range(n)
                ),
            )
            for p in prompts
        ]


class Graders:
    """The outcome of each response by its text."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = outcomes

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        return {
            r.sample_id: Verdict(r.sample_id, self.outcomes[int(r.response)], "1", "1", 0.0, "as told")
            for r in requests
        }


def evaluated(*outcomes: Outcome, limit: float = 0.5) -> tuple[Group, ...]:
    """Three problems, each answered with these outcomes."""
    cfg = Config(recipe="test")
    cfg.eval.samples_per_prompt, cfg.reward.max_failed = len(outcomes), limit
    return sample_and_grade(Engines(), Graders(*outcomes), "mine", [problem(c) for c in "abc"], cfg)


def test_an_evaluation_is_over_what_was_graded():
    found = report("mine", evaluated(Outcome.CORRECT, Outcome.TIMED_OUT, Outcome.FAILED, Outcome.WRONG))
    without = report("mine", evaluated(Outcome.CORRECT, Outcome.WRONG))
    assert (found.accuracy, found.ci_low, found.ci_high) == (
        without.accuracy,
        without.ci_low,
        without.ci_high,
    )
    assert found.outcomes == {"correct": 3, "timed_out": 3, "failed": 3, "wrong": 3}
    assert np.isnan(result_of(found.name, found.groups).correct).sum() == 6
    json.dumps({"accuracy": found.accuracy, "low": found.ci_low}, allow_nan=False)


def test_an_evaluation_on_which_the_verifier_fails_too_often_stops():
    with pytest.raises(VerifierError, match=r"evaluation on mine.*failed on 3 of 6 responses(.|\n)*as told"):
        evaluated(Outcome.CORRECT, Outcome.FAILED, limit=0.4)


def test_a_part_of_an_evaluation_reads_back_what_is_missing(tmp_path: Path):
    folder = RunFolder(tmp_path, "evaluation")
    folder.path.mkdir()
    cfg = Config(recipe="test")
    claim_settings(folder, cfg, [])
    groups = evaluated(Outcome.CORRECT, Outcome.FAILED)
    prompts = [g.prompt for g in groups]
    groups_in_parts(folder, "mine", prompts, lambda _: groups)
    [part] = (folder.path / "parts").iterdir()
    assert "NaN" not in part.read_text()
    again = groups_in_parts(folder, "mine", prompts, lambda _: pytest.fail("asked again"))
    assert report("mine", again).outcomes == {"correct": 3, "failed": 3}
    assert report("mine", again).accuracy == 1.0
    cfg.reward.max_failed = 0.9  # the remedy named, so it cannot make another evaluation
    claim_settings(folder, cfg, [])


# Cross-sampling


def test_cross_sampling_grades_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outcomes = (Outcome.CORRECT, Outcome.FAILED, Outcome.WRONG)
    reward = Config(recipe="test").reward
    reward.max_failed = 0.5
    prompts = tuple(problem(c) for c in "ab")
    tokenizer = SimpleNamespace(batch_decode=lambda ids, skip_special_tokens: [str(row[0]) for row in ids])
    models = SimpleNamespace(sampling=SimpleNamespace(max_tokens=9))
    none = np.zeros(0, dtype=np.int64)
    written = [
        Mixed(p.id, i, np.asarray([i]), none, none, np.zeros(1, dtype=np.float32), False, none > 0)
        for p in prompts
        for i in range(3)
    ]
    store = Store(tmp_path, {})
    experiment = Experiment(
        SimpleNamespace(samples=3, pilot_problems=1, pilot_samples=1),
        SimpleNamespace(prompts=prompts, tokenizer=tokenizer, reward=reward, output=tmp_path, models=models),
        store,
        SimpleNamespace(decode=lambda *_: written),
        Graders(*outcomes),
    )
    part = experiment.endpoint("base")
    np.testing.assert_array_equal(part.graded.correct, [[1, np.nan, 0]] * 2)
    assert "accuracy 0.500" in (said := capsys.readouterr().out)
    assert "verifier failed on 2 of 6" in said
    np.testing.assert_array_equal(store.read(part.name).graded.correct, part.graded.correct)
    rows = [
        json.loads(line) for line in (tmp_path / "samples" / f"{part.name}.jsonl").read_text().splitlines()
    ]
    assert [row["correct"] for row in rows] == [True, None, False] * 2

    reward.max_failed = 0.1
    (tmp_path / "parts" / f"{part.name}.json").unlink()
    with pytest.raises(VerifierError, match=r"endpoint-base.*failed on 2 of 6"):
        experiment.endpoint("base")
    assert store.read(part.name) is None


def test_a_budget_with_missing_samples_has_all_its_figures():
    def holed(part):
        correct = part.graded.correct.astype(np.float64)
        correct[0, 1] = np.nan
        return replace(part, graded=replace(part.graded, correct=correct))

    (row,) = budget_rows([holed(BASE), holed(POLICY), holed(JS)])
    figures = [
        row.accuracy,
        row.ci_low,
        row.ci_high,
        row.difference_primary,
        row.p_primary,
        row.recovered_share,
    ]
    assert np.isfinite(figures).all()
    assert row.accuracy == pytest.approx(avg_at_k(holed(JS).graded.correct))


# Files of runs


def test_the_token_table_leaves_them_out(tmp_path: Path):
    rows = [
        json.loads(line) for line in write_responses(tmp_path / "r.jsonl", seed=1).read_text().splitlines()
    ]
    rows = [row | {"verdict": "correct" if row["reward"] else "wrong"} for row in rows]
    rows[1] |= {"verdict": "failed", "reward": None}
    rows[2] |= {"verdict": "timed_out", "reward": 0.0}  # as runs wrote it before
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "offending_samples.jsonl").write_text('{"sample_id": "p0/1", "gold": "1"}\n')
    files = response_files([str(tmp_path)])
    assert [file.name for file in files] == ["r.jsonl"]
    for verdict, count in (("all", len(rows) - 2), ("wrong", sum(row["verdict"] == "wrong" for row in rows))):
        select = SelectConfig(verdict=verdict)
        found = build_index(
            tmp_path / "i.parquet", {"policy": files}, select, 5, load_tokenizer("builtin"), VOCABULARY
        )
        assert (found.responses["policy"], found.failed) == (count, 2)


def test_a_sweep_counts_them_in_no_interval(tmp_path: Path):
    for condition, right in (("recipe-dapo", 4), ("recipe-grpo", 6)):
        for seed in (1, 2, 3):
            job = make_run(tmp_path, condition, seed, {"amc": right})
            file = job / "samples" / "eval_000010.jsonl"
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            rows[1]["verdict"], rows[-1]["verdict"] = (
                "failed",
                "timed_out",
            )  # of a right and of a wrong problem
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sweep = read_sweep(tmp_path)
    assert not [note for note in sweep.notes if "interval over problems" in note]
    graded = sweep.runs[0].correct["amc"]
    assert [len(row) for row in graded.values()] == [1, *[2] * 8, 1]
    first, second = compare_conditions(sweep.runs, "recipe-dapo")
    assert first.problems is not None
    assert first.problems.low < 0.4 < first.problems.high
    assert second.problem_gain.mean == pytest.approx(0.2)
