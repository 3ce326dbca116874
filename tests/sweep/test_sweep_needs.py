"""What a job is taken to need, and what the machine is taken to have."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rlvr.config import ClusterConfig, Config, LearnerConfig, ModelConfig, RolloutConfig
from rlvr.sweep.needs import job_need, machine_room, memory_mb, parameters, visible_gpus

QUICKSTART_MB, TWO_OF_EACH_MB = 2535, 3082  # measured, see rlvr/sweep/needs.py


def config(**parts: object) -> Config:
    """A configuration that shares the machine."""
    return replace(Config(recipe="test", cluster=ClusterConfig(cpus=1)), **parts)


def test_the_quickstart_needs_what_was_measured_and_some_more():
    need = job_need(config())
    assert QUICKSTART_MB < need.memory_mb < 1.5 * QUICKSTART_MB
    assert (need.cores, need.gpus, need.alone) == (1, 0, "")
    two = config(rollout=RolloutConfig(engines=2, kv_cache_mb=64), learner=LearnerConfig(workers=2))
    assert TWO_OF_EACH_MB < job_need(two).memory_mb < 1.5 * TWO_OF_EACH_MB


def test_each_part_adds_its_memory():
    one = memory_mb(config(), 0, 0)
    cache = config(rollout=RolloutConfig(kv_cache_mb=612))
    assert memory_mb(cache, 0, 0) == one + 100
    rest = config(rollout=RolloutConfig(kv_cache_mb=None, memory_utilization=0.25))
    total = psutil.virtual_memory().total >> 20
    assert memory_mb(rest, 0, 0) == pytest.approx(one - 512 + total / 4, abs=2)
    assert memory_mb(config(rollout=RolloutConfig(engines=3)), 0, 0) == one + 2 * (896 + 512)
    assert memory_mb(config(learner=LearnerConfig(workers=2)), 0, 0) == one + 640


def test_weights_gradients_and_moments_are_counted():
    """Of 2^28 parameters in float32, 1024 MiB a copy: engine, policy, gradients, base, two moments."""
    million = 1 << 28
    one = memory_mb(config(), 0, 0)
    workspace = 1_300_000_000 >> 20
    assert memory_mb(config(), million, million) == one + 6 * 1024 + workspace
    half = config(model=ModelConfig(dtype="bfloat16"))  # and a float32 copy of the parameters
    assert memory_mb(half, million, million) == one + 4 * 512 + 3 * 1024 + workspace
    on_gpu = config(rollout=RolloutConfig(gpus_per_engine=1), learner=LearnerConfig(gpus_per_worker=1))
    assert memory_mb(on_gpu, million, million) == one - 512 + 2 * 1024


def test_of_the_learner_one_rank_copies_the_last_push():
    million = 1 << 28  # 1024 MiB a copy

    def copied(**parts: object) -> int:
        cfg = config(learner=LearnerConfig(workers=3), **parts)
        without = memory_mb(cfg, million, million)
        cfg.sync.sparse = "auto"
        return memory_mb(cfg, million, million) - without

    assert copied() == 2 * 1024
    assert copied(rollout=RolloutConfig(engines=2)) == 3 * 1024


def test_on_a_shared_gpu_the_host_holds_what_is_put_away():
    """2^28 parameters in bfloat16 at stage 2: 512 MiB of weights, 6 bytes each of gradients, 12 of states, the base,
    and the engine's weights while it sleeps."""
    million = 1 << 28
    shared = config(
        model=ModelConfig(dtype="bfloat16"),
        rollout=RolloutConfig(gpus_per_engine=0.5),
        learner=LearnerConfig(gpus_per_worker=0.5, zero_stage=2),
        cluster=ClusterConfig(cpus=1, colocate=True),
    )
    own = memory_mb(config(), 0, 0) - 512
    assert memory_mb(shared, million, million) == own + 512 + (512 + 1536 + 3072 + 512 + 512)
    shared.cluster.sleep_level = 2
    assert memory_mb(shared, million, million) == own + 512 + (512 + 1536 + 3072 + 512)


def test_gpus_are_whole_devices_of_all_actors():
    cfg = config(
        rollout=RolloutConfig(engines=2, tensor_parallel=2, gpus_per_engine=1.0),
        learner=LearnerConfig(workers=2, gpus_per_worker=0.5),
    )
    assert job_need(cfg).gpus == 5


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (ClusterConfig(cpus=None), "cluster.cpus=null"),
        (ClusterConfig(cpus=1, address="10.0.0.1:6379"), "cluster.address=10.0.0.1:6379"),
    ],
)
def test_some_jobs_have_the_machine_to_themselves(cluster, why):
    assert job_need(config(cluster=cluster)).alone.startswith(why)


def test_a_model_is_counted_by_its_weight_files(tmp_path: Path):
    for name, size in (
        ("model-1.safetensors", 4000),
        ("model-2.safetensors", 400),
        ("pytorch_model.bin", 9999),
    ):
        (tmp_path / name).write_bytes(b"\0" * size)
    (tmp_path / "config.json").write_text("{}")
    assert parameters(str(tmp_path)) == 1100
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    assert parameters(str(tmp_path)) == 2200
    assert parameters("builtin") == 0
    assert parameters(str(tmp_path / "missing")) == 0  # the run says so


def test_a_model_that_is_not_here_yet_runs_alone(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    need = job_need(config(model=ModelConfig(path="nobody/no-such-model")))
    assert "the size of model nobody/no-such-model is unknown" in need.alone


def test_the_machine_keeps_some_memory():
    room = machine_room(3, gpus=False)
    memory = psutil.virtual_memory()
    assert room.cores == len(os.sched_getaffinity(0))
    assert room.memory_mb < memory.available >> 20
    assert (room.jobs, room.gpus) == (3, ())


@pytest.mark.parametrize(
    ("count", "named", "devices"),
    [
        (0, None, ()),
        (2, None, ("0", "1")),
        (2, "3, GPU-5", ("3", "GPU-5")),
        (1, "3,-1,2", ("3",)),  # CUDA stops at the first that it does not know
        (0, "", ()),
    ],
)
def test_devices_already_chosen_stay_chosen(monkeypatch, count, named, devices):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == devices
