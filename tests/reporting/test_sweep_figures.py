"""What the figures of a sweep draw, from runs whose numbers stand here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from rlvr.analysis.sweep.runs import FinishedRun, SweepFolder
from rlvr.analysis.sweep.tables import SweepResult, sweep_result
from rlvr.reporting.figures.sweep import TRAINING, differences, divergence, held_out, one_by_one, overview
from tests.helpers.sweep_cases import run_record

BASELINE, OTHER, SILENT = "recipe-dapo", "recipe-x", "recipe-silent"
ACCURACY = TRAINING[0]


def run(
    condition: str, seed: int, train: list[float], js: Sequence[float] = (), right: int = 1
) -> FinishedRun:
    """A run with an accuracy and a divergence after each step; `right` of four problems after training."""
    rows = {step: {"accuracy": value} for step, value in enumerate(train, start=1)}
    for step, value in enumerate(js, start=1):
        rows.setdefault(step, {})["js_base/mean"] = value
    made = run_record(condition, seed, train=rows, amc={f"p{i}": [i < right] for i in range(4)})
    return replace(made, evals={0: {"eval/amc/accuracy": 0.25}, 1: {"eval/amc/accuracy": right / 4}})


@pytest.fixture
def found() -> SweepResult:
    """Two seeds of a baseline and of another condition, one run that logged nothing."""
    runs = (
        run(BASELINE, 1, [0.2, 0.4], [0.01, 0.03], right=1),
        run(BASELINE, 2, [0.4, 0.6], [0.03, 0.05], right=2),
        run(OTHER, 1, [0.5, 0.7], right=3),
        run(OTHER, 2, [0.7, 0.9], right=2),
        replace(run(SILENT, 1, []), evals={}),
    )
    return sweep_result(SweepFolder("made_up", runs, (), (), ()), BASELINE)


def test_every_condition_that_logged_a_metric_is_a_line_over_its_seeds(found):
    figures = {figure.name: figure for figure in overview(found, (held_out("amc"), *TRAINING))}
    assert figures.keys() == {"eval_amc", "accuracy"}
    assert figures["accuracy"].numbers.to_pylist() == [
        {"condition": condition, "step": step, "mean": pytest.approx(mean), "seeds": 2}
        | {"low": pytest.approx(mean - 0.1), "high": pytest.approx(mean + 0.1)}
        for condition, step, mean in (
            (BASELINE, 1, 0.3),
            (BASELINE, 2, 0.5),
            (OTHER, 1, 0.6),
            (OTHER, 2, 0.8),
        )
    ]
    assert [(line.label, line.place) for line in figures["accuracy"].lines] == [("dapo", 0), ("x", 1)]
    held = [(r["condition"], r["step"], r["mean"]) for r in figures["eval_amc"].numbers.to_pylist()]
    assert held == [(BASELINE, 0, 0.25), (BASELINE, 1, 0.375), (OTHER, 0, 0.25), (OTHER, 1, 0.625)]


def test_a_condition_is_drawn_over_the_baseline_on_the_axes_of_all(found):
    (alone,) = one_by_one(found, (ACCURACY,))
    assert (alone.name, alone.title) == ("accuracy_recipe-x", "x: accuracy on training prompts")
    assert [line.label for line in alone.lines] == ["dapo", "x"]
    # Bands from 0.2 to 0.9, and a margin of 4 % of that on either side.
    assert alone.axes["ylim"] == pytest.approx((0.2 - 0.028, 0.9 + 0.028))


def test_curves_that_are_all_one_number_have_a_margin_too():
    flat = [run(condition, 1, [0.5, 0.5]) for condition in (BASELINE, OTHER)]
    (alone,) = one_by_one(
        sweep_result(SweepFolder("made_up", tuple(flat), (), (), ()), BASELINE), (ACCURACY,)
    )
    assert alone.axes["ylim"] == pytest.approx((0.49, 0.51))


def test_the_differences_are_seed_by_seed_and_both_intervals(found):
    (figure,) = differences(found, "amc")
    rows = figure.numbers.to_pylist()
    assert [(r["condition"], r["what"]) for r in rows] == [
        (OTHER, "seed 1"),
        (OTHER, "seed 2"),
        (OTHER, "over seeds"),
        (OTHER, "over problems"),
        (SILENT, "seed 1"),
        (SILENT, "over seeds"),
        (SILENT, "over problems"),
    ]
    # (0.75 - 0.25) and (0.5 - 0.5), mean 0.25; over seeds +- 12.706 * 0.35355 / sqrt(2)
    assert [r["difference"] for r in rows] == pytest.approx([0.5, 0.0, 0.25, 0.25, 0.0, 0.0, 0.0])
    assert [rows[0]["low"], rows[0]["high"]] == [None, None]
    assert [rows[2]["low"], rows[2]["high"]] == pytest.approx([0.25 - 3.1766, 0.25 + 3.1766], abs=1e-3)
    assert rows[3]["low"] < 0.25 < rows[3]["high"]
    assert [rows[5]["low"], rows[5]["high"]] == [None, None]  # one seed has no interval
    (fewer,) = differences(found_without(found, SILENT), "amc")
    assert figure.height > fewer.height


def found_without(found: SweepResult, condition: str) -> SweepResult:
    kept = tuple(one for one in found.sweep.runs if one.condition != condition)
    return sweep_result(replace(found.sweep, runs=kept), found.baseline)


def test_without_another_condition_there_is_no_difference_to_draw(found):
    alone = found_without(found_without(found, SILENT), OTHER)
    assert list(differences(alone, "amc")) == []
    assert list(one_by_one(alone, (ACCURACY,))) == []


def test_the_divergence_is_drawn_where_it_was_logged_and_never_below_zero(found):
    (figure,) = divergence(found)
    assert figure.name == "divergence_recipe-dapo"
    assert [(r["metric"], r["step"], r["mean"]) for r in figure.numbers.to_pylist()] == [
        ("js_base/mean", 1, pytest.approx(0.02)),
        ("js_base/mean", 2, pytest.approx(0.04)),
    ]
    assert [line.label for line in figure.lines] == ["mean"]
    assert figure.axes["ylim"] == pytest.approx((0.01 - 0.0016, 0.05 + 0.0016))
    low = [
        replace(one, train={1: {"js_base/mean": 0.0}, 2: {"js_base/mean": 1.0}}) for one in found.sweep.runs
    ]
    whole = sweep_result(replace(found.sweep, runs=tuple(low)), BASELINE)
    assert [one.axes["ylim"] for one in divergence(whole)] == [pytest.approx((0.0, 1.04))] * 3
