"""The curves of training from rows that stand here: which lines, which axes, what the caption says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlvr.reporting.figures.canvas import Figure
from rlvr.reporting.figures.training import evaluated_sets, training_figures
from rlvr.reporting.sources import ReportedRun


def trained(name: str, *rows: dict[str, float]) -> ReportedRun:
    """A run with these metrics of its steps from 1 on."""
    numbered = [{"step": step, **row} for step, row in enumerate(rows, start=1)]
    return ReportedRun(name, Path(name), numbered, [], "", None, None, None)


def drawn(runs: Sequence[ReportedRun]) -> dict[str, Figure]:
    return {figure.name: figure for figure in training_figures(runs)}


def points(figure: Figure) -> dict[str, list[tuple[int, float]]]:
    """Label -> steps and values of its line."""
    return {
        line.label: list(zip(line.rows["step"].to_pylist(), line.rows["value"].to_pylist(), strict=True))
        for line in figure.lines
    }


def test_one_run_has_every_metric_of_a_panel_and_several_have_the_main_one():
    one = trained("one", {"js_base/mean": 0.1, "js_base/p99": 0.5}, {"js_base/mean": 0.2})
    two = trained("two", {"js_base/mean": 0.3})
    alone, both = drawn([one])["train_js"], drawn([one, two])["train_js"]
    assert points(alone) == {"mean": [(1, 0.1), (2, 0.2)], "99 %": [(1, 0.5)]}
    assert points(both) == {"one": [(1, 0.1), (2, 0.2)], "two": [(1, 0.3)]}
    assert alone.caption.endswith("a sparse shift. 2 steps.")
    assert both.caption.endswith("a sparse shift. Drawn: js_base/mean. 2 steps.")
    assert drawn([two])["train_js"].caption.endswith("Drawn: js_base/mean. 1 step.")


def test_a_panel_of_one_metric_does_not_say_which_it_draws():
    runs = [trained(name, {"accuracy": 0.5}) for name in ("one", "two")]
    assert "Drawn" not in drawn(runs)["train_accuracy"].caption


def test_a_line_that_only_repeats_the_main_one_is_left_out():
    row = {"entropy/mean": 0.5, "entropy/p95": 0.5}
    assert points(drawn([trained("one", row)])["train_entropy"]).keys() == {"mean"}
    assert points(drawn([trained("one", row, {**row, "entropy/p95": 0.75})])["train_entropy"]).keys() == {
        "mean",
        "95 %",
    }


def test_metrics_that_no_run_has_have_no_figure():
    assert drawn([trained("one", {"accuracy": 0.5})]).keys() == {"train_accuracy"}


@pytest.mark.parametrize(("lowest", "from_zero"), [(0.0, True), (0.5, True), (-0.5, False)])
def test_an_axis_begins_at_zero_unless_a_value_is_below(lowest, from_zero):
    axes = drawn([trained("one", {"reward/mean": lowest}, {"reward/mean": 0.75})])["train_reward"].axes
    assert (axes.get("ylim") == (0, None)) == from_zero


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show_but_the_numbers_have_it():
    figure = drawn([trained("one", {"mismatch/mean": 0.0}, {"mismatch/mean": 1e-6})])["train_mismatch"]
    (first, second) = points(figure)["mean"]
    assert math.isnan(first[1])
    assert second == (2, 1e-6)
    assert figure.numbers["value"].to_pylist() == [0.0, 1e-6]
    assert figure.axes["yscale"] == "log"
    assert "yscale" not in drawn([trained("one", {"mismatch/mean": 0.0})])["train_mismatch"].axes


def test_a_run_of_one_step_is_a_dot_and_a_long_one_a_thinner_line():
    figures = [drawn([trained("one", *[{"accuracy": 0.5}] * n)])["train_accuracy"] for n in (1, 2, 199, 200)]
    styles = [figure.lines[0].style for figure in figures]
    assert [style["marker"] for style in styles] == [".", "", "", ""]
    assert styles[1]["lw"] == styles[2]["lw"] > styles[3]["lw"]


def test_evaluated_sets_are_told_by_their_accuracy():
    """Also one whose name has a slash, as those of the hub have."""
    rows = [
        {"step": 0, "eval/a/accuracy": 0.1, "eval/a/length": 3.0},
        {"step": 5, "eval/org/b/accuracy": 0.2},
    ]
    run = ReportedRun("one", Path("one"), [{"step": 1, "accuracy": 0.5}], rows, "", None, None, None)
    assert evaluated_sets(run) == ["a", "org/b"]
