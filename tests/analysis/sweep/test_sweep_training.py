"""Curves over seeds, the end of training, time and tokens; and the tables that show them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlvr.analysis.sweep.runs import FinishedRun, SweepFolder, read_sweep
from rlvr.analysis.sweep.tables import (
    SweepResult,
    bands,
    cost_table,
    curve_table,
    difference_table,
    divergence_table,
    outcome_table,
    sweep_result,
    weight_table,
)
from rlvr.analysis.sweep.text import curves_csv, training_csv
from rlvr.analysis.sweep.training import curve, first_step_at, trained
from rlvr.stats.seeds import SeedMean
from rlvr.stats.student import t_quantile
from tests.helpers.sweep_cases import make_run, run_record


def test_a_band_is_the_t_interval_over_seeds(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
    points = curve(read_sweep(tmp_path).runs, "accuracy")
    first = points[1]
    assert (min(points), first.seeds) == (1, 3)
    assert first.mean == pytest.approx(0.112)  # 0.111, 0.112, 0.113: sd 0.001
    assert first.high - first.mean == pytest.approx(t_quantile(0.975, 2) * 0.001 / 3**0.5)


def test_a_band_of_two_seeds_is_their_range(tmp_path: Path) -> None:
    for seed, right in ((1, 3), (2, 5)):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": right})
    make_run(tmp_path, "recipe-dapo", 3, {"amc": 9}, finished=False)
    sweep = read_sweep(tmp_path)
    points = curve(sweep.runs, "eval/amc/accuracy")
    last = points[10]
    assert (max(points), last.seeds) == (10, 2)
    assert (last.low, last.mean, last.high) == pytest.approx((0.3, 0.4, 0.5))
    said = bands(sweep_result(sweep, "recipe-dapo"), ["recipe-dapo"])
    assert "with fewer than 3 seeds (recipe-dapo) from the smallest to the largest" in said


def test_a_seed_that_lacks_a_step_is_not_counted_there(tmp_path: Path) -> None:
    for seed in (1, 2, 3, 4):
        job = make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
    lines = (job / "metrics.jsonl").read_text().splitlines()
    (job / "metrics.jsonl").write_text("\n".join(lines[:2] + lines[3:]))
    points = curve(read_sweep(tmp_path).runs, "accuracy")
    assert list(points) == list(range(1, 11))
    assert [p.seeds for p in points.values()] == [4, 3, *[4] * 8]


def test_the_first_step_at_a_level() -> None:
    found = {s: SeedMean(m, m, m, 1) for s, m in ((0, 0.1), (5, 0.3), (10, 0.2))}
    assert first_step_at(found, 0.3) == 5
    assert first_step_at(found, 0.31) is None


def test_the_end_of_training_is_the_last_fifth(tmp_path: Path) -> None:
    for seed, js in ((1, 0.01), (2, 0.02), (3, None)):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3}, js=js)
    found = trained(read_sweep(tmp_path).runs).ending
    assert found["js_base/mean"].mean == pytest.approx((0.095 + 0.19) / 2)  # steps 9 and 10
    assert found["js_base/p99"].mean == pytest.approx(5 * (0.095 + 0.19) / 2)
    assert (found["js_base/mean"].seeds, found["token_weight/p50"].seeds) == (2, 3)


@pytest.mark.parametrize(("steps", "first"), [(1, 1), (3, 3), (10, 9), (11, 9), (12, 10)])
def test_the_last_fifth_is_rounded_up(steps: int, first: int) -> None:
    train = {step: {"entropy/mean": float(step**2)} for step in range(1, steps + 1)}
    found = trained([run_record("x", steps=steps, train=train)]).ending["entropy/mean"]
    counted = [step**2 for step in range(first, steps + 1)]
    assert found.mean == pytest.approx(sum(counted) / len(counted))


@pytest.mark.slow
def test_the_tables_show_what_was_not_recorded(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
        make_run(tmp_path, "recipe-x", seed, {"amc": 6}, js=None)
    found = sweep_result(read_sweep(tmp_path), "recipe-dapo")
    shown = divergence_table(found)
    assert shown.rows == (
        ("recipe-dapo", "3", "0.095", "0.19", "0.285", "0.38", "0.475"),
        ("recipe-x", "0", "-", "-", "-", "-", "-"),
    )
    assert "recipe-x (0 of 3 runs): tracking.signals=[js_base] records it." in shown.caption
    assert weight_table(found).rows[0] == ("recipe-dapo", *["1"] * 8, "0.5")
    curves = curve_table(found, "amc")
    assert curves is not None
    assert curves.header == ("condition", "step 0", "step 5", "step 10", "reached at")
    assert curves.rows == (
        ("recipe-dapo", "0.1000", "0.2000", "0.3000", "10"),
        ("recipe-x", "0.1000", "0.3500", "0.6000", "5"),
    )
    assert "10 problems, 2 samples of each" in outcome_table(found, "amc").caption


def test_a_level_that_holds_from_the_start_is_reached_at_step_0(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 1})  # 0.1, as before training
    shown = curve_table(sweep_result(read_sweep(tmp_path), "recipe-dapo"), "amc")
    assert shown is not None
    assert shown.rows == (("recipe-dapo", "0.1000", "0.1000", "0.1000", "0"),)


@pytest.mark.slow
def test_time_and_tokens(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
    make_run(tmp_path, "recipe-x", 4, {"amc": 3})
    found = sweep_result(read_sweep(tmp_path), "recipe-dapo")
    assert cost_table(found).rows == (
        ("recipe-dapo", "3", "200.0", "20.0", "2,000", "10", "0.18", "6,000"),  # (600 + 60) s
        ("recipe-x", "1", "400.0", "20.0", "4,000", "10", "0.12", "4,000"),
        ("all", "4", "", "", "", "", "0.30", "10,000"),
    )
    assert "Resumed" not in cost_table(found).caption
    file = tmp_path / "recipe-x_seed-4" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"resumed_from": "checkpoints/step_000005"}))
    assert "Resumed, 1 of the runs" in cost_table(sweep_result(read_sweep(tmp_path), "recipe-dapo")).caption
    first, second = csv.DictReader(training_csv(found).splitlines())
    assert float(first["js_base/p99_mean"]) == pytest.approx(0.475)
    assert (second["train_seconds_mean"], second["train_seconds_low"]) == ("400.0", "")


def evaluated(condition: str, seed: int, accuracy: dict[int, float], **other: Any) -> FinishedRun:
    """A run without files that was evaluated at these steps."""
    evals = {step: {"eval/amc/accuracy": value} for step, value in accuracy.items()}
    return replace(run_record(condition, seed, amc={"p0": [True], "p1": [False]}), evals=evals, **other)


def result(runs: Sequence[FinishedRun]) -> SweepResult:
    return sweep_result(SweepFolder("made_up", tuple(runs), (), (), ()), runs[0].condition)


def test_a_table_has_eight_of_many_evaluated_steps_the_first_and_the_last_among_them() -> None:
    steps = range(0, 75, 5)  # 15: every second one
    base = evaluated("recipe-dapo", 1, {step: step / 100 for step in steps})
    other = evaluated("recipe-x", 1, {step: step / 50 for step in steps})
    shown = curve_table(result([base, other]), "amc")
    assert shown is not None
    assert shown.header == ("condition", *(f"step {step}" for step in range(0, 75, 10)), "reached at")
    assert shown.rows[0] == ("recipe-dapo", *(f"{step / 100:.4f}" for step in range(0, 75, 10)), "70")
    assert shown.rows[1][-1] == "35"
    assert shown.caption.endswith("the first evaluated step with the baseline's last mean, 0.7000.")


def test_without_a_curve_of_the_baseline_nothing_is_said_of_its_last_mean() -> None:
    shown = curve_table(result([evaluated("recipe-dapo", 1, {}), evaluated("recipe-x", 1, {5: 0.5})]), "amc")
    assert shown is not None
    assert shown.rows == (("recipe-dapo", "-", "-"), ("recipe-x", "0.5000", "-"))
    assert shown.caption == "Accuracy on amc by step, mean over seeds."


def test_the_bands_of_a_figure_are_those_of_its_conditions() -> None:
    three = [evaluated("recipe-dapo", seed, {}) for seed in (1, 2, 3)]
    found = result([*three, *(evaluated("recipe-x", seed, {}) for seed in (1, 2))])
    assert bands(found, ["recipe-dapo"]) == "Bands: 95 % t-intervals over seeds."
    assert "fewer than 3 seeds (recipe-x) from" in bands(found, ["recipe-dapo", "recipe-x"])


def test_what_all_runs_recorded_needs_no_word() -> None:
    train = {1: {"js_base/mean": 0.25}}
    logged, not_logged = run_record("a", train=train), run_record("b")
    assert "Not recorded" not in divergence_table(result([logged])).caption
    caption = divergence_table(result([logged, not_logged])).caption
    assert "Not recorded by all runs of b (0 of 1 runs):" in caption
    in_file = csv.DictReader(training_csv(result([logged, not_logged])).splitlines())
    found = [(row["js_base/mean_mean"], row["js_base/mean_seeds"]) for row in in_file]
    assert found == [("0.25", "1"), ("", "0")]


def test_settings_that_differ_are_a_table_and_equal_ones_are_counted() -> None:
    settings = {"steps": 10, "loss.clip": 0.2}
    first = evaluated("recipe-dapo", 1, {}, settings=settings)
    second = evaluated("recipe-x", 1, {}, settings=settings | {"loss.clip": 0.3, "loss.kl": 0.1})
    shown = difference_table(result([first, second]))
    assert shown is not None
    assert shown.header == ("setting", "recipe-dapo", "recipe-x")
    assert shown.rows == (("loss.clip", "0.2", "0.3"), ("loss.kl", "-", "0.1"))
    assert "The other 1 are the same in all runs" in shown.caption
    assert difference_table(result([first])) is None


def test_a_training_of_no_time_has_no_speed() -> None:
    run = run_record("x")
    run = replace(run, summary=replace(run.summary, train_seconds=0.0))
    assert math.isnan(trained([run]).tokens_per_second)


def test_the_curves_as_csv(tmp_path: Path) -> None:
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    rows = list(csv.DictReader(curves_csv(sweep_result(read_sweep(tmp_path), "recipe-dapo")).splitlines()))
    held_out = [(r["step"], r["mean"], r["seeds"]) for r in rows if r["metric"] == "eval/amc/accuracy"]
    assert held_out == [("0", "0.1", "1"), ("5", "0.2", "1"), ("10", "0.3", "1")]
    assert sum(r["metric"] == "js_base/p95" for r in rows) == 10
