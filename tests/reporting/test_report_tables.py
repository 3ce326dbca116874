"""The tables and main figures of a run's page against the files that they are read from, cell by cell."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from rlvr.analysis.cross.store import CLASS_COLUMNS
from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.shift.classes import CLASSES
from rlvr.analysis.tables import as_csv, table_of
from rlvr.reporting import tables
from rlvr.reporting.sources import Cross, ReportedRun, read_run
from tests.helpers.report_cases import write_analysis, write_cross, write_training

NARROW = "\u202f"  # between a number and its per cent sign


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ReportedRun:
    folder = write_training(tmp_path_factory.mktemp("tables"), "whole")
    write_analysis(folder / "analysis")
    write_cross(folder / "cross_sampling")
    return read_run(folder)


def percent(text: str | float) -> str:
    return f"{100 * float(text):.1f}{NARROW}%"


def lines(file: Path, **wanted: str) -> list[dict[str, str]]:
    """The lines of a CSV file of the final policy, or of any where it has no checkpoints, with these values."""
    found = list(csv.DictReader(file.open()))
    wanted = {"checkpoint": "policy", **wanted} if "checkpoint" in found[0] else wanted
    return [line for line in found if all(line[key] == value for key, value in wanted.items())]


def ends(line: dict[str, str], name: str, form: str) -> str:
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    return "–" if not low else f"{float(low):{form}} to {float(high):{form}}".replace("%", f"{NARROW}%")


def test_the_lead_says_what_was_run(run):
    assert tables.lead(run) == (
        "made_up on arithmetic, model builtin, seed 1: 6 steps in 2.0 min, 12,345 tokens sampled."
    )
    assert run.summary is not None
    assert ": 1 step in 2.0 min" in tables.lead(replace(run, summary=replace(run.summary, steps=1)))
    assert "has no summary.json" in tables.lead(replace(run, summary=None))
    assert tables.lead(replace(run, summary=None, train=[])) == ""


def test_the_main_figures_are_those_of_the_summary_the_analysis_and_the_budgets(run):
    held, *others, best = tables.facts(run)
    assert held == tables.Fact(
        f"30.0 → 60.0{NARROW}%",
        "accuracy on held, before and after",
        f"95 %: 50.0{NARROW}% to 70.0{NARROW}%",
    )
    assert [fact.label for fact in others] == [
        "of tokens moved (JS > 0.1)",
        "of tokens at JS ≤ 0.01",
        "of the policy's favourites are in the base's top 3, where moved",
    ]
    assert run.analysis is not None
    value, low, high = map(percent, run.analysis.figure("share_moved", "policy"))
    assert (others[0].value, others[0].note) == (value, f"95 %: {low} to {high}; policy's responses")
    forward = lines(run.folder / "cross_sampling" / "budgets.csv", direction="forward", rule="js")
    top = max(forward, key=lambda line: float(line["recovered_share"]))
    assert best.value == percent(top["recovered_share"])
    assert best.label == f"of the gap recovered by {percent(top['share'])} policy tokens"
    assert f"accuracy {percent(top['accuracy'])}, 95 %: {percent(top['ci_low'])} to" in best.note


def test_of_budgets_that_recover_as_much_the_smallest_is_the_main_figure(run):
    assert run.cross is not None
    rows = [
        row for row in run.cross.budgets.to_pylist() if (row["direction"], row["rule"]) == ("forward", "js")
    ]
    equal = [
        {**rows[0], "share": share, "recovered_share": recovered}
        for share, recovered in ((0.2, 0.5), (0.05, 0.5), (0.4, 0.25), (0.01, math.nan))
    ]
    cross = Cross(run.cross.folder, run.cross.content, pa.Table.from_pylist(equal))
    *_, best = tables.facts(replace(run, cross=cross))
    assert (best.value, best.label) == (
        f"50.0{NARROW}%",
        f"of the gap recovered by 5.0{NARROW}% policy tokens",
    )


def test_runs_side_by_side_have_a_row_for_each_set(run):
    assert run.summary is not None
    two = {"a": {**run.summary.eval_sets["held"]}, "b": {**run.summary.eval_sets["held"], "after": 0.625}}
    other = replace(run.summary, eval_sets=two, max_logprob_mismatch=None, seed=2, train_seconds=90.0)
    some = replace(run.summary, mismatch_compared_steps=2)
    shown = tables.summary_table(
        [
            run,
            replace(run, name="other", summary=other),
            replace(run, name="some", summary=some),
            replace(run, name="early", summary=None),
        ]
    )
    first = f"30.0{NARROW}%", f"60.0{NARROW}%", f"50.0{NARROW}% to 70.0{NARROW}%"
    assert shown.rows == (
        ("whole", "made_up", "1", "6", "held", *first, "2.0", "12,345", "1.0e-07"),
        ("other", "made_up", "2", "6", "a", *first, "1.5", "12,345", "not compared"),
        (
            "other",
            "made_up",
            "2",
            "6",
            "b",
            first[0],
            f"62.5{NARROW}%",
            first[2],
            "1.5",
            "12,345",
            "not compared",
        ),
        ("some", "made_up", "1", "6", "held", *first, "2.0", "12,345", "1.0e-07 (at 2 of 6 steps)"),
        ("early", "not finished", *[""] * 9),
    )
    assert all(len(row) == len(shown.header) for row in shown.rows)


def test_the_tables_of_the_shift_are_those_of_the_analysis(run):
    analysis, folder = run.analysis, run.folder / "analysis" / "tables"
    assert analysis is not None
    shown, listed = tables.identity_table(analysis), lines(folder / "tokens.csv", trajectory="policy")
    assert shown is not None
    assert [row[1:5] for row in shown.rows] == [
        (x["count"], f"{float(x['mean_js']):.3f}", ends(x, "mean_js", ".3f"), f"{float(x['max_js']):.3f}")
        for x in listed[: tables.SHOWN_IDENTITIES]
    ]
    assert [row[5].rpartition("> ")[2] for row in shown.rows] == [percent(x["share_moved"]) for x in listed]
    (context,) = lines(folder / "context.csv", trajectory="policy", of="js")
    assert f"Identity alone explains {percent(context['explained_adjusted'])} of" in shown.caption
    assert tables.outcome_table(analysis).rows == tuple(
        (
            f"{x['outcome']}, written by the {x['trajectory']}",
            x["tokens"],
            f"{float(x['mean_js']):.4f}",
            ends(x, "mean_js", ".4f"),
            percent(x["share_moved"]),
            ends(x, "share_moved", ".1%"),
        )
        for x in lines(folder / "outcome.csv")
    )
    of_classes = tables.class_table(analysis)
    assert of_classes is not None
    assert [row[:4] + row[5:] for row in of_classes.rows] == [
        (
            f"{x['class']}, in the {x['trajectory']}'s responses",
            x["tokens"],
            percent(x["share"]),
            f"{float(x['mean_js']):.4f}",
            percent(x["share_of_js"]),
            ends(x, "share_of_js", ".1%"),
            percent(x["share_of_moved"]),
        )
        for x in lines(folder / "classes.csv")
        if x["tokens"] != "0"
    ]


def test_an_analysis_from_before_there_were_classes_has_no_table_of_them(tmp_path):
    folder = write_analysis(tmp_path)
    (folder / "tables" / "classes.csv").unlink()
    assert tables.class_table(LoadedAnalysis(folder)) is None


def test_every_budget_is_a_row(run):
    assert run.cross is not None
    found = lines(run.folder / "cross_sampling" / "budgets.csv")
    assert [row[:9] for row in tables.budget_table(run.cross).rows] == [
        (
            x["direction"],
            x["rule"],
            percent(x["share"]),
            percent(x["effective_share"]),
            f"{float(x['switches_per_response']):.2f}",
            percent(x["accuracy"]),
            f"{percent(x['ci_low'])} to {percent(x['ci_high'])}",
            percent(x["recovered_share"]),
            "<= 0.0001" if float(x["p_primary_holm"]) <= 1e-4 else f"{float(x['p_primary_holm']):.3g}",
        )
        for x in found
    ]
    js = [row[9] == "" for row in tables.budget_table(run.cross).rows]
    assert js == [x["rule"] == "js" for x in found]  # nothing is compared with itself


def test_effective_switches_by_class_stand_side_by_side(run, tmp_path):
    assert run.cross is not None
    assert tables.switch_class_table(replace(run.cross, folder=tmp_path)) is None
    counts = dict.fromkeys(CLASSES, 0) | {"number": 3, "other": 1}
    rows = [
        ("forward", "js", level, name, 10, 0.1, 0.05, 0.2, n, *ends)
        for level, unit in (("0.02", 1), ("0.1", 0))
        for name, n in ((name, n * unit) for name, n in counts.items())
        for ends in [(n / 4, 0.0, n / 3) if unit else (math.nan,) * 3]
    ]
    (tmp_path / "classes.csv").write_text(as_csv(table_of(CLASS_COLUMNS, rows)))
    shown = tables.switch_class_table(replace(run.cross, folder=tmp_path))
    assert shown is not None
    assert shown.header == ("direction", "rule", "budget", "switches", *CLASSES)
    some, none = shown.rows
    assert some[:4] == ("forward", "js", "0.02", "4")
    cells = dict(zip(CLASSES, some[4:], strict=True))
    assert cells["number"] == f"75.0{NARROW}% (0.0{NARROW}% to 100.0{NARROW}%)"
    assert cells["format"] == f"0.0{NARROW}% (0.0{NARROW}% to 0.0{NARROW}%)"
    assert none == ("forward", "js", "0.1", "0", *[""] * len(CLASSES))


def test_versions_stand_by_run_and_command(run):
    shown = tables.versions_table([run])
    assert shown is not None
    assert shown.header == ("package", "train", "analyze", "cross_sample")
    torch = {row[0]: row[1:] for row in shown.rows}["torch"]
    assert (torch[0], torch[2]) == ("2.13.0", "")
    early = replace(run, name="early", summary=None, cross=None)
    both = tables.versions_table([run, early])
    assert both is not None
    assert both.header[1:] == ("whole: train", "whole: analyze", "whole: cross_sample", "early: analyze")
    assert tables.versions_table([replace(early, analysis=None)]) is None
