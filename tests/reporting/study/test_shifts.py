"""What one trained model came to, read from its run's folder and put into a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.errors import DataError
from rlvr.reporting.study.shifts import Crossing, Interval, Shift, findings_table, read_crossings, read_shift
from tests.helpers.report_cases import write_analysis, write_cross, write_training


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trained, analysed and cross-sampled run."""
    folder = write_training(tmp_path, "dapo")
    write_cross(folder / "cross_sampling")
    return write_analysis(folder / "analysis").parent


@pytest.mark.slow
def test_a_table_of_findings_has_what_the_files_of_the_run_say(run):
    shift, (crossings, ends) = read_shift(run), read_crossings(run)
    moved = LoadedAnalysis(run / "analysis").figure("share_moved", "policy")
    assert moved is not None
    assert (shift.name, shift.accuracy, shift.moved) == ("made_up", 0.6, Interval(*moved))
    assert read_shift(run, "mine").name == "mine"
    rows = findings_table([shift], crossings, ends).splitlines()
    assert f"| made_up | 0.600 | {shift.near_zero} | {shift.moved} |" in rows[2]
    [title] = [row for row in rows if row.startswith("Base alone")]
    assert title == f"Base alone {ends['base']}, policy alone {ends['policy']}."
    assert sum(row.startswith(("| forward", "| reverse")) for row in rows) == len(crossings) == 4


@pytest.fixture
def budgets(tmp_path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """The rows of budgets.csv, of other rules as well, by direction, level and rule, read by Python's own reader."""
    file = write_cross(tmp_path / "cross_sampling") / "budgets.csv"
    head, *rows = file.read_text().splitlines()
    others = [row.replace(",js,", f",{rule},") for rule in ("entropy", "kl") for row in rows if ",js," in row]
    file.write_text("\n".join([head, *others[:4], *rows, *others[4:]]) + "\n")
    with file.open() as lines:
        return {(row["direction"], row["level"], row["rule"]): row for row in csv.DictReader(lines)}


def test_every_budget_of_the_js_rule_stands_beside_random_positions_at_its_own_share(tmp_path, budgets):
    def accuracy(row: dict[str, str]) -> Interval:
        return Interval(*(float(row[name]) for name in ("accuracy", "ci_low", "ci_high")))

    crossings, ends = read_crossings(tmp_path)
    assert ends.keys() == {"base", "policy"}
    places = [(direction, level) for direction in ("forward", "reverse") for level in ("0.02", "0.1")]
    assert [(c.direction, c.share, c.effective) for c in crossings] == [
        ("forward", 0.02, 0.01), ("forward", 0.1, 0.05), ("reverse", 0.02, 0.01), ("reverse", 0.1, 0.05),
    ]  # fmt: skip
    for crossing, place in zip(crossings, places, strict=True):
        assert crossing.accuracy == accuracy(budgets[*place, "js"])
        assert crossing.random == accuracy(budgets[*place, "random"]) != crossing.accuracy
        assert crossing.p_random == float(budgets[*place, "random"]["p_js_holm"])


def test_the_columns_of_findings_are_as_their_heads_say():
    def interval(value: float) -> Interval:
        return Interval(value, value - 0.01, value + 0.01)

    shift = Shift("mine", 0.5, interval(0.1), interval(0.2), interval(0.3), Interval(None, None, None))
    crossing = Crossing("forward", 0.4, 0.05, interval(0.6), interval(0.7), 0.0123)
    ends = {"base": interval(0.8), "policy": interval(0.9)}
    assert findings_table([shift], [crossing], ends).splitlines() == [
        "| trained with | accuracy | JS <= 0.01 | JS > 0.1 | moved: within base rank 3 | moved: base p < 0.01 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| mine | 0.500 | 10.0% (9.0%..11.0%) | 20.0% (19.0%..21.0%) | 30.0% (29.0%..31.0%) | - |",
        "",
        "Base alone 80.0% (79.0%..81.0%), policy alone 90.0% (89.0%..91.0%).",
        "",
        "| direction | switched (effective) | accuracy, JS rule | accuracy, random positions | p (Holm) |",
        "| --- | --- | --- | --- | --- |",
        "| forward | 40.0% (5.0%) | 60.0% (59.0%..61.0%) | 70.0% (69.0%..71.0%) | 0.0123 |",
    ]


def test_each_figure_of_a_shift_is_that_of_the_policys_responses(tmp_path):
    folder = write_training(tmp_path, "dapo")
    names = (
        "share_near_zero",
        "share_moved",
        "moved_policy_top_within_base_rank_3",
        "moved_policy_top_base_prob_below_0.01",
    )

    def entry(trajectory: str, first: float) -> dict[str, object]:
        own = {name: {"value": first + i, "low": first, "high": 9.0} for i, name in enumerate(names)}
        return {"checkpoint": "policy", "trajectory": trajectory, "tokens": 1, "figures": own}

    content = {"format_version": "1", "config": {}, "versions": {}, "token_files": []}
    content["headline"] = [entry("base", 5.0), entry("policy", 1.0)]
    (folder / "analysis").mkdir()
    (folder / "analysis" / "analysis.json").write_text(json.dumps(content))
    shift = read_shift(folder)
    found = (shift.near_zero, shift.moved, shift.moved_within_rank_3, shift.moved_new)
    assert found == tuple(Interval(value, 1.0, 9.0) for value in (1.0, 2.0, 3.0, 4.0))
    content["headline"] = [entry("base", 5.0)]
    (folder / "analysis" / "analysis.json").write_text(json.dumps(content))
    assert read_shift(folder).moved == Interval(None, None, None)


def test_an_analysis_of_another_version_is_refused(tmp_path):
    folder = write_training(tmp_path, "dapo")
    (folder / "analysis").mkdir()
    (folder / "analysis" / "analysis.json").write_text(json.dumps({"format_version": "0"}))
    with pytest.raises(DataError, match=r"analysis\.json: format '0'"):
        read_shift(folder)


def test_a_damaged_summary_is_named(tmp_path):
    folder = write_training(tmp_path, "dapo")
    write_analysis(folder / "analysis")
    (folder / "summary.json").write_text("{}")
    with pytest.raises(DataError, match=r"summary\.json: not the summary of a run"):
        read_shift(folder)
