"""A model is known by its weight files, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlvr.config import ModelConfig
from rlvr.data.models.identity import (
    END_BYTES,
    as_kept,
    changed_models,
    identities,
    identity,
    known_model,
    same_model,
)
from rlvr.data.models.tokenizer import BUILTIN, BUILTIN_FOLDER
from rlvr.errors import DataError


def model(folder: Path, weights: bytes) -> str:
    """What passes for a model as long as nobody loads it."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return str(folder)


def test_a_copy_is_the_same_model_and_other_weights_are_not(tmp_path):
    one, other = model(tmp_path / "one", b"1234"), model(tmp_path / "other", b"1235")
    before = identity(one)
    assert identity(str(shutil.copytree(one, tmp_path / "copy"))) == before
    assert identity(other) != before
    assert identity(str(shutil.move(one, tmp_path / "moved"))) == before
    assert identity("someone/model") == {"hub": "someone/model"}
    with pytest.raises(DataError, match="does not exist"):
        identity(one)


def test_both_ends_of_a_large_file_count(tmp_path):
    middle = bytes(3 * END_BYTES)
    weights = (b"1" + middle + b"1", b"2" + middle + b"1", b"1" + middle + b"2")
    ids = [identity(model(tmp_path / str(i), one)) for i, one in enumerate(weights)]
    assert not same_model(ids[0], ids[1])
    assert not same_model(ids[0], ids[2])


@pytest.mark.parametrize("place", [0.01, 0.3, 0.5, 0.77, 0.99])
def test_a_matrix_that_was_exchanged_within_a_large_file_counts(tmp_path, place):
    """A hundredth of the bytes, between the ends."""
    weights = bytearray(12 * END_BYTES)
    before = identity(model(tmp_path / "before", weights))
    start = END_BYTES + int(place * (len(weights) - 2 * END_BYTES - len(weights) // 100))
    weights[start : start + len(weights) // 100] = b"1" * (len(weights) // 100)
    after = identity(model(tmp_path / "after", weights))
    assert not same_model(before, after)
    assert changed_models({"model.path": before}, {"model.path": after}) == ["model.path"]


def test_what_earlier_versions_kept_of_a_large_file_still_counts(tmp_path):
    now = identity(model(tmp_path / "one", bytes(3 * END_BYTES)))
    [(file, digest)] = now.items()
    before, another = {file: digest.rpartition("-")[0]}, {file: "1" + digest.rpartition("-")[0]}
    assert digest.count("-") == 2
    assert all(same_model(*pair) for pair in ((before, now), (now, before), (now, now)))
    assert not same_model(another, now)
    assert as_kept({"policies": [["step", before]]}, {"policies": [["step", now]]}) == {
        "policies": [["step", before]]
    }
    assert as_kept([], [now]) == [now]
    assert not same_model({"hub": "a/model"}, {"hub": "a/model-chat"})


def test_the_models_of_a_run_by_the_keys_that_name_them(tmp_path):
    assert identities(ModelConfig()) == {"model.path": identity(str(BUILTIN_FOLDER))}
    two = ModelConfig(base_path=model(tmp_path / "one", b"1234"))
    assert list(identities(two)) == ["model.path", "model.base_path"]


def test_what_a_run_has_kept_comes_first(tmp_path):
    kept = {"model.path": {"a": "1"}}
    assert known_model(kept, "model.path", "/gone") == {"a": "1"}
    assert known_model({}, "model.path", "/gone") is None
    assert known_model({}, "model.path", BUILTIN) == identity(BUILTIN)
    assert known_model(kept, "model.base_path", None) is None
    assert known_model(kept, "data.train.path", BUILTIN) is None
