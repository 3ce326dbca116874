"""Our learner configuration as DeepSpeed's. Pure: imports nothing of DeepSpeed."""

from __future__ import annotations

from typing import Any

from rlvr.config import LearnerConfig


def clips_itself(cfg: LearnerConfig, dtype: str) -> bool:
    """Whether we clip gradients in DeepSpeed's stead: unsharded in fp32 it clips without telling the norm."""
    return cfg.zero_stage == 0 and dtype == "float32"


def deepspeed_config(cfg: LearnerConfig, dtype: str, *, training: bool) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes, for the policy or (training=False) the base.

    The base is only sharded (stage 3) where the policy is; at lower stages each rank holds a whole copy.
    """
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # DeepSpeed only counts with it; we make our own micro-batches
        "gradient_accumulation_steps": 1,
        # Every engine.step() is an optimiser update, however many backward passes came before it.
        "managed_gradient_accumulation": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 62,
        "wall_clock_breakdown": False,
        "bf16": {"enabled": dtype == "bfloat16"},
        "zero_optimization": {"stage": cfg.zero_stage, "overlap_comm": False, "contiguous_gradients": True},
    }
    if cfg.zero_stage == 3:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = False
    # Left out, DeepSpeed clips at a default of its own.
    config["gradient_clipping"] = cfg.max_grad_norm if training and not clips_itself(cfg, dtype) else 0.0
    return config
