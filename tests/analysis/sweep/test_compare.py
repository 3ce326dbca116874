"""What is said of conditions, from records of made-up runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rlvr.analysis.sweep.compare import compare_conditions, ranking
from tests.helpers.sweep_cases import run_record

BASELINE, OTHER = "recipe-dapo", "recipe-x"


def answers(right: int, problems: int = 10, samples: int = 2) -> dict[str, list[bool]]:
    """The first `right` problems are answered rightly."""
    return {f"p{i}": [i < right] * samples for i in range(problems)}


def test_three_seeds_can_tell_worse_from_better_on_each_set_by_itself() -> None:
    runs = [
        run_record(
            condition, seed, amc=answers(5 + sign * 3 + seed % 2), aime=answers(5 - sign * 3 + seed % 2)
        )
        for condition, sign in ((BASELINE, 0), (OTHER, 1))
        for seed in (1, 2, 3)
    ]
    runs[-1] = run_record(OTHER, 3, amc=answers(8), aime=answers(2))  # differences need some spread
    rows = [row for row in compare_conditions(runs, BASELINE) if not row.is_baseline]
    assert [(row.evaluation, row.gain.seeds, row.verdict) for row in rows] == [
        ("amc", 3, "better"),
        ("aime", 3, "worse"),
    ]
    assert "Worse than the baseline (Holm p < 0.05): none." in ranking(rows, "amc")
    assert f"Worse than the baseline (Holm p < 0.05): {OTHER}." in ranking(rows, "aime")


def test_the_same_difference_in_every_seed_is_no_proof_and_says_why() -> None:
    """Four seeds: p is 1/8 by the sign test, and nobody knows the spread."""
    runs = [
        run_record(condition, seed, amc=answers(right))
        for condition, right in ((BASELINE, 4), (OTHER, 5))
        for seed in (1, 2, 3, 4)
    ]
    rows = compare_conditions(runs, BASELINE)
    assert rows[1].p_holm == 0.125
    assert rows[1].verdict == (
        "not told apart; the seeds do not differ enough to say what they could have shown"
    )
    assert f"Not told apart from the baseline: {OTHER}." in ranking(rows, "amc")


@pytest.mark.parametrize("more", [0, 1])
def test_problems_that_all_differ_alike_leave_the_difference_over_problems_a_width(more: int) -> None:
    """By nothing, or each by one sample of two: that says nothing of other problems."""
    base, other = ({f"p{i}": [i < 3, right] for i in range(10)} for right in (False, more > 0))
    runs = [run_record(condition, 1, amc=own) for condition, own in ((BASELINE, base), (OTHER, other))]
    found = compare_conditions(runs, BASELINE)[1].problem_gain
    assert found.mean == more / 2
    assert found.low < found.mean < found.high


def test_samples_on_which_the_verifier_failed_are_missing_in_the_difference_over_problems() -> None:
    first = {"a": [True, True, False], "b": [False, True], "c": [True], "d": [False, False, True]}
    second = {"d": [False], "c": [False, False], "b": [True, False, True], "a": [False, False, False]}
    runs = [run_record(BASELINE, 1, amc=second), run_record(OTHER, 1, amc=first)]
    found = compare_conditions(runs, BASELINE)[1].problem_gain
    expected = stats.ttest_rel(*([np.mean(own[p]) for p in first] for own in (first, second)))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_runs_on_other_problems_have_no_interval_over_problems() -> None:
    """Of the condition, where one of its own runs had others; of the difference, where the baseline had."""
    others = {f"q{i}": row for i, row in enumerate(answers(5).values())}
    mixed = [run_record(BASELINE, 1, amc=answers(4)), run_record(BASELINE, 2, amc=others)]
    row, against = compare_conditions(
        [*mixed, run_record(OTHER, 1, amc=answers(5)), run_record(OTHER, 2, amc=answers(5))], BASELINE
    )
    assert (row.problems, against.problem_gain) == (None, None)
    assert against.problems is not None
    runs = [run_record(BASELINE, 1, amc=answers(4)), run_record(OTHER, 1, amc=others)]
    assert compare_conditions(runs, BASELINE)[1].problem_gain is None
