"""Parts that need no process of their own: resource checks, DeepSpeed's dictionary, the tracker, the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.cluster import Cluster, check_resources, threads_per_actor
from rlvr.config import ClusterConfig, Config, LearnerConfig
from rlvr.errors import ConfigError
from rlvr.learner.deepspeed_config import deepspeed_config
from rlvr.reward.pool import GraderPool
from rlvr.reward.score import score_samples
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.runtime.dumps import sample_row
from rlvr.runtime.evaluation import EvalReport
from rlvr.runtime.folder import RunFolder
from rlvr.runtime.tracking import Tracker
from rlvr.sync import client as client_module
from rlvr.sync.client import EngineClient
from rlvr.types import Group
from tests.helpers.records import prompt, sample

# The cluster


def test_requests_that_ray_would_wait_on_for_ever_are_refused():
    cluster = Cluster(local=True, log_folder="", cpus=4, gpus=1, nodes=1)
    check_resources(cluster, gpus=1, actors=4)
    with pytest.raises(ConfigError, match=r"rollout\.gpus_per_engine.*ask for 2 GPUs.*has 1 on 1 node"):
        check_resources(cluster, gpus=2, actors=1)
    with pytest.raises(ConfigError, match=r"5 actors .*has 4"):
        check_resources(cluster, gpus=0, actors=5)


def test_threads_are_shared_out():
    assert threads_per_actor(ClusterConfig(cpus=8), busy_together=2) == 4
    assert threads_per_actor(ClusterConfig(cpus=2), busy_together=3) == 1
    assert threads_per_actor(ClusterConfig(cpus=8, threads_per_actor=3), busy_together=2) == 3


# DeepSpeed


def test_deepspeed_dictionary():
    cfg = LearnerConfig(zero_stage=2, max_grad_norm=0.5)
    found = deepspeed_config(cfg, "bfloat16", training=True, device="cuda")
    assert found["zero_optimization"]["stage"] == 2
    assert found["gradient_clipping"] == 0.5
    assert found["bf16"]["enabled"]
    assert found["gradient_accumulation_steps"] == 1
    base = deepspeed_config(LearnerConfig(zero_stage=3), "float32", training=False, device="cpu")
    assert base["gradient_clipping"] == 0.0  # left out, DeepSpeed's default of 1.0 would act
    assert not base["bf16"]["enabled"]
    json.dumps(found)  # DeepSpeed takes plain values only


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_deepspeed_overlaps_where_it_can_and_keeps_small_parameters_whole_on_gpus(stage, device):
    zero = deepspeed_config(LearnerConfig(zero_stage=stage), "bfloat16", training=True, device=device)[
        "zero_optimization"
    ]
    assert zero["overlap_comm"] == (device == "cuda" and stage >= 2)
    assert ("stage3_param_persistence_threshold" in zero) == (device == "cpu" and stage == 3)


def test_bf16_gradients_are_added_and_reduced_in_fp32():
    for stage in (0, 1, 2, 3):
        found = deepspeed_config(LearnerConfig(zero_stage=stage), "bfloat16", training=True, device="cuda")
        assert found["communication_data_type"] == "fp32"
        # Unsharded, DeepSpeed refuses the mix; rlvr.learner.fp32_sum does it.
        assert found.get("data_types") == ({"grad_accum_dtype": "fp32"} if stage else None)
    plain = deepspeed_config(LearnerConfig(zero_stage=2), "float32", training=True, device="cuda")
    assert not {"data_types", "communication_data_type"} & set(plain)


# Rewards


def graded(*outcomes: Outcome) -> dict[str, Verdict]:
    """Verdicts of the samples a/0, a/1, ... in reverse order."""
    pairs = [(f"a/{i}", outcome) for i, outcome in enumerate(outcomes)]
    return {name: Verdict(name, outcome, None, "1", 0.0) for name, outcome in reversed(pairs)}


def test_rewards_go_to_their_own_samples():
    cfg = Config(recipe="test").reward
    cfg.correct, cfg.incorrect = 2.0, -1.0
    samples = [sample(f"a/{i}", range(i + 1), truncated=i == 2) for i in range(4)]
    verdicts = graded(Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT)
    found = score_samples(samples, verdicts, cfg, 8)
    assert [s.reward for s in found] == [2, -1, -1, 2]  # the third is right, but truncated
    assert [s.correct for s in found] == [True, False, False, True]
    assert found[2].verdict.detail == "right, but truncated at the response limit"
    assert all(s.in_loss for s in found)
    cfg.truncated_can_be_correct = True
    assert [s.reward for s in score_samples(samples, verdicts, cfg, 8)] == [2, -1, 2, 2]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_where_the_verifier_fails_nothing_is_rewarded_or_punished(outcome):
    cfg = Config(recipe="test").reward
    cfg.overlong, cfg.overlong_cache, cfg.overlong_filter = "soft", 4, True
    samples = [sample("a/0", range(8)), sample("a/1", range(8), truncated=True), sample("a/2", range(2))]
    found = score_samples(samples, graded(outcome, outcome, Outcome.CORRECT), cfg, 8)
    assert np.isnan([s.reward for s in found]).tolist() == [True, True, False]
    assert [s.in_loss for s in found] == [False, False, True]
    assert [s.failed for s in found] == [True, True, False]
    assert [s.verdict.outcome for s in found[:2]] == [outcome] * 2  # also where it was truncated
    assert Group(prompt("a"), found).graded == found[2:]
    row = sample_row(Group(prompt("a"), found), 0)
    assert (row["reward"], row["verdict"], row["in_loss"]) == (None, outcome.value, False)
    json.dumps(row, allow_nan=False)


def test_soft_punishment_and_filter():
    cfg = Config(recipe="test").reward
    cfg.overlong, cfg.overlong_cache, cfg.overlong_filter = "soft", 4, True
    samples = [sample("a/0", range(4)), sample("a/1", range(6)), sample("a/2", range(8), truncated=True)]
    found = score_samples(samples, graded(*[Outcome.CORRECT] * 3), cfg, 8)
    assert [s.reward for s in found] == [1.0, 0.5, -1.0]
    assert [s.in_loss for s in found] == [True, True, False]


def test_a_sample_without_a_verdict_is_an_error():
    with pytest.raises(KeyError, match="a/1"):
        score_samples([sample("a/0"), sample("a/1")], graded(Outcome.CORRECT), Config(recipe="t").reward, 8)


def test_two_samples_of_one_id_are_refused_before_grading():
    requests = [sample("a/0"), sample("a/0")]
    pool = object.__new__(GraderPool)
    from rlvr.reward.verdict import GradeRequest

    with pytest.raises(ValueError, match=r"duplicate sample ids.*a/0"):
        pool.grade([GradeRequest(s.id, "1", s.text) for s in requests])


# The tracker


def test_the_tracker_records_steps_and_evaluations(tmp_path: Path, capsys):
    cfg = Config(recipe="test", steps=4)
    cfg.tracking.wandb, cfg.tracking.console = "off", "plain"
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = Tracker(cfg, folder, first_step=1)
    metrics = {
        "reward/mean": 0.5,
        "accuracy": 0.25,
        "length/mean": 3.0,
        "mismatch/mean": 1e-6,
        "rate/tokens_per_second": 10.0,
        "seconds/update": 0.5,
        "seconds/step": 2.0,
        "js_base/p50": 0.0,
        "js_base/p95": 0.01,
        "js_base/p99": 0.2,
    }
    tracker.step(1, metrics)
    report = EvalReport("held out", 0.5, 0.25, 0.75, 8, 4, 3.5, 0.125, {"correct": 16, "wrong": 16}, ())
    tracker.evaluation(1, (report,))
    tracker.close()
    tracker.close()  # closing twice is harmless
    train, evaluation = folder.read_metrics()
    assert train == {"step": 1, "kind": "train", **metrics}
    assert evaluation["kind"] == "eval"
    assert evaluation["eval/held out/accuracy"] == 0.5
    assert evaluation["eval/held out/ci_high"] == 0.75
    assert evaluation["eval/held out/outcome/wrong"] == 16
    said = capsys.readouterr().out
    assert "failed" not in said
    assert "JS p50/95/99 0.000/0.010/0.200" in said
    assert "held out: 0.500 (95% 0.250..0.750, 8 problems x 4)" in said


def test_a_silent_tracker_still_records(tmp_path: Path, capsys):
    cfg = Config(recipe="test")
    cfg.tracking.wandb, cfg.tracking.console = "off", "off"
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    tracker = Tracker(cfg, folder, first_step=1)
    tracker.note("hello")
    tracker.evaluation(0, ())
    assert capsys.readouterr().out == ""
    assert len(folder.read_metrics()) == 1


# The engine client


class Method:
    """A remote method that notes its arguments."""

    def __init__(self, calls: list[tuple[str, Any]], name: str) -> None:
        self.calls, self.name = calls, name

    def remote(self, *arguments: Any) -> None:
        self.calls.append((self.name, *arguments))


class Engine:
    """An engine that notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Method:
        return Method(self.calls, name)


def test_every_engine_takes_its_own_ranks_and_the_new_version(monkeypatch):
    phases = []
    monkeypatch.setattr(client_module, "wait", lambda refs, **said: phases.append(said))
    engines = [Engine(), Engine(), Engine()]
    client = EngineClient(engines, tensor_parallel=2, deadline_seconds=7)
    assert client.workers == 6
    info = {"rank_offset": 1, "host": "here"}
    client.init_weight_transfer_engine(info)
    client.start_weight_update()
    client.update_weights({"names": ["w"]})
    client.version = 12
    client.finish_weight_update()
    assert info == {"rank_offset": 1, "host": "here"}  # the caller's is left alone
    offsets = [e.calls[0][1]["rank_offset"] for e in engines]
    assert offsets == [1, 3, 5]
    for engine in engines:
        assert [c[0] for c in engine.calls[1:]] == [
            "start_weight_update",
            "update_weights",
            "finish_weight_update",
        ]
        assert engine.calls[-1] == ("finish_weight_update", 12)
    assert all(p["deadline_seconds"] == 7 for p in phases)
    named = [p["what"] for p in phases]
    assert [w.partition("phase ")[2] for w in named] == ["'rendezvous'", "'start'", "'receive'", "'finish'"]
