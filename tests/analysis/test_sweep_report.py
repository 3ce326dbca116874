"""The report of a sweep on made-up runs: means, pairs, refusals to rank, and damaged folders."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.errors import DataError
from rlvr.sweep_report import choose_baseline, compare_conditions, markdown, ranking, read_sweep, table

PROBLEMS = 10


def make_run(
    folder: Path, condition: str, seed: int, right: dict[str, int], *, finished: bool = True
) -> Path:
    """A run folder whose first `right` of ten problems are answered correctly, twice each, on every set."""
    job = folder / f"{condition}_seed-{seed}"
    (job / "samples").mkdir(parents=True)
    (job / "config.yaml").write_text("seed: 1\n")
    sets = {name: {"before": 0.1, "after": count / PROBLEMS} for name, count in right.items()}
    if finished:
        (job / "summary.json").write_text(json.dumps({"seed": seed, "steps": 4, "eval_sets": sets}))
    rows = [
        {"source": name, "problem_id": f"{name}/{i}", "verdict": "correct" if i < count else "wrong"}
        for name, count in right.items()
        for i in range(PROBLEMS)
        for _ in range(2)
    ]
    (job / "samples" / "eval_000004.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return job


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """DAPO, one condition that is better in every seed, one that is not told apart."""
    for seed, (base, high, other) in enumerate([(3, 5, 3), (4, 7, 5), (3, 5, 3), (4, 6, 3)], start=1):
        for condition, right in (("dapo", base), ("dapo_high", high), ("dapo_other", other)):
            make_run(tmp_path, f"recipe-{condition}", seed, {"aime24": right})
    (tmp_path / "latest").symlink_to("recipe-dapo_seed-1")
    return tmp_path


def test_means_differences_and_verdicts(sweep: Path) -> None:
    runs, unfinished = read_sweep(sweep)
    assert (len(runs), unfinished) == (12, [])
    base, high, other = compare_conditions(runs, "recipe-dapo")
    assert (base.condition, base.gain, base.verdict) == ("recipe-dapo", None, "-")
    assert base.seeds.mean == pytest.approx(0.35)
    assert base.problems[0] < 0.35 < base.problems[1]
    assert high.gain.mean == pytest.approx(0.225)  # 0.2, 0.3, 0.2, 0.2: sd 0.05, t = 9
    assert high.gain.p_value == pytest.approx(0.0029, abs=1e-4)
    assert high.p_holm == pytest.approx(2 * high.gain.p_value)
    assert high.verdict == "better"
    assert other.gain.mean == pytest.approx(0.0, abs=1e-12)
    assert other.verdict == "not told apart; a difference like this would need more than 10000 seeds"
    said = ranking([base, high, other], "aime24")
    assert "Better than the baseline (Holm p < 0.05): recipe-dapo_high." in said
    assert "Not told apart from the baseline: recipe-dapo_other." in said


def test_too_few_seeds_are_not_ranked(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": 3})
        make_run(tmp_path, "recipe-dapo_high", seed, {"amc": 6 + seed})
    make_run(tmp_path, "recipe-dapo_high", 3, {"amc": 9}, finished=False)
    runs, unfinished = read_sweep(tmp_path)
    rows = compare_conditions(runs, "recipe-dapo")
    assert rows[1].verdict == "too few seeds: 2 in common with the baseline, at least 3 needed"
    text = markdown(rows, "recipe-dapo", unfinished)
    assert "No ranking: at least 3 seeds" in text
    assert "there are fewer for recipe-dapo_high (2)" in text
    assert "Left out, not finished: recipe-dapo_high_seed-3." in text
    assert "Better" not in text


def test_seeds_are_paired_and_others_left_out_of_the_difference(tmp_path: Path) -> None:
    for seed, right in ((1, 2), (2, 8), (3, 2)):
        make_run(tmp_path, "recipe-dapo", seed, {"amc": right})
    for seed, right in ((2, 9), (3, 3), (4, 10)):
        make_run(tmp_path, "recipe-x", seed, {"amc": right})
    _, row = compare_conditions(read_sweep(tmp_path)[0], "recipe-dapo")
    assert row.gain.seeds == 2
    assert row.gain.mean == pytest.approx(0.1)
    assert row.seeds.seeds == 3


def test_sets_are_kept_apart(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, "recipe-dapo", seed, {"aime24": 1, "amc": 9})
    first, second = compare_conditions(read_sweep(tmp_path)[0], "recipe-dapo")
    assert (first.evaluation, second.evaluation) == ("aime24", "amc")
    assert first.problems[1] < second.problems[0]


def test_an_interval_over_problems_needs_the_samples(tmp_path: Path) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    (job / "samples" / "eval_000004.jsonl").unlink()
    (row,) = compare_conditions(read_sweep(tmp_path)[0], "recipe-dapo")
    assert row.problems is None
    assert "| recipe-dapo | 1 | 0.3000 | unknown | - |" in markdown([row], "recipe-dapo", [])


def test_the_csv_holds_every_row_and_leaves_the_unknown_empty(sweep: Path) -> None:
    rows = list(csv.DictReader(table(compare_conditions(read_sweep(sweep)[0], "recipe-dapo")).splitlines()))
    assert [r["condition"] for r in rows] == ["recipe-dapo", "recipe-dapo_high", "recipe-dapo_other"]
    assert rows[0]["gain_mean"] == rows[0]["p_holm"] == ""
    assert float(rows[1]["gain_mean"]) == pytest.approx(0.225)
    assert rows[1]["verdict"] == "better"


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished run"):
        read_sweep(tmp_path)
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3})
    (job / "summary.json").write_text("{}")
    with pytest.raises(DataError, match=r"recipe-dapo_seed-1: its results cannot be read.*KeyError"):
        read_sweep(tmp_path)


def test_the_baseline_is_the_usual_one_or_the_named_one() -> None:
    assert choose_baseline(["a", "recipe-dapo"], None) == "recipe-dapo"
    assert choose_baseline(["a", "recipe-dapo"], "a") == "a"
    for conditions, name in ((["a", "b"], None), (["a", "b"], "c")):
        with pytest.raises(DataError, match=r"--baseline .*name one of a, b"):
            choose_baseline(conditions, name)


def test_the_command_writes_both_files(sweep: Path) -> None:
    command = [sys.executable, "-m", "rlvr.sweep_report", str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "## aime24" in (sweep / "report.md").read_text()
    assert (sweep / "report.csv").exists()
    done = subprocess.run([*command, "--baseline", "x"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "DataError: --baseline x: name one of recipe-dapo" in done.stderr
