"""Which actors fit on which GPUs, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from rlvr.cluster.placement import (
    GpuNeed,
    check_fit,
    engine_parts,
    learner_parts,
    shared_parts,
    turn_problems,
)
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.validate import validate


def run(engines: int, width: int, ranks: int, engine_share: float = 1.0, rank_share: float = 1.0) -> Config:
    cfg = Config(recipe="test")
    cfg.rollout.engines, cfg.rollout.tensor_parallel, cfg.rollout.gpus_per_engine = (
        engines,
        width,
        engine_share,
    )
    cfg.learner.workers, cfg.learner.gpus_per_worker = ranks, rank_share
    return cfg


def parts(cfg: Config) -> list[GpuNeed]:
    return [*engine_parts(cfg), *learner_parts(cfg)]


def test_on_cpu_nothing_is_reserved():
    assert parts(Config(recipe="test")) == []


@pytest.mark.parametrize(
    ("nodes", "cfg"),
    [
        ([8], run(4, 1, 4)),
        ([8, 8, 8, 8], run(8, 2, 16)),
        ([4, 4], run(1, 4, 4)),
        ([2, 1], run(1, 2, 1)),
        ([1, 2], run(1, 2, 1)),
        ([1], run(1, 1, 1, 0.5, 0.5)),
        ([2], run(1, 1, 2, 0.4, 0.6)),
        ([3], run(3, 1, 9, 0.7, 0.1)),
    ],
)
def test_what_fits_is_placed_and_nothing_overlaps(nodes, cfg):
    wanted = parts(cfg)
    where = check_fit(nodes, wanted)
    for node, gpus in enumerate(nodes):
        assert sum(p.gpus for p, n in zip(wanted, where, strict=True) if n == node) <= gpus + 1e-9


def test_tensor_parallelism_wider_than_a_node_is_refused():
    with pytest.raises(ConfigError, match=r"engine-0 needs 16 GPUs on one node.*has 8\. Lower .* at most 8"):
        check_fit([8, 8, 8, 8], parts(run(1, 16, 8)))


def test_enough_in_all_is_not_enough_on_each_node():
    with pytest.raises(
        ConfigError, match=r"3 engine\(s\) of 5 GPU\(s\) and 1 learner\(s\) of 1 .*8 \+ 8.*engine-2"
    ):
        check_fit([8, 8], parts(run(3, 5, 1)))


def test_shares_cannot_span_gpus():
    with pytest.raises(ConfigError, match=r"ask for 1\.8 GPUs.*have 2.*learner-1"):
        check_fit([2], parts(run(1, 1, 2, 0.6, 0.6)))


def test_half_gpus_with_tensor_parallelism_are_refused():
    cfg = run(1, 2, 1, 0.5)
    with pytest.raises(ConfigError, match=r"rollout\.gpus_per_engine=0\.5 with rollout\.tensor_parallel=2"):
        validate(cfg)


@pytest.mark.parametrize(("engine", "rank", "key"), [(1.5, 1.0, "rollout"), (1.0, 2.5, "learner")])
def test_one_and_a_half_gpus_are_refused(engine, rank, key):
    with pytest.raises(ConfigError, match=rf"{key}\.gpus_per_\w+=\d\.5: must be a share of one GPU"):
        validate(run(1, 1, 1, engine, rank))


def taking_turns(**changes: object) -> Config:
    """A configuration for one GPU, with dotted keys (__ for the dot) changed."""
    cfg = Config(recipe="test")
    cfg.cluster.colocate = True
    cfg.rollout.gpus_per_engine = cfg.learner.gpus_per_worker = 0.5
    cfg.learner.zero_stage = 2
    for key, value in changes.items():
        section, _, name = key.partition("__")
        setattr(getattr(cfg, section), name, value)
    return cfg


def test_engine_and_rank_share_one_reserved_gpu():
    assert turn_problems(taking_turns()) == []
    (part,) = shared_parts(taking_turns())
    assert (part.gpus, part.actors) == (1.0, 2)
    assert shared_parts(taking_turns(learner__gpus_per_worker=0.0)) == []
    cfg = taking_turns(rollout__engines=8, learner__workers=8)
    assert check_fit([8.0], shared_parts(cfg)) == [0] * 8


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rollout__engines", 2, "rollout.engines=2 and learner.workers=1"),
        ("rollout__tensor_parallel", 2, "rollout.tensor_parallel=2"),
        ("rollout__staleness", 1, "rollout.staleness=1"),
        ("rollout__gpus_per_engine", 1.0, "two processes share a GPU"),
        ("learner__zero_stage", 0, "DeepSpeed moves the states"),
        ("learner__zero_stage", 3, "DeepSpeed moves the states"),
        ("sync__backend", "nccl", "two processes on one GPU exchange weights by CUDA IPC"),
        ("cluster__sleep_level", 3, "vLLM has the levels 1 and 2"),
    ],
)
def test_those_who_cannot_take_turns_are_told_why(key, value, said):
    (problem,) = turn_problems(taking_turns(**{key: value}))
    assert problem.startswith("cluster.colocate=true with ")
    assert said in problem


def test_on_cpu_turns_need_no_shares():
    cpu = {"rollout__gpus_per_engine": 0.0, "learner__gpus_per_worker": 0.0, "learner__zero_stage": 0}
    assert turn_problems(taking_turns(**cpu)) == []


def test_stage_1_moves_in_float32_only():
    assert turn_problems(taking_turns(learner__zero_stage=1)) == []
    assert turn_problems(taking_turns(learner__zero_stage=1, model__dtype="bfloat16")) != []
    assert turn_problems(taking_turns(model__dtype="bfloat16")) == []
