"""On-policy distillation as an advantage: what the teacher says of each sampled token, in place of a reward."""

from __future__ import annotations

from dataclasses import replace

from rlvr.config import LossConfig
from rlvr.learner.loss import OFF
from rlvr.types import Batch

IN_ADVANTAGE = "advantage"


def advises(cfg: LossConfig) -> bool:
    """Whether the teacher speaks through advantages."""
    return cfg.distill != OFF and cfg.distill_in == IN_ADVANTAGE


def advised_advantage(batch: Batch, cfg: LossConfig) -> Batch:
    """A_t + distill_coef (log q(y_t) - log pi_old(y_t)), q the teacher; as it is unless loss.distill_in=advantage.

    In expectation over y_t its policy gradient is that of -distill_coef KL(pi || q) at the token; what a token does to
    later ones is left out, as in "On-Policy Distillation" (Thinking Machines Lab, 2025). The policy is the one that
    starts the step.

    Raises:
        ValueError: the batch has no token advantages, or has not been scored by policy and teacher.
    """
    if not advises(cfg):
        return batch
    old, teacher = batch.signals.old_logp, batch.signals.base_logp
    if old is None or teacher is None or batch.token_advantage is None:
        raise ValueError(
            "loss.distill_in=advantage needs token advantages and the log-probs of policy and base"
        )
    return replace(batch, token_advantage=batch.token_advantage + cfg.distill_coef * (teacher - old))
