"""Our learner configuration as DeepSpeed's. Pure: imports nothing of DeepSpeed."""

from __future__ import annotations

from typing import Any

from rlvr.config import LearnerConfig


def clips_itself(cfg: LearnerConfig, dtype: str) -> bool:
    """Whether we clip gradients in DeepSpeed's stead: unsharded in fp32 it clips without telling the norm."""
    return cfg.zero_stage == 0 and dtype == "float32"


def accumulates_itself(cfg: LearnerConfig, dtype: str) -> bool:
    """Whether we add gradients up in DeepSpeed's stead: unsharded in bf16 it can do so in bf16 only."""
    return cfg.zero_stage == 0 and dtype == "bfloat16"


def deepspeed_config(cfg: LearnerConfig, dtype: str, *, training: bool, device: str) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes, for the policy or (training=False) the base.

    The base is only sharded (stage 3) where the policy is; at lower stages each rank holds a whole copy.
    """
    bf16 = dtype == "bfloat16"
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # DeepSpeed only counts with it; we make our own micro-batches
        "gradient_accumulation_steps": 1,
        # Every engine.step() is an optimiser update, however many backward passes came before it.
        "managed_gradient_accumulation": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 62,
        "wall_clock_breakdown": False,
        "bf16": {"enabled": bf16},
        "zero_optimization": {
            "stage": cfg.zero_stage,
            # DeepSpeed refuses it below stage 2 where we say when an update is due; on CPU there is nothing to gain.
            "overlap_comm": device == "cuda" and cfg.zero_stage >= 2,
            "contiguous_gradients": True,
        },
    }
    if training and cfg.offload_optimizer != "none":
        # torch's AdamW has a kernel for CPUs too, and needs no compiler where a run starts, as DeepSpeed's does.
        config["zero_force_ds_cpu_optimizer"] = False
        # On CPU it is one memory, which needs no pinning.
        config["zero_optimization"]["offload_optimizer"] = {
            "device": cfg.offload_optimizer,
            "pin_memory": device == "cuda",
        }
    if bf16:
        # Tens of micro-batches, then the ranks: each addition in bf16 would round by up to 0.4 %.
        config["communication_data_type"] = "fp32"
        if not accumulates_itself(cfg, dtype):
            config["data_types"] = {"grad_accum_dtype": "fp32"}
    if cfg.shards_parameters:
        config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = False
        if device == "cpu":  # on GPUs norms and biases stay whole, which saves their gathering
            config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    # Left out, DeepSpeed clips at a default of its own.
    config["gradient_clipping"] = cfg.max_grad_norm if training and not clips_itself(cfg, dtype) else 0.0
    return config
