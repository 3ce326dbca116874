"""The report of a sweep on made-up runs: means, pairs, refusals to rank, and the command."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlvr.analysis.sweep.compare import ConditionResult, choose_baseline, compare_conditions, ranking
from rlvr.analysis.sweep.runs import read_sweep
from rlvr.analysis.sweep.tables import signed, sweep_result
from rlvr.analysis.sweep.text import markdown, outcome_csv
from rlvr.errors import ConfigError, DataError
from rlvr.locks import exclusive
from rlvr.stats.accuracy import EvalResult, compare
from rlvr.sweep_report import main, sweep_report
from tests.helpers.forked import run_module
from tests.helpers.sweep_cases import PROBLEMS, make_run, make_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return make_sweep(tmp_path)


def compared(folder: Path) -> list[ConditionResult]:
    return compare_conditions(read_sweep(folder).runs, "recipe-dapo")


@pytest.mark.slow
def test_means_differences_and_verdicts(sweep: Path) -> None:
    found = read_sweep(sweep)
    assert (len(found.runs), found.unfinished, found.not_started, found.notes) == (12, (), (), ())
    base, high, other = compared(sweep)
    assert (base.condition, base.gain, base.verdict) == ("recipe-dapo", None, "-")
    assert base.seeds.mean == pytest.approx(0.35)
    assert base.problems.low < 0.35 < base.problems.high
    assert high.gain.mean == pytest.approx(0.225)  # 0.2, 0.3, 0.2, 0.2: sd 0.05, t = 9
    assert high.gain.p_value == pytest.approx(0.0029, abs=1e-4)
    assert high.p_holm == pytest.approx(2 * high.gain.p_value)
    assert high.verdict == "better"
    assert other.gain.mean == pytest.approx(0.0, abs=1e-12)
    assert other.verdict == "not told apart; these seeds could have shown a difference of 0.1699"
    said = ranking([base, high, other], "aime24")
    assert "Better than the baseline (Holm p < 0.05): recipe-dapo_high." in said
    assert "Not told apart from the baseline: recipe-dapo_other." in said


@pytest.mark.slow
def test_too_few_seeds_are_not_ranked(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
        make_run(tmp_path, "recipe-dapo_high", seed, {"amc": 6 + seed})
    make_run(tmp_path, "recipe-dapo_high", 3, {"amc": 9}, finished=False)
    found = sweep_result(read_sweep(tmp_path), "recipe-dapo")
    rows = found.rows
    assert rows[1].verdict == "too few seeds: 2 in common with the baseline, at least 3 needed"
    text = markdown(found)
    assert "No ranking: at least 3 seeds" in text
    assert "there are fewer for recipe-dapo_high (2)" in text
    assert "Left out, not finished: recipe-dapo_high (seed 3)." in text
    assert "Better" not in text


@pytest.mark.slow
def test_a_condition_with_too_few_seeds_is_left_out_of_the_ranking(sweep: Path) -> None:
    for seed in (1, 2):
        make_run(sweep, "recipe-dapo_new", seed, {"aime24": 9})
    rows = compared(sweep)
    assert rows[-2].verdict.startswith("too few seeds: 2")
    said = ranking(rows, "aime24")
    assert "Better than the baseline (Holm p < 0.05): recipe-dapo_high." in said
    assert said.endswith("seeds in common with the baseline are needed: recipe-dapo_new (2).")
    assert "Not told apart from the baseline: recipe-dapo_other." in said


def test_no_difference_is_plus_zero_whatever_the_rounding() -> None:
    assert [signed(x) for x in (-1e-9, 0.0, 0.00005001, -0.25)] == [
        "+0.0000",
        "+0.0000",
        "+0.0001",
        "-0.2500",
    ]


@pytest.mark.slow
def test_seeds_are_paired_and_others_left_out_of_the_difference(tmp_path: Path) -> None:
    for seed, right in ((1, 2), (2, 8), (3, 2)):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": right})
    for seed, right in ((2, 9), (3, 3), (4, 10)):
        make_run(tmp_path, "recipe-x", seed, {"amc": right})
    _, row = compared(tmp_path)
    assert row.gain.seeds == 2
    assert row.gain.mean == pytest.approx(0.1)
    assert row.seeds.seeds == 3


def test_sets_are_kept_apart(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"aime24": 1, "amc": 9})
    first, second = compared(tmp_path)
    assert (first.evaluation, second.evaluation) == ("aime24", "amc")
    assert first.problems.high < second.problems.low


def test_the_difference_over_problems_by_hand_and_as_compare_has_it(tmp_path: Path) -> None:
    """Two problems of ten are answered right more often: mean 0.2, sd 0.4216 over problems."""
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
        make_run(tmp_path, "recipe-dapo_high", seed, {"amc": 5})
    found = compared(tmp_path)[1].problem_gain
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.mean == pytest.approx(2.2622 * 0.4216 / np.sqrt(10), abs=1e-4)
    models = [
        EvalResult(
            name=str(right),
            problem_ids=tuple(map(str, range(PROBLEMS))),
            correct=np.arange(PROBLEMS)[:, None] < np.full(6, right),
            lengths=np.ones((PROBLEMS, 6), dtype=np.int64),
            truncated=np.zeros((PROBLEMS, 6), dtype=np.bool_),
            answers=(("",) * 6,) * PROBLEMS,
        )
        for right in (3, 5)
    ]
    expected = compare(*models)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.slow
def test_only_common_seeds_count_in_the_difference_over_problems(tmp_path: Path) -> None:
    for seed, right in ((1, 2), (2, 4), (3, 4)):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": right})
    for seed, right in ((2, 6), (3, 6), (4, 10)):
        make_run(tmp_path, "recipe-x", seed, {"amc": right})
    row = compared(tmp_path)[1]
    assert row.problem_gain.mean == pytest.approx(0.2)
    assert row.pairs == ((2, pytest.approx(0.2)), (3, pytest.approx(0.2)))


@pytest.mark.slow
def test_no_seed_in_common_is_said_and_not_ranked(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
        make_run(tmp_path, "recipe-x", seed + 3, {"amc": 9})
    rows = compared(tmp_path)
    assert rows[1].gain is rows[1].problem_gain is None
    assert rows[1].seeds.mean == pytest.approx(0.9)
    assert rows[1].verdict == "no seed in common with the baseline, at least 3 needed"
    assert "there are fewer for recipe-x (0)" in ranking(rows, "amc")


def test_an_interval_over_problems_needs_the_samples(tmp_path: Path) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    (job / "samples" / "eval_000010.jsonl").unlink()
    found = sweep_result(read_sweep(tmp_path), "recipe-dapo")
    assert found.rows[0].problems is None
    assert found.notes == ("recipe-dapo_seed-1: no eval_000010.jsonl, so it has no interval over problems.",)
    assert "| recipe-dapo | 1 | 0.3000 | unknown | - |" in markdown(found)


@pytest.mark.slow
def test_the_csv_holds_every_row_and_leaves_the_unknown_empty(sweep: Path) -> None:
    rows = list(csv.DictReader(outcome_csv(compared(sweep)).splitlines()))
    assert [r["condition"] for r in rows] == ["recipe-dapo", "recipe-dapo_high", "recipe-dapo_other"]
    assert rows[0]["gain_mean"] == rows[0]["p_holm"] == ""
    assert [r["gain_seeds"] for r in rows] == ["0", "4", "4"]
    assert float(rows[1]["gain_mean"]) == pytest.approx(0.225)
    assert rows[1]["verdict"] == "better"


def test_the_baseline_is_the_usual_one_or_the_named_one() -> None:
    assert choose_baseline(["a", "recipe-dapo"], None) == "recipe-dapo"
    assert choose_baseline(["a", "recipe-dapo"], "a") == "a"
    assert choose_baseline(["alone"], None) == "alone"
    for conditions, name in ((["a", "b"], None), (["a", "b"], "c")):
        with pytest.raises(DataError, match=r"--baseline .*name one of a, b"):
            choose_baseline(conditions, name)


@pytest.mark.slow
def test_the_command_writes_its_files(sweep: Path) -> None:
    done = run_command(str(sweep))
    assert done.returncode == 0, done.stderr
    assert "Better than the baseline (Holm p < 0.05): recipe-dapo_high." in done.stdout
    assert "## aime24" in (sweep / "report.md").read_text()
    for name in ("report.csv", "report_training.csv", "report_curves.csv"):
        assert name in done.stdout
        assert len((sweep / name).read_text().splitlines()) > 3


@pytest.mark.slow
def test_the_command_names_a_wrong_baseline(sweep: Path) -> None:
    done = run_module("rlvr.sweep_report", str(sweep), "--baseline", "x")
    assert done.returncode == 1
    assert "DataError: --baseline x: name one of recipe-dapo" in done.stderr
    assert not (sweep / "report.md").exists()


def test_two_reports_are_not_written_into_one_folder_at_once(tmp_path: Path) -> None:
    """Their files would be a mixture; once the other is done there is nothing in the way."""
    make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    with exclusive(tmp_path), pytest.raises(ConfigError, match=r"folder=.*: another process is writing to"):
        sweep_report(tmp_path)
    assert not list(tmp_path.glob("report*"))
    _, files = sweep_report(tmp_path)
    assert all(file.is_file() for file in files)


@pytest.mark.slow
def test_without_matplotlib_there_is_no_page_but_all_the_rest(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(sys, "argv", ["sweep_report", str(sweep)])
    main()
    assert "report.html is not written: its figures need matplotlib" in capsys.readouterr().out
    found = sorted(path.name for path in sweep.glob("report*"))
    assert found == ["report.csv", "report.md", "report_curves.csv", "report_training.csv"]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlvr.sweep_report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)
