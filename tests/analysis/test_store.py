"""Output folders: files are whole or not there, and what a folder holds is claimed once."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pyarrow as pa
import pytest

from rlvr.analysis.store import IDENTITY, claim, reading, write_parquet, write_text
from rlvr.errors import ConfigError, DataError, RlvrError

TABLE = pa.table({"text": ["x" * 50] * 1000, "number": list(range(1000))})


def test_a_claim_is_kept_and_other_settings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "out" / "claim.json"
    claim(file, {"seed": 1, "sizes": (1, 2), "model": {"a": "x"}}, "output=out")
    written = file.read_bytes()
    claim(file, {"seed": 1, "sizes": [1, 2], "model": {"a": "x"}}, "output=out")
    with pytest.raises(ConfigError) as caught:
        claim(file, {"seed": 2, "sizes": [1, 2], "model": {"a": "y"}}, "output=out")
    assert str(caught.value) == (
        "output=out: holds results of other settings: model.a was 'x', is 'y'; seed was 1, is 2. Put these back, "
        "choose another output, or remove the folder."
    )
    assert file.read_bytes() == written


@pytest.mark.parametrize("content", ["{", "", "null", "[]"])
def test_a_damaged_claim_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "claim.json").write_text(content)
    with pytest.raises(ConfigError, match=r"run\.name=x: .*claim\.json cannot be read.*another run\.name"):
        claim(tmp_path / "claim.json", {}, "run.name=x")


def test_a_claim_of_the_version_that_knew_models_by_date(tmp_path: Path) -> None:
    old = {"base": {"model": "/m", "weights": [["model.safetensors", 77304, 1795846002546395529]]}}
    (tmp_path / "claim.json").write_text(json.dumps(old))
    now = {IDENTITY: "content", "base": {"model.safetensors": "77304-ca756f639e61e88d"}}
    with pytest.raises(
        ConfigError, match=r"earlier version, which told models apart by the dates.*another output"
    ):
        claim(tmp_path / "claim.json", now, "output=x")


@pytest.mark.parametrize("kind", ["text", "parquet"])
def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"file.{kind}"

    def write(rows: int) -> None:
        if kind == "text":
            write_text(file, "x" * rows * 100)
        else:
            write_parquet(file, [TABLE.slice(0, rows)] * 40, TABLE.schema)

    write(1)
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(RlvrError, match=r"cannot be written \(.*large\).*Finished parts are kept"):
            write(1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_damage_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"part\.json: damaged .*delete it"), reading(tmp_path / "part.json"):
        json.loads("{")
