"""Models on the hub: which files are fetched, and that a download is bounded by progress, not by its length."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from rlvr.cluster.board import Doing
from rlvr.config import Config
from rlvr.data.models import hub
from rlvr.data.models.hub import ModelFetcher, bounded_by_progress, cached_bytes, wanted_files
from rlvr.errors import DataError, DeadlineError
from rlvr.runtime.actors import hub_models

REPOSITORY = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "merges.txt",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "original/consolidated.00.pth",
    "onnx/model.onnx",
    "model.gguf",
    "README.md",
    ".gitattributes",
]


def test_weights_are_fetched_in_one_format():
    wanted = wanted_files(REPOSITORY)
    assert {"config.json", "merges.txt", "model.safetensors.index.json"} <= set(wanted)
    assert [name for name in wanted if name.endswith((".safetensors", ".bin", ".gguf", ".pth", ".onnx"))] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    older = wanted_files(name for name in REPOSITORY if not name.endswith(".safetensors"))
    assert "pytorch_model.bin" in older


def test_a_download_may_take_longer_than_the_stall_limit_while_bytes_come(monkeypatch):
    monkeypatch.setattr(hub, "LOOK_EVERY_SECONDS", 0.01)
    ended = []

    def work() -> None:
        time.sleep(0.6)
        ended.append(True)

    bounded_by_progress(work, time.monotonic_ns, stall_seconds=0.2, what="download")
    assert ended


def test_a_download_without_a_new_byte_is_given_up(monkeypatch):
    monkeypatch.setattr(hub, "LOOK_EVERY_SECONDS", 0.01)
    release = threading.Event()
    with pytest.raises(
        DeadlineError, match=r"no new byte for 0\.1 s, 2\.00 GB are there.*download_stall_seconds"
    ):
        bounded_by_progress(release.wait, lambda: 2_000_000_000, stall_seconds=0.1, what="download")
    release.set()


def test_a_download_that_pauses_for_less_than_the_stall_limit_goes_on(monkeypatch):
    monkeypatch.setattr(hub, "LOOK_EVERY_SECONDS", 0.01)
    bounded_by_progress(lambda: time.sleep(0.2), lambda: 0, stall_seconds=30, what="download")


def test_what_fails_in_the_thread_fails_here():
    def work() -> None:
        raise DataError("gone")

    with pytest.raises(DataError, match="gone"):
        bounded_by_progress(work, lambda: 0, stall_seconds=5, what="download")


def test_bytes_are_those_of_the_models_own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert cached_bytes("owner/model") == 0
    blobs = tmp_path / "models--owner--model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "whole").write_bytes(b"12345")
    (blobs / "part.incomplete").write_bytes(b"678")
    assert cached_bytes("owner/model") == 8


def test_an_offline_cache_that_lacks_the_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"model owner/model: not in the cache .*HF_HUB_OFFLINE"):
        ModelFetcher("owner/model", 5.0).fetch()


def test_the_size_that_is_told_is_that_of_the_files_that_are_fetched(tmp_path, monkeypatch):
    files = {"config.json": 5, "model.safetensors": 70, "pytorch_model.bin": 900, "README.md": None}
    listed = [SimpleNamespace(rfilename=name, size=size) for name, size in files.items()]
    fetched, told = [], []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda self, name, **_: SimpleNamespace(siblings=listed)
    )
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, allow_patterns: fetched.extend(allow_patterns)
    )
    monkeypatch.setattr(hub, "report", told.append)
    monkeypatch.setattr(hub, "bounded_by_progress", lambda work, progress, **_: (work(), progress()))
    ModelFetcher("owner/model", 5.0).fetch()
    assert fetched == ["config.json", "model.safetensors"]
    assert told[1] == Doing("fetches owner/model,", 0.0, 75e-9, "GB")


def test_only_names_on_the_hub_are_fetched_and_each_once(tmp_path):
    cfg = Config(recipe="test")
    assert hub_models(cfg) == []
    cfg.model.path, cfg.model.base_path = str(tmp_path), "owner/base"
    assert hub_models(cfg) == ["owner/base"]
    cfg.model.path = "owner/base"
    assert hub_models(cfg) == ["owner/base"]
