"""Who runs on which device, and what that device can do."""

from __future__ import annotations

import logging

from rlvr.cluster.machine import cpu_flags, emulates
from rlvr.cluster.placement import share_problems, turn_problems
from rlvr.config import Config
from rlvr.divergence.backends import backend_in_use
from rlvr.rollout.engine_spec import split_prompts


def device_problems(cfg: Config) -> list[str]:
    """What is wrong with who runs on which device."""
    found = []
    gpu_engines, gpu_learner = cfg.rollout.gpus_per_engine > 0, cfg.learner.gpus_per_worker > 0
    if gpu_engines != gpu_learner:
        found.append(
            f"rollout.gpus_per_engine={cfg.rollout.gpus_per_engine:g} and "
            f"learner.gpus_per_worker={cfg.learner.gpus_per_worker:g}: put both on GPUs or neither"
        )
    found += share_problems(cfg)
    found += turn_problems(cfg)
    try:
        backend_in_use(cfg.learner.divergence_backend, "cuda" if gpu_learner else "cpu")
    except ValueError as error:
        found.append(f"learner.divergence_backend: {error}; use auto or torch")
    if not gpu_learner and emulates(cfg.model.dtype, cpu_flags()):
        logging.getLogger(__name__).warning(
            "model.dtype=%s: this CPU has no instructions for it and emulates them, slower than float32",
            cfg.model.dtype,
        )
    if not gpu_engines:
        found += [
            f"rollout.engine_args.{problem} (CPU engines prefill whole prompts)"
            for problem in split_prompts(cfg.rollout.engine_args, cfg.model.max_length)
        ]
    return found
