"""The output folder: parts are kept whole, found again, and never mixed with those of other settings."""

import json
import resource
import shutil
from dataclasses import replace

import numpy as np
import pytest

from rlvr.analysis.cross.records import Calibration, budget_rows
from rlvr.analysis.cross.store import Store
from rlvr.cross_sample import _draw
from rlvr.errors import ConfigError, DataError, RlvrError
from tests.helpers.cross_parts import BASE, JS, POLICY
from tests.helpers.report_cases import write_cross

SETTINGS = {"seed": 1, "samples": 4}
PART = replace(JS, calibration=Calibration(0.05, 0.1, 0.051, 700, 3))


def test_a_part_is_read_as_it_was_written(tmp_path):
    store = Store(tmp_path, SETTINGS)
    assert store.read(PART.name) is None
    store.write_part(PART, [{"problem_id": "p0", "switched": [3]}])
    found = Store(tmp_path, SETTINGS).read(PART.name)
    assert replace(found, graded=PART.graded) == PART
    np.testing.assert_array_equal(found.graded.correct, PART.graded.correct)
    assert found.graded.answers == PART.graded.answers
    samples = (tmp_path / "samples" / f"{PART.name}.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in samples] == [{"problem_id": "p0", "switched": [3]}]


def test_other_settings_are_refused_by_name(tmp_path):
    Store(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match=r"other settings: seed was 1, is 2.*another output"):
        Store(tmp_path, SETTINGS | {"seed": 2})


def test_the_summary_holds_endpoints_and_counts(tmp_path):
    store = Store(tmp_path, SETTINGS)
    parts = [BASE, POLICY, PART]
    assert store.write_summary(parts, {"seed": 1}, {"torch": "2"}) == budget_rows(parts)
    summary = json.loads((tmp_path / "cross_sampling.json").read_text())
    assert summary["endpoints"]["base"]["accuracy"] == BASE.graded.correct.mean()
    assert summary["gap"] == pytest.approx(POLICY.graded.correct.mean() - BASE.graded.correct.mean())
    assert summary["counts"] == {"problems": 12, "samples_per_problem": 4, "parts": 3, "tokens": 3600}
    assert summary["calibrations"][PART.name]["share"] == 0.051
    assert summary["settings"] == SETTINGS
    assert len((tmp_path / "budgets.csv").read_text().splitlines()) == 2


def test_a_disk_that_is_full_gives_one_error_and_keeps_what_is_there(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.write_part(PART, [{"problem_id": "p0"}])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a longer file cannot be written
    try:
        with pytest.raises(
            RlvrError, match=r"forward-other-0\.05.jsonl cannot be written \(File too large\).*same command"
        ):
            store.write_part(replace(PART, rule="other"), [{"text": "x" * 10_000}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.read("forward-other-0.05") is None
    assert store.read(PART.name) is not None
    assert [file.name for file in (tmp_path / "samples").iterdir()] == [f"{PART.name}.jsonl"]


def test_figures_that_cannot_be_saved_are_one_error(tmp_path):
    pytest.importorskip("matplotlib", reason="figures are drawn with matplotlib, which is not installed")
    write_cross(tmp_path)
    (tmp_path / "figures").touch()
    with pytest.raises(RlvrError, match="figures cannot be written"):
        _draw(tmp_path)


def test_a_damaged_part_is_named(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.write_part(PART, [])
    file = tmp_path / "parts" / f"{PART.name}.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(RlvrError, match=rf"{file}.*damaged.*delete it"):
        store.read(PART.name)


def test_a_part_under_the_name_of_another_is_named(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.write_part(BASE, [])
    store.write_part(POLICY, [])
    shutil.copyfile(tmp_path / "parts" / f"{BASE.name}.json", tmp_path / "parts" / f"{POLICY.name}.json")
    assert store.read(BASE.name) is not None
    with pytest.raises(
        DataError, match=r"endpoint-policy\.json: damaged .*the part endpoint-base.*delete it"
    ):
        store.read(POLICY.name)


def rows_of(part):
    """Responses as many and as long as the figures of the part say."""
    named = zip(part.graded.problem_ids, part.graded.lengths.tolist(), strict=True)
    return [{"problem_id": name, "response_ids": [7] * n} for name, lengths in named for n in lengths]


def test_a_part_without_its_responses_counts_as_unfinished(tmp_path):
    store = Store(tmp_path, SETTINGS)
    store.write_part(PART, rows_of(PART))
    assert store.read_samples(store.read(PART.name)) == rows_of(PART)
    store.samples_file(PART.name).unlink()
    assert store.read(PART.name) is None


@pytest.mark.parametrize("damage", [lambda lines: lines[:-1], lambda lines: lines[::-1], lambda lines: []])
def test_responses_that_are_not_those_of_the_figures_are_refused(tmp_path, damage):
    store = Store(tmp_path, SETTINGS)
    store.write_part(PART, rows_of(PART))
    file = store.samples_file(PART.name)
    file.write_text("".join(damage(file.read_text().splitlines(keepends=True))))
    with pytest.raises(DataError, match=rf"{file.name}: damaged .*not the 48 of its figures.*delete it"):
        store.read_samples(PART)
