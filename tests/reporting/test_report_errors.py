"""What the report refuses, and how it says so."""

from __future__ import annotations

import csv
import errno
import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlvr.errors import ConfigError, DataError, RlvrError
from rlvr.locks import exclusive
from rlvr.report import ReportOptions, main, parse, report
from tests.helpers.forked import forked, run_module
from tests.helpers.report_cases import write_analysis, write_cross, write_training

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_training(tmp_path_factory.mktemp("errors"), "whole")


def test_refusals(run, tmp_path):
    with pytest.raises(ConfigError, match="there is no such folder"):
        report(ReportOptions(runs=(tmp_path / "nowhere",)))
    with pytest.raises(ConfigError, match=r"nothing to report .* Expected metrics\.jsonl"):
        report(ReportOptions(runs=(tmp_path,)))
    with pytest.raises(ConfigError, match="name the folder of a run"):
        report(ReportOptions())
    with pytest.raises(ConfigError, match="output= is missing"):
        report(ReportOptions(runs=(run, write_training(tmp_path, "two"))))
    with pytest.raises(ConfigError, match="more than once"):
        report(ReportOptions(runs=(run, run), output=tmp_path / "out"))
    with pytest.raises(ConfigError, match="tokens=0: a response has one or more"):
        report(ReportOptions(runs=(run,), tokens=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "not the summary of a run of this version (JSONDecodeError: "),
        (
            "summary.json",
            "{}",
            "not the summary of a run of this version (KeyError: 'eval_accuracy_ci95'); put it",
        ),
        ("analysis/analysis.json", '{"format_version": "0"}', "this version reads"),
        (
            "analysis/analysis.json",
            '{"format_version": "1"}',
            "config, versions, headline, token_files is missing",
        ),
        ("analysis/tokens/part-00002.parquet", "not parquet", "cannot be read"),
        ("analysis/responses.parquet", "not parquet", "cannot be read"),
        ("analysis/responses.parquet", None, "run the analysis again"),
        ("config.yaml", b"seed: \xff\n", "no UTF-8 text (invalid start byte at byte 6)"),
        ("analysis/tables/rank.csv", None, "missing"),
        ("cross_sampling/cross_sampling.json", "[]", "a JSON object was expected"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, content, message):
    folder = write_training(tmp_path, "broken")
    write_analysis(folder / "analysis")
    write_cross(folder / "cross_sampling")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=re.escape(message)) as found:
        report(ReportOptions(runs=(folder,)))
    assert Path(file).name in str(found.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "tokens/part-00002.parquet",
            r"part-00002\.parquet: 1 tokens, but the analysis wrote \d+; delete it",
        ),
        (
            "responses.parquet",
            r"responses\.parquet: response \d+ of the token table is missing; run the analysis",
        ),
    ],
)
def test_a_file_with_fewer_rows_than_were_written_is_named(tmp_path, file, message):
    folder = write_analysis(tmp_path / "analysis")
    table = pq.read_table(folder / file)
    pq.write_table(table.slice(0, 1), folder / file)
    with pytest.raises(DataError, match=message):
        report(ReportOptions(runs=(tmp_path,)))


@pytest.mark.slow
def test_a_damaged_row_of_metrics_costs_itself_and_is_named(tmp_path, caplog):
    """Text where a number belongs, and an evaluation without its interval: the page has the rest."""
    folder = write_training(tmp_path, "broken", steps=3)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    third = next(n for n, row in enumerate(rows) if row["kind"] == "train" and row["step"] == 2)
    rows[third]["accuracy"] = "0.3"
    for end in ("ci_low", "ci_high"):
        del rows[-1][f"eval/held/{end}"]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report(ReportOptions(runs=(folder,)))
    assert f"metrics.jsonl: line {third + 1} holds no row (JSON with a step, and numbers" in caplog.text
    drawn = folder / "report" / "figures"
    with (drawn / "train_accuracy.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "3"]
    with (drawn / "eval_held.csv").open() as file:
        first, last = csv.DictReader(file)
    assert [float(first[name]) for name in ("accuracy", "ci_low")] == pytest.approx([0.3, 0.2])
    assert (float(last["accuracy"]), last["ci_low"], last["ci_high"]) == (pytest.approx(0.45), "", "")


def test_two_reports_do_not_write_into_one_folder(run, tmp_path):
    with exclusive(tmp_path), pytest.raises(ConfigError, match=r"output=.*another process is writing to"):
        report(ReportOptions(runs=(run,), output=tmp_path))


def test_the_command_line(tmp_path):
    options = parse(["runs/a", "runs/b", "output=out", "divergent=3", "seed=7"])
    assert options.runs == (Path("runs/a"), Path("runs/b"))
    assert (options.output, options.divergent, options.random, options.seed) == (Path("out"), 3, 40, 7)
    odd = tmp_path / "seed=1"
    odd.mkdir()
    assert parse([str(odd)]).runs == (odd,)
    with pytest.raises(ConfigError, match="did you mean divergent"):
        parse(["divergant=3"])
    with pytest.raises(ConfigError, match="whole number"):
        parse(["divergent=many"])
    with pytest.raises(ConfigError, match="output needs a folder"):
        parse(["output="])


def test_a_bad_folder_is_one_clear_message(tmp_path):
    done = run_module("rlvr.report", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "ConfigError" in done.stderr
    assert "there is no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_matplotlib_it_says_what_to_install(run, tmp_path):
    def command() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
        sys.argv = ["report", str(run), f"output={tmp_path}"]
        main()

    done = forked(command)
    assert done.returncode == 1
    assert "pip install matplotlib" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RlvrError, match="cannot be written"):
        report(ReportOptions(runs=(run,), output=tmp_path / "file" / "out"))


@pytest.mark.parametrize(
    "reader",
    ["read_run", "training_figures", pytest.param("run_page", marks=pytest.mark.slow)],  # all figures first
)
def test_a_file_that_cannot_be_read_is_no_output_that_cannot_be_written(run, tmp_path, monkeypatch, reader):
    def denied(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "runs/mine/config.yaml")

    monkeypatch.setattr(f"rlvr.report.{reader}", denied)
    with pytest.raises(DataError) as found:
        report(ReportOptions(runs=(run,), output=tmp_path / "out"))
    assert str(found.value) == "runs/mine/config.yaml: cannot be read (Permission denied); make it readable"
