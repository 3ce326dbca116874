"""The columns of budgets.csv, computed from parts whose answers are known."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from rlvr.analysis.cross.records import BUDGET_COLUMNS, DIGITS, budget_rows
from rlvr.analysis.tables import records_as_csv
from rlvr.stats.accuracy import accuracy_ci95, compare
from tests.helpers.cross_parts import BASE, JS, POLICY, part

RANDOM = part("forward", "random", 1, budget=0.05, target=0.05, threshold=0.95, switches=66, effective=6)
REVERSE = part("reverse", "js", 1, eps=0.2, threshold=0.2, switches=30, effective=12)


def test_counts_shares_and_accuracy():
    (row,) = budget_rows([BASE, POLICY, JS])
    assert (row.direction, row.rule, row.level, row.threshold) == ("forward", "js", "0.05", 0.1)
    assert (row.problems, row.responses, row.tokens) == (12, 48, 1200)
    assert (row.switches, row.share, row.switches_per_response) == (60, 0.05, 1.25)
    assert (row.effective_switches, row.effective_share, row.effective_per_response) == (24, 0.02, 0.5)
    assert (row.accuracy, row.ci_low, row.ci_high) == accuracy_ci95(JS.graded.correct)
    assert (row.mean_length, row.truncated_share) == (25.0, 0.0)


def test_differences_are_the_paired_tests_against_the_endpoints_of_the_direction():
    forward, reverse = budget_rows([BASE, POLICY, JS, REVERSE])
    up, down = compare(BASE.graded, JS.graded), compare(POLICY.graded, JS.graded)
    assert (forward.difference_primary, forward.p_primary) == (up.difference, up.p_value)
    assert (forward.difference_primary_low, forward.difference_primary_high) == (up.low, up.high)
    assert (forward.difference_intervening, forward.p_intervening) == (down.difference, down.p_value)
    assert forward.difference_primary > 0 > forward.difference_intervening
    lost = compare(POLICY.graded, REVERSE.graded)
    assert (reverse.difference_primary, reverse.p_primary) == (lost.difference, lost.p_value)


def test_the_recovered_share_runs_from_primary_to_intervening():
    forward, reverse = budget_rows([BASE, POLICY, JS, REVERSE])
    bottom, top = BASE.graded.correct.mean(), POLICY.graded.correct.mean()
    assert forward.recovered_share == pytest.approx((JS.graded.correct.mean() - bottom) / (top - bottom))
    assert reverse.recovered_share == 1.0  # as wrong as the base
    same = part("endpoint", "policy", 1)
    assert budget_rows([BASE, same, JS])[0].recovered_share is None


def test_controls_are_compared_with_the_js_rule_of_their_level():
    js, control = budget_rows([BASE, POLICY, JS, RANDOM])
    assert (js.difference_js, js.p_js) == (None, None)
    expected = compare(JS.graded, RANDOM.graded)
    assert (control.difference_js, control.p_js) == (expected.difference, expected.p_value)
    assert control.threshold == pytest.approx(0.05)  # the probability of a switch
    elsewhere = part("forward", "random", 1, budget=0.1, target=0.1, threshold=0.9)
    assert budget_rows([BASE, POLICY, JS, elsewhere])[1].p_js is None


def test_all_tests_of_the_file_are_corrected_together():
    rows = budget_rows([BASE, POLICY, JS, RANDOM, REVERSE])
    names = ("p_primary", "p_intervening", "p_js")
    made = [(row, name) for row in rows for name in names if getattr(row, name) is not None]
    assert len(made) == 3 * 3 - 2  # the JS rule is not compared with itself
    expected = multipletests([getattr(row, name) for row, name in made], method="holm")[1]
    assert [getattr(row, f"{name}_holm") for row, name in made] == pytest.approx(list(expected))
    assert [row.p_js_holm is None for row in rows] == [True, False, True]


def test_the_share_of_cut_off_responses():
    cut = replace(JS.graded, truncated=np.arange(48).reshape(12, 4) % 16 == 0)
    assert budget_rows([BASE, POLICY, replace(JS, graded=cut)])[0].truncated_share == 3 / 48


def test_the_file_has_a_cell_for_every_column():
    rows = budget_rows([BASE, POLICY, JS, RANDOM, REVERSE])
    read = list(csv.DictReader(io.StringIO(records_as_csv(BUDGET_COLUMNS, rows, digits=DIGITS))))
    assert len(read) == 3
    assert tuple(read[0]) == tuple(column.name for column in BUDGET_COLUMNS)
    assert read[0]["difference_js"] == ""
    assert read[2]["target_share"] == ""
    assert read[2]["level"] == "eps0.2"
    assert float(read[1]["p_js"]) == pytest.approx(rows[1].p_js, rel=1e-9)
