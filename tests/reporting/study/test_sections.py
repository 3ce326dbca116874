"""The tables of a study's page, cell by cell, from small files with numbers that are all different."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rlvr.analysis.cross.store import CLASS_COLUMNS
from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.shift.classes import CLASSES as NAMES
from rlvr.analysis.shift.columns import TABLES
from rlvr.analysis.study import Record, Records, Study, StudyConfig
from rlvr.analysis.tables import TextTable
from rlvr.reporting.figures.canvas import Figure
from rlvr.reporting.study import sections
from rlvr.reporting.study.found import Found
from tests.helpers.report_cases import write_cross
from tests.helpers.sweep_cases import make_run, run_record

CFG = StudyConfig(
    title="made up", tasks={"sums": [], "words": []}, weighting=["dapo"], training=["dapo", "sft", "kl"]
)


def analysis(folder: Path, tables: dict[str, list[dict[str, object]]]) -> LoadedAnalysis:
    """An analysis with these rows, each with an interval of a tenth about a number that is given alone."""
    (folder / "tables").mkdir(parents=True)
    for name, rows in tables.items():
        columns = [c.name for c in TABLES[name]]
        with (folder / "tables" / f"{name}.csv").open("w") as file:
            writer = csv.DictWriter(file, columns, restval="0")
            writer.writeheader()
            for row in rows:
                numbers = {k: v for k, v in row.items() if f"{k}_low" in columns}
                low = {f"{k}_low": v - 0.05 for k, v in numbers.items()}
                high = {f"{k}_high": v + 0.05 for k, v in numbers.items()}
                writer.writerow({"checkpoint": "policy", "trajectory": "policy"} | low | high | row)

    def entry(trajectory: str, tokens: int, first: float | None) -> dict[str, object]:
        figures = {
            name: {
                "value": None if first is None else first + i / 100,
                "low": 0 if first is None else first,
                "high": 1,
            }
            for i, name in enumerate(sections.HEADLINES)
        }
        return {"checkpoint": "policy", "trajectory": trajectory, "tokens": tokens, "figures": figures}

    content = {
        "format_version": "1",
        "config": {"tables": {"moved_above": 0.2}, "score": {"top_p": 0.95}},
        "versions": {},
        "token_files": [],
        "headline": [entry("policy", 1200, 0.1), entry("base", 30, None)],
    }
    (folder / "analysis.json").write_text(json.dumps(content))
    return LoadedAnalysis(folder)


def test_headlines_stand_on_the_responses_of_each_model(tmp_path):
    table = sections.headline_table(analysis(tmp_path, {}))
    assert table.caption == "Where the policy moved: 1,200 of the policy's and 30 of the base's tokens."
    assert table.header == ("", "on the policy's responses", "on the base's responses")
    assert table.rows == (
        ("mean JS [nats]", "0.100 (0.100..1.000)", "-"),
        ("JS <= 0.01", "11.0% (10.0%..100.0%)", "-"),
        ("JS > 0.2: moved", "12.0% (10.0%..100.0%)", "-"),
        ("moved: two most likely tokens in common", "13.0% (10.0%..100.0%)", "-"),
        ("moved: the favourite is the base's", "14.0% (10.0%..100.0%)", "-"),
        ("moved: the favourite is within the base's first 3", "15.0% (10.0%..100.0%)", "-"),
        ("moved: the base gave the favourite less than 1 %", "16.0% (10.0%..100.0%)", "-"),
    )


def test_places_in_the_response_are_its_sections_alone(tmp_path):
    row = {"axis": "section", "bin": "first", "tokens": 1234}
    row |= {"mean_js": 0.25, "share_moved": 0.5, "mean_entropy_base": 0.75}
    found = analysis(tmp_path, {"position": [row | {"axis": "relative", "bin": ""}, row]})
    table = sections._sections(found)
    assert table.header == ("tokens", "count", "mean JS", "moved", "entropy of the base")
    cells = (
        "first, in the policy's responses",
        "1,234",
        "0.250 (0.200..0.300)",
        "50.0% (45.0%..55.0%)",
        "0.750",
    )
    assert table.rows == (cells,)


def test_truncation_is_counted_on_either_side(tmp_path):
    row = {"threshold": 0.01, "both": 3000, "only_exact": 4, "only_top_p": 5, "neither": 6}
    table = sections._agreement(
        analysis(tmp_path, {"truncation_agreement": [row | {"agreement": 0.7, "recall": 0.6}]})
    )
    assert "truncated at top-p 0.95?" in table.caption
    assert table.header == ("JS above", "by both", "exact alone", "top-p alone", "agreement", "recall")
    assert table.rows == (
        ("0.01, policy's responses", "3,000", "4", "5", "70.0% (65.0%..75.0%)", "60.0% (55.0%..65.0%)"),
    )


def test_every_measure_has_its_own_share_above_a_threshold(tmp_path):
    measures = ("kl_base_policy", "js", "kl_policy_base", "js_top_p")
    rows = [
        {"trajectory": trajectory, "measure": measure, "threshold": threshold, "share_above": start + i / 10}
        for trajectory, threshold, start in (("policy", 0.1, 0.1), ("policy", 0.2, 0.2), ("base", 0.1, 0.3))
        for i, measure in enumerate(measures)
    ]
    table = sections._thresholds(analysis(tmp_path, {"thresholds": rows}))
    assert table.header == ("above", "exact JS", "top-p JS", "KL(policy, base)", "KL(base, policy)")
    assert [(row[0], *(cell.split()[0] for cell in row[1:])) for row in table.rows] == [
        ("0.1, policy's responses", "20.0%", "40.0%", "30.0%", "10.0%"),
        ("0.2, policy's responses", "30.0%", "50.0%", "40.0%", "20.0%"),
        ("0.1, base's responses", "40.0%", "60.0%", "50.0%", "30.0%"),
    ]
    assert table.rows[0][1] == "20.0% (15.0%..25.0%)"


CLASSES = {
    "classes": [
        {"class": "number", "share_of_js": 0.75, "share": 0.4},
        {"class": "words", "share_of_js": 0.25, "share": 0.6},
        {"class": "number", "trajectory": "base", "share_of_js": 0.5},
    ],
    "sparsity": [
        {"measure": measure, "trajectory": trajectory, "at_most": at_most, "share": share}
        for measure, trajectory, share in (("js", "policy", 0.5), ("kl", "policy", 0.6), ("js", "base", 0.7))
        for at_most in (0.0, 0.001, 0.5)
    ],
}


def test_classes_of_several_trainings_stand_side_by_side(tmp_path):
    other = {"classes": [{"class": "operator", "share_of_js": 1.0}]}
    both = {"a": analysis(tmp_path / "a", CLASSES), "b": analysis(tmp_path / "b", other)}
    table = sections._class_shares(both)
    assert table.header == ("trained with", "number", "words", "operator")
    assert table.rows == (("a", "75.0%", "25.0%", "0.0%"), ("b", "0.0%", "0.0%", "100.0%"))


def test_sparsity_is_of_exact_js_on_the_policys_responses(tmp_path):
    figure = sections._sparsity({name: analysis(tmp_path / name, CLASSES) for name in "ab"})
    assert figure.numbers.select(["trained with", "at_most", "share"]).to_pylist() == [
        {"trained with": name, "at_most": at_most, "share": 0.5}
        for name in "ab"
        for at_most in (0.0, 0.001, 0.5)
    ]
    assert [line.label for line in figure.lines] == ["a", "b"]
    for line in figure.lines:  # none on a logarithmic axis at 0
        assert set(line.rows["trained with"].to_pylist()) == {line.label}
        assert (line.rows[line.x].to_pylist(), line.rows[line.y].to_pylist()) == ([0.001, 0.5], [0.5, 0.5])


def test_classes_are_of_the_shift_and_of_the_switches_as_far_as_either_is_there(tmp_path):
    made = Study(CFG, tmp_path)
    _, analysed, crossed = made.pieces()[:3]
    records = Records(tmp_path / "pieces")
    assert list(sections.classes(Found(made, records))) == []
    folder = write_cross(crossed.folder / "cross_sampling")
    counts = {name: 10 * (i + 1) for i, name in enumerate(NAMES)}
    header = ",".join(column.name for column in CLASS_COLUMNS)
    lines = [f"forward,js,0.1,{name},99,0.1,0,1,{count},0.5,0.4,0.6" for name, count in counts.items()]
    (folder / "classes.csv").write_text("\n".join([header, *lines]) + "\n")
    records.write(crossed, Record(crossed.arguments))
    [switches] = sections.classes(Found(made, records))
    assert [row[:4] for row in switches.rows] == [("forward", "js", "0.1", f"{sum(counts.values())}")]
    analysis(analysed.folder / "analysis", {"classes": [row | {"tokens": 7} for row in CLASSES["classes"]]})
    records.write(analysed, Record(analysed.arguments, 1.0, "2026-01-02 03:04"))
    shift, switches = sections.classes(Found(made, records))
    assert [row[1] for row in shift.rows] == ["7"] * 3
    assert switches.header[0] == "direction"


def train(study: Study, task: str, recipe: str, right: int) -> None:
    make_run(study.output / task, f"recipe-{recipe}", 1, {"held": right})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Three kinds of training on sums and two on words."""
    made = Study(CFG, tmp_path)
    for task, recipe, right in (("sums", "sft", 9), ("sums", "dapo", 5), ("sums", "kl", 3)):
        train(made, task, recipe, right)
    train(made, "words", "dapo", 2)
    train(made, "words", "sft", 7)
    return made


def test_kinds_of_training_are_compared_with_the_first_by_problem(study):
    [table] = sections.kinds(Found(study, Records(study.output / "pieces")))
    assert isinstance(table, TextTable)
    assert table.header[4] == "less dapo"
    assert [row[:3] for row in table.rows] == [
        (task, recipe, "0.100")
        for task, recipe in (
            ("sums", "dapo"),
            ("sums", "sft"),
            ("sums", "kl"),
            ("words", "dapo"),
            ("words", "sft"),
        )
    ]
    assert [row[3].split()[0] for row in table.rows] == ["0.500", "0.900", "0.300", "0.200", "0.700"]

    def rates(right: int) -> np.ndarray:
        return np.repeat([1.0, 0.0], [right, 10 - right])

    pairs = [(rates(after), rates(before)) for after, before in ((9, 5), (3, 5), (7, 2))]
    tests = [stats.ttest_rel(*pair) for pair in pairs]
    adjusted = multipletests([test.pvalue for test in tests], method="holm")[1]
    compared = [row[4:] for row in table.rows if row[1] != "dapo"]
    for (difference, p, detectable), test, pair, p_holm in zip(compared, tests, pairs, adjusted, strict=True):
        interval = test.confidence_interval()
        mean = np.mean(pair[0] - pair[1])
        assert difference == f"{mean:+.3f} ({interval.low:+.3f}..{interval.high:+.3f})"
        assert p == f"{p_holm:.3g}"
        error = stats.sem(pair[0] - pair[1])
        assert detectable == f"{(stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)) * error:.3f}"
    assert [row[4:] for row in table.rows if row[1] == "dapo"] == [("-", "-", "-")] * 2


def test_before_the_first_kind_is_trained_the_others_stand_without_a_difference(tmp_path):
    made = Study(CFG, tmp_path)
    train(made, "sums", "sft", 7)
    [table] = sections.kinds(Found(made, Records(tmp_path / "pieces")))
    assert isinstance(table, TextTable)
    [row] = table.rows
    assert (row[:3], row[4:]) == (("sums", "sft", "0.100"), ("-", "-", "-"))


def test_kinds_that_are_analysed_stand_by_task_and_recipe(study):
    records = Records(study.output / "pieces")
    done = [p for p in study.pieces() if p.name in {f"{t}/recipe-sft_seed-1/analyze" for t in CFG.tasks}]
    for piece in done:
        analysis(piece.folder / "analysis", CLASSES)
        records.write(piece, Record(piece.arguments, 1.0, "2026-01-02 03:04"))
    _, shift, classes, sparsity = sections.kinds(Found(study, records))
    assert isinstance(shift, TextTable)
    assert isinstance(classes, TextTable)
    assert isinstance(sparsity, Figure)
    assert [row[:2] for row in shift.rows] == [("sums, sft", "0.900"), ("words, sft", "0.700")]
    assert [row[0] for row in classes.rows] == ["sums, sft", "words, sft"]
    assert [line.label for line in sparsity.lines] == ["sums, sft", "words, sft"]


def test_kinds_with_a_problem_in_common_or_none_are_not_compared():
    first = run_record("dapo", held={"a": [True], "b": [False]})
    for problems in ("ax", "xy"):
        other = run_record("sft", held={problem: [True] for problem in problems})
        assert sections._against(other, first, "held") is None
    assert sections._against(run_record("sft", words={"a": [True], "b": [True]}), first, "words") is None
    other = run_record("sft", held={"x": [False], "b": [True], "a": [True]})
    found = sections._against(other, first, "held")
    assert found is not None
    assert (found.problems, found.difference) == (2, 0.5)
