"""What one trained model came to, read from its run's folder and put into a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.errors import DataError
from rlvr.reporting.study.shifts import Interval, findings_table, read_crossings, read_shift
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
