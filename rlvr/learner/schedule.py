"""Learning-rate schedules as pure functions of the update count, so that a resume has nothing to restore."""

from __future__ import annotations

import math

from rlvr.config import LearnerConfig


def learning_rate(cfg: LearnerConfig, update: int, total_updates: int) -> float:
    """Learning rate of the update with this number (from 0) out of `total_updates`.

    Linear warm-up over `warmup_updates`, then constant, linear to 0, or half a cosine to 0.
    """
    if update < cfg.warmup_updates:
        return cfg.lr * (update + 1) / cfg.warmup_updates
    if cfg.schedule == "constant":
        return cfg.lr
    span = max(1, total_updates - cfg.warmup_updates)
    progress = min(1.0, (update - cfg.warmup_updates) / span)
    if cfg.schedule == "linear":
        return cfg.lr * (1.0 - progress)
    return cfg.lr * (1.0 + math.cos(math.pi * progress)) / 2
