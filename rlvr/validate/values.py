"""What each key may be by itself: choices, bounds, plug-ins that exist."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from rlvr.advantage.group import build_estimator
from rlvr.config import Config
from rlvr.data.curriculum import SAMPLERS
from rlvr.errors import ConfigError
from rlvr.learner.correction import CORRECTIONS, LEVELS
from rlvr.learner.distill import DIVERGENCES
from rlvr.learner.loss import IN_LOSS, IN_REWARD, KL_ESTIMATORS, OFF, RATIOS, build_objective
from rlvr.learner.model.activations import KEPT
from rlvr.learner.optimizers import OPTIMIZERS
from rlvr.learner.packing import AGGREGATIONS
from rlvr.learner.teacher import IN_ADVANTAGE
from rlvr.reward.extract import POLICIES
from rlvr.reward.length import LENGTH_REWARDS
from rlvr.reward.workers.pool import MIN_MEMORY_MB
from rlvr.rollout.given import build_answers
from rlvr.sync.adapter import ADAPTER, MERGED
from rlvr.types import SIGNALS, STEP_SIGNALS
from rlvr.validate.ranges import out_of_range, value_at
from rlvr.validate.sources import source_problems

CHOICES: dict[str, tuple[str, ...]] = {
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ("sdpa", "eager", "flash_attention_2"),
    "data.on_long_prompt": ("refuse", "skip"),
    "data.on_bad_row": ("refuse", "skip"),
    "data.on_overlap": ("warn", "refuse", "drop"),
    "data.sampler": SAMPLERS,
    "rollout.on_update": ("wait", "keep", "recompute"),
    "reward.policy": tuple(POLICIES),
    "reward.score": ("binary", "raw"),
    "reward.overlong": ("off", "soft"),
    "reward.length": ("off", *LENGTH_REWARDS),
    "loss.ratio": tuple(RATIOS),
    "loss.aggregation": tuple(AGGREGATIONS),
    "loss.kl": (OFF, *KL_ESTIMATORS),
    "loss.kl_in": (IN_LOSS, IN_REWARD),
    "loss.distill": (OFF, *DIVERGENCES),
    "loss.distill_in": (IN_LOSS, IN_ADVANTAGE),
    "loss.rollout_correction_mode": tuple(CORRECTIONS),
    "loss.rollout_correction_level": tuple(LEVELS),
    "learner.optimizer": tuple(OPTIMIZERS),
    "learner.offload_optimizer": ("none", "cpu"),
    "learner.checkpoint_keep": KEPT,
    "learner.backend": ("auto", "gloo", "nccl"),
    "learner.divergence_backend": ("auto", "torch", "triton", "cuda"),
    "learner.schedule": ("constant", "linear", "cosine"),
    "sync.sparse": ("off", "auto"),
    "sync.lora": (MERGED, ADAPTER),
    "sync.backend": ("auto", "gloo", "nccl", "ipc"),
    "eval.in_stream": ("auto", "never"),
    "tracking.wandb": ("offline", "online", "off"),
    "tracking.console": ("auto", "live", "plain", "off"),
    "cluster.on_misfit": ("refuse", "warn"),
}
# Keys that take one of our names or package.module:attribute of the user's own, and what finds it. Two more are found
# elsewhere: advantage.token with its options, reward.verifier in a worker that may be killed.
PLUG_INS: dict[str, Callable[[str], object]] = {
    "advantage.estimator": build_estimator,
    "rollout.answers": build_answers,
}
AT_LEAST: dict[str, float] = {
    "steps": 1,
    "model.lora.rank": 0,
    "data.prompts_per_step": 1,
    "data.max_prompt_tokens": 1,
    "rollout.engines": 1,
    "rollout.tensor_parallel": 1,
    "rollout.samples_per_prompt": 1,
    "rollout.restarts": 0,
    "rollout.max_response_tokens": 1,
    "rollout.max_rounds": 1,
    "rollout.min_tokens": 0,
    "rollout.staleness": 0,
    "rollout.max_concurrent": 1,
    "rollout.kv_cache_mb": 1,
    "reward.workers": 1,
    "reward.memory_mb": MIN_MEMORY_MB,
    "learner.workers": 1,
    "learner.sequence_parallel": 1,
    "learner.updates_per_step": 1,
    "learner.checkpoint_every": 1,
    "learner.mlp_tile_tokens": 0,
    "learner.lr": 0,
    "learner.max_grad_norm": 0,
    "learner.warmup_updates": 0,
    "learner.weight_decay": 0,
    "learner.gpus_per_worker": 0,
    "rollout.gpus_per_engine": 0,
    "cluster.cpus": 1,
    "cluster.threads_per_actor": 1,
    "cluster.jobs": 1,
    "loss.clip_low": 0,
    "loss.clip_high": 0,
    "loss.kl_coef": 0,
    "loss.distill_coef": 0,
    "loss.rollout_correction_floor": 0,
    "loss.entropy_coef": 0,
    "loss.entropy_target": 0,
    "reward.length_coef": 0,
    "eval.every": 0,
    "eval.samples_per_prompt": 1,
    "eval.temperature": 0,
    "run.keep_last": 1,
    "run.save_every": 0,
    "run.dump_samples_every": 0,
}
POSITIVE = (
    "model.download_stall_seconds",
    "rollout.temperature",
    "rollout.deadline_seconds",
    "rollout.start_deadline_seconds",
    "rollout.stall_seconds",
    "reward.deadline_seconds",
    "learner.deadline_seconds",
    "learner.start_deadline_seconds",
    "sync.deadline_seconds",
    "sync.bucket_mb",
    "cluster.start_deadline_seconds",
    "loss.rollout_correction",
    "learner.eps",
    "loss.entropy_step",
    "model.lora.alpha",
)
SHARES = (
    "data.sampler_floor",
    "rollout.top_p",
    "eval.top_p",
    "rollout.memory_utilization",
)  # greater than 0, at most 1
# Bounds that may be infinite: there is none then.
UNBOUNDED = ("loss.clip_high", "loss.rollout_correction", "sync.mismatch_warn", "sync.mismatch_stop")


def value_problems(cfg: Config) -> list[str]:
    """What is wrong with keys taken one at a time; null passes where the schema allows it."""
    found = out_of_range(cfg, CHOICES, AT_LEAST, POSITIVE, SHARES, UNBOUNDED)
    for key, build in PLUG_INS.items():
        if (name := value_at(cfg, key)) is not None:
            try:
                build(str(name))
            except ConfigError as error:
                found.append(str(error))
    try:
        build_objective(cfg.loss.objective, cfg.loss.options)
    except ConfigError as error:
        found.append(str(error))
    if not 0 <= cfg.reward.max_failed <= 1:
        found.append(f"reward.max_failed={cfg.reward.max_failed}: must be a share, at least 0 and at most 1")
    if cfg.advantage.ddof not in (0, 1):
        found.append(f"advantage.ddof={cfg.advantage.ddof}: use 0 or 1")
    if cfg.rollout.top_k != -1 and cfg.rollout.top_k < 1:
        found.append(f"rollout.top_k={cfg.rollout.top_k}: must be at least 1, or -1 for off")
    betas = cfg.learner.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        found.append(f"learner.betas={betas}: must be two numbers, each at least 0 and less than 1")
    if unknown := set(cfg.tracking.signals) - (SIGNALS - STEP_SIGNALS):
        found.append(
            f"tracking.signals: no {sorted(unknown)}; use {', '.join(sorted(SIGNALS - STEP_SIGNALS))}"
        )
    if cfg.tracking.tensorboard and importlib.util.find_spec("tensorboard") is None:
        found.append(
            "tracking.tensorboard=true: the package tensorboard is not installed; "
            'pip install "rlvr[tensorboard]", or leave the key out'
        )
    if not cfg.data.eval:
        found.append("data.eval: name at least one set; a run reports its accuracy before and after")
    return found + source_problems(cfg.data)
