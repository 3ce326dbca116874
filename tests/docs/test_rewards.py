"""The page on rewards, and the verifier of the README: names, examples, and the table that a benchmark wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.grading import RESULTS, measured, pairs_by_class, table
from rlvr.reward.example import Example
from rlvr.reward.extract import POLICIES
from rlvr.reward.verdict import GradeRequest, Rules
from rlvr.reward.verifiers import VERIFIERS
from rlvr.reward.workers.pool import GraderPool
from tests.helpers.pages import DOCS, blocks
from tests.helpers.paths import REPOSITORY

PAGE = DOCS / "rewards.md"
[WITH_OPTION] = blocks(PAGE, "python")
[SHORT] = blocks(REPOSITORY / "README.md", "python")


def test_it_names_every_verifier() -> None:
    rows = PAGE.read_text().partition("| name |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", rows, flags=re.MULTILINE) == list(VERIFIERS)


def test_it_explains_every_policy() -> None:
    rows = PAGE.read_text().partition("| policy |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", rows, flags=re.MULTILINE) == list(POLICIES)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "column"), [(WITH_OPTION, "words"), (SHORT, "keywords")])
def test_the_verifier_reads_a_column_of_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, column: str
) -> None:
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "my_keywords.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    options = json.dumps({"column": column}) if column != "keywords" else ""
    rules = Rules("my_keywords:covers", correct_from=1.0, options=options)
    row = Example("r/1", "Name two colours.", "", "r", {column: ["red", "blue"]})
    bare = Example("r/2", "Name two colours.", "", "r", {})
    asked = [
        GradeRequest(name, "", text, example=example, rules=rules)
        for name, text, example in (("all", "Red and blue", row), ("half", "red", row), ("bare", "red", bare))
    ]
    with GraderPool(workers=1, deadline_seconds=5, memory_mb=512, sources=[rules]) as pool:
        found = pool.grade(asked)
    assert (found["all"].correct, found["half"].correct, found["half"].credit) == (True, False, 0.5)
    assert f"source 'r', row r/2: there is no column '{column}'" in found["bare"].detail


def test_the_table_is_what_the_benchmark_wrote() -> None:
    [file] = RESULTS.glob("grading-*.json")
    written = json.loads(file.read_text())["classes"]
    assert "\n".join(table(written)) in PAGE.read_text()


@pytest.mark.slow
def test_the_table_is_what_the_benchmark_finds() -> None:
    written = json.loads(next(RESULTS.glob("grading-*.json")).read_text())["classes"]
    found = measured(pairs_by_class())
    assert found == {name: written[name] for name in found}
