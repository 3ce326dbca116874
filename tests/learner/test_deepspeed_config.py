"""The dictionary that DeepSpeed gets."""

from __future__ import annotations

import json

import pytest

from rlvr.config import LearnerConfig
from rlvr.learner.deepspeed_config import deepspeed_config


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


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_optimiser_states_go_to_host_memory_where_it_says_so(device, pinned):
    cfg = LearnerConfig(zero_stage=2, offload_optimizer="cpu")
    found = deepspeed_config(cfg, "bfloat16", training=True, device=device)
    assert found["zero_force_ds_cpu_optimizer"] is False  # it insists on an AdamW of its own, to be compiled
    assert found["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": pinned}
    for other, training in ((cfg, False), (LearnerConfig(zero_stage=2), True)):
        zero = deepspeed_config(other, "bfloat16", training=training, device=device)["zero_optimization"]
        assert "offload_optimizer" not in zero


def test_bf16_gradients_are_added_and_reduced_in_fp32():
    for stage in (0, 1, 2, 3):
        found = deepspeed_config(LearnerConfig(zero_stage=stage), "bfloat16", training=True, device="cuda")
        assert found["communication_data_type"] == "fp32"
        # Unsharded, DeepSpeed refuses the mix; rlvr.learner.fp32_sum does it.
        assert found.get("data_types") == ({"grad_accum_dtype": "fp32"} if stage else None)
    plain = deepspeed_config(LearnerConfig(zero_stage=2), "float32", training=True, device="cuda")
    assert not {"data_types", "communication_data_type"} & set(plain)
