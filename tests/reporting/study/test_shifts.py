"""What one trained model came to, read from its run's folder and put into a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.errors import DataError
from rlvr.reporting.study.shifts import Interval, findings_table, read_crossings, read_shift
from tests.helpers.report_cases import write_analysis, write_cross


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trained, analysed and cross-sampled run, as far as these tables read it."""
    (tmp_path / "summary.json").write_text(json.dumps({"recipe": "dapo", "eval_accuracy_after": 0.75}))
    write_cross(tmp_path / "cross_sampling")
    return write_analysis(tmp_path / "analysis").parent


@pytest.mark.slow
def test_a_table_of_findings_has_what_the_files_of_the_run_say(run):
    shift, (crossings, ends) = read_shift(run), read_crossings(run)
    moved = LoadedAnalysis(run / "analysis").figure("share_moved", "policy")
    assert moved is not None
    assert (shift.name, shift.accuracy, shift.moved) == ("dapo", 0.75, Interval(*moved))
    assert read_shift(run, "mine").name == "mine"
    rows = findings_table([shift], crossings, ends).splitlines()
    assert f"| dapo | 0.750 | {shift.near_zero} | {shift.moved} |" in rows[2]
    [title] = [row for row in rows if row.startswith("Base alone")]
    assert title == f"Base alone {ends['base']}, policy alone {ends['policy']}."
    assert sum(row.startswith(("| forward", "| reverse")) for row in rows) == len(crossings) == 4


def test_an_analysis_of_another_version_is_refused(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "summary.json").write_text(json.dumps({"recipe": "dapo", "eval_accuracy_after": 0.75}))
    (tmp_path / "analysis" / "analysis.json").write_text(json.dumps({"format_version": "0"}))
    with pytest.raises(DataError, match=r"analysis\.json: format '0'"):
        read_shift(tmp_path)
