"""The plan of a run: counts that are exact, memory as DeepSpeed estimates it, and what it warns of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM

from rlvr.config import Config
from rlvr.data.tokenizer import model_folder
from rlvr.plan import H100, ModelShape, engine_ledger, learner_ledger, model_shape, phases, report

# Qwen2.5-7B's published numbers.
SEVEN = ModelShape(
    parameters=7_615_616_512, vocabulary=152_064, hidden=3584, layers=28, cache_per_token=28_672
)


def on_gpus(stage: int, ranks: int, dtype: str = "bfloat16") -> Config:
    cfg = Config(recipe="test")
    cfg.model.dtype, cfg.model.gradient_checkpointing = dtype, True
    cfg.learner.zero_stage, cfg.learner.workers, cfg.learner.gpus_per_worker = stage, ranks, 1.0
    cfg.rollout.gpus_per_engine, cfg.rollout.kv_cache_mb, cfg.rollout.memory_utilization = 1.0, None, 0.85
    return cfg


def states(cfg: Config) -> float:
    parts = dict(learner_ledger(cfg, SEVEN, base=False).parts)
    return parts["weights"] + parts["gradients"] + parts["optimiser"]


def test_offloaded_states_take_no_memory_of_the_gpu():
    """ZeRO-Offload leaves the weights and the gradients of one pass, 2 bytes each; on CPU it is one memory."""
    cfg = on_gpus(stage=2, ranks=1)
    cfg.learner.offload_optimizer = "cpu"
    assert states(cfg) == 4 * SEVEN.parameters
    cfg.learner.gpus_per_worker = 0.0
    assert states(cfg) == states(on_gpus(stage=2, ranks=1)) == 18 * SEVEN.parameters


def test_parameters_are_counted_without_loading():
    shape = model_shape(Config(recipe="test"))
    model = AutoModelForCausalLM.from_pretrained(model_folder("builtin"))
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.vocabulary, shape.layers) == (model.config.vocab_size, model.config.num_hidden_layers)


@pytest.fixture(scope="module")
def estimated() -> dict[int, float]:
    """DeepSpeed's own estimate of the sharded states, by ranks; in a process that may import it."""
    code = (
        "from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as e\n"
        f"print(*(e({SEVEN.parameters}, 0, ranks, 1, False, False, False, 1.0)[1] for ranks in (1, 8)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip((1, 8), map(float, done.stdout.split()[-2:]), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 8])
def test_sharded_states_are_those_of_deepspeeds_own_estimator(estimated, ranks):
    assert states(on_gpus(3, ranks)) == pytest.approx(estimated[ranks], rel=0.01)


def test_each_stage_shards_more():
    sizes = [states(on_gpus(stage, 8)) for stage in (0, 1, 2, 3)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    n = SEVEN.parameters
    assert sizes[0] == (2 + 4 + 2 + 12) * n
    assert sizes[3] == pytest.approx((2 + 4 + 12) * n / 8)


def test_the_cache_takes_what_the_weights_leave():
    parts = dict(engine_ledger(on_gpus(3, 8), SEVEN, H100).parts)
    assert parts["weights"] == 2 * SEVEN.parameters
    assert parts["weights"] + parts["KV cache"] == pytest.approx(0.85 * H100.memory - 2e9)


def test_what_does_not_fit_and_what_comes_too_late_is_said():
    cfg = on_gpus(0, 1)
    cfg.rollout.engines = 1
    said = report(cfg, SEVEN)
    assert "learner rank (1): " in said
    assert "DOES NOT FIT a H100" in said
    assert "LONGER" not in said
    cfg.learner.deadline_seconds = 0.001
    assert report(cfg, SEVEN).count("LONGER THAN ITS DEADLINE") == 2  # score and update
    assert "DOES NOT FIT" not in report(on_gpus(3, 8), SEVEN)


def test_seconds_grow_with_the_work_and_shrink_with_the_ranks():
    one, two = on_gpus(3, 8), on_gpus(3, 16)
    seconds = {cfg.learner.workers: phases(cfg, SEVEN, H100, base=True)[2].seconds for cfg in (one, two)}
    assert seconds[8] == pytest.approx(2 * seconds[16])
    larger = replace(SEVEN, parameters=2 * SEVEN.parameters)
    assert phases(one, larger, H100, base=True)[2].seconds == pytest.approx(2 * seconds[8])


def test_a_run_on_cpu_has_a_plan_without_seconds():
    cfg = Config(recipe="test")
    said = report(cfg, model_shape(cfg))
    assert "parameters" in said
    assert "seconds a step" not in said
