"""Rules against each other at one budget: who is paired with whom, and every number of a pair."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.experiment import Experiment, planned, unmet
from rlvr.analysis.cross.pairs import PAIR_COLUMNS, pair_rows, rule_table, rules_page
from rlvr.analysis.cross.records import DIGITS, EFFECTIVE, PartKey, budget_rows
from rlvr.analysis.tables import records_as_csv
from rlvr.stats.student import RESOLUTION, interval_text, p_text
from tests.helpers.cross_parts import BASE, JS, POLICY, PROBLEMS, SAMPLES, part


def effective(direction, rule, chance, budget, changed=24):
    """A part at an effective budget, right with this chance; 1200 tokens, of which `changed` came out differently."""
    made = part(
        direction, rule, 1, budget=budget, target=budget, threshold=0.1, switches=60, effective=changed,
        budget_of=EFFECTIVE,
    )  # fmt: skip
    rng = np.random.default_rng([len(rule), round(100 * chance)])
    return replace(made, graded=replace(made.graded, correct=rng.random((PROBLEMS, SAMPLES)) < chance))


PARTS = [
    BASE,
    POLICY,
    effective("forward", "js", 0.5, 0.02),
    effective("forward", "js", 0.95, 0.05, 60),
    effective("forward", "random", 0.3, 0.02),
    effective("forward", "random", 0.1, 0.05, 60),
    effective("forward", "kl", 0.4, 0.02, 26),
    effective("reverse", "js", 0.2, 0.02),
]


def test_every_rule_meets_every_other_of_its_direction_and_budget():
    found = [(row.direction, row.level, row.first, row.second) for row in pair_rows(PARTS)]
    assert found == [
        ("forward", "effective-0.02", "js", "random"),
        ("forward", "effective-0.02", "js", "kl"),
        ("forward", "effective-0.02", "random", "kl"),
        ("forward", "effective-0.05", "js", "random"),
    ]


def test_a_pair_is_scipys_paired_test_and_says_what_it_could_have_shown():
    row = pair_rows(PARTS)[1]
    rates = [p.graded.correct.mean(axis=1) for p in (PARTS[2], PARTS[6])]
    expected = stats.ttest_rel(*rates)
    assert row.difference == pytest.approx((rates[0] - rates[1]).mean())
    assert (row.low, row.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert row.p == pytest.approx(max(expected.pvalue, RESOLUTION))
    error = stats.sem(rates[0] - rates[1])
    quantiles = stats.t.ppf(0.975, PROBLEMS - 1) + stats.t.ppf(0.8, PROBLEMS - 1)
    assert row.detectable == pytest.approx(quantiles * error)
    assert (row.first_share, row.second_share) == (24 / 1200, 26 / 1200)


def test_p_values_are_corrected_over_all_pairs_and_have_a_floor():
    rows = pair_rows(PARTS)
    uncorrected = [
        stats.ttest_rel(*(p.graded.correct.mean(axis=1) for p in pair)).pvalue
        for pair in ((PARTS[2], PARTS[4]), (PARTS[2], PARTS[6]), (PARTS[4], PARTS[6]), (PARTS[3], PARTS[5]))
    ]
    assert min(uncorrected) < RESOLUTION
    order = sorted(range(4), key=lambda k: uncorrected[k])
    largest, holm = 0.0, {}
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, uncorrected[k] * (4 - rank)))
        holm[k] = max(largest, RESOLUTION)
    assert [row.p_holm for row in rows] == pytest.approx([holm[k] for k in range(4)])
    assert min(row.p for row in rows) == RESOLUTION


def test_the_file_and_the_page_hold_every_pair():
    rows = pair_rows(PARTS)
    read = list(csv.DictReader(io.StringIO(records_as_csv(PAIR_COLUMNS, rows, digits=DIGITS))))
    assert tuple(read[0]) == tuple(column.name for column in PAIR_COLUMNS)
    assert len(read) == 4
    page = rules_page(budget_rows(PARTS), rows)
    assert "js less random" in page
    assert "<= 0.0001" in page
    assert "| forward | kl | 2.00% | 2.17% (missed) |" in page
    assert page.count("(missed)") == 1


def test_pairs_say_whether_both_met_their_budget():
    rows = pair_rows(PARTS)
    assert [(row.first, row.second, row.met) for row in rows[:3]] == [
        ("js", "random", "yes"),
        ("js", "kl", "no"),
        ("random", "kl", "no"),
    ]
    assert "| js less kl | 2.00%, 2.17% | no |" in rules_page(budget_rows(PARTS), rows)
    assert [
        row["met"] for row in csv.DictReader(io.StringIO(records_as_csv(PAIR_COLUMNS, rows, digits=DIGITS)))
    ] == [
        "yes",
        "no",
        "no",
        "yes",
    ]
    switched = [
        part("forward", rule, 1, budget=0.5, target=0.5, threshold=0.1, switches=60) for rule in ("js", "kl")
    ]
    (row,) = pair_rows(switched)
    assert row.met == ""
    assert (row.first_share, row.second_share) == (0.05, 0.05)


def test_every_rule_stands_beside_random_positions_with_its_own_sign():
    """Random positions are the second of one pair and the first of another."""
    given = part("forward", "js", 1, eps=0.2, threshold=0.2, switches=30)
    parts = [*PARTS, given, JS]
    pairs = pair_rows(parts)
    table = rule_table(budget_rows(parts), pairs)
    columns = ("direction", "rule", "asked", "less random", "p (Holm)", "detectable")
    found = [tuple(row[table.header.index(name)] for name in columns) for row in table.rows]
    random = {part.level: part for part in PARTS if part.rule == "random"}

    def less_random(own):
        rates = (p.graded.correct.mean(axis=1) for p in (own, random[own.level]))
        expected = stats.ttest_rel(*rates)
        low, high = expected.confidence_interval(0.95)
        shown = interval_text(
            own.graded.correct.mean() - random[own.level].graded.correct.mean(), low, high, "+.3f"
        )
        [pair] = [p for p in pairs if p.level == own.level and {p.first, p.second} == {own.rule, "random"}]
        return shown, p_text(pair.p_holm), f"{pair.detectable:.3f}"

    none = ("-", "-", "-")
    assert found == [
        ("forward", "js", "5.00%", *none),
        ("forward", "js", "-", *none),
        ("forward", "js", "2.00%", *less_random(PARTS[2])),
        ("forward", "kl", "2.00%", *less_random(PARTS[6])),
        ("forward", "random", "2.00%", *none),
        ("forward", "js", "5.00%", *less_random(PARTS[3])),
        ("forward", "random", "5.00%", *none),
        ("reverse", "js", "2.00%", *none),
    ]
    changed = [row[table.header.index("changed")] for row in table.rows]
    assert (changed[0], changed[3]) == (
        "2.00%",
        "2.17% (missed)",
    )  # a budget of switches does not ask for changes


def test_what_was_missed_is_said():
    missed = replace(effective("forward", "js", 0.5, 0.05), differing=36)
    assert unmet([BASE, effective("forward", "js", 0.5, 0.02), missed]) == [
        "budgets=0.05 forward js: missed, 2.00% of the tokens are changed; the models draw different ones at 3.00%"
    ]


def test_every_budget_is_attempted():
    """Along mixed responses draws may differ more often than where one model writes alone: nothing bounds a budget."""
    cfg = CrossSampleConfig(budgets=[0.01, 0.9], budget_of=EFFECTIVE, direction="forward", rules=["js"])
    ends = {"base": replace(BASE, differing=12), "policy": replace(POLICY, differing=36)}
    asked: list[PartKey] = []

    class Recorded(Experiment):
        def __init__(self) -> None:
            pass

        def endpoint(self, end):
            return ends[end]

        def _of_rule(self, keys, achieved):
            asked.extend(keys)
            return []

    list(Recorded().run(planned(cfg)))
    assert [key.budget for key in asked] == [0.01, 0.9]
