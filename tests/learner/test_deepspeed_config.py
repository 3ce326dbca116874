"""The dictionary that DeepSpeed gets."""

from __future__ import annotations

import json

from rlvr.config import LearnerConfig
from rlvr.learner.deepspeed_config import deepspeed_config


def test_deepspeed_dictionary():
    cfg = LearnerConfig(zero_stage=2, max_grad_norm=0.5)
    found = deepspeed_config(cfg, "bfloat16", training=True)
    assert found["zero_optimization"]["stage"] == 2
    assert found["gradient_clipping"] == 0.5
    assert found["bf16"]["enabled"]
    assert found["gradient_accumulation_steps"] == 1
    base = deepspeed_config(LearnerConfig(zero_stage=3), "float32", training=False)
    assert base["gradient_clipping"] == 0.0  # left out, DeepSpeed's default of 1.0 would act
    assert not base["bf16"]["enabled"]
    json.dumps(found)  # DeepSpeed takes plain values only
