"""The arithmetic of a batch: prompts, samples, updates, micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config import Config


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The arithmetic of one step, printed at the start."""

    prompts: int
    samples: int
    updates: int
    samples_per_update: int  # of the first update; the last may have one less
    ranks: int  # or groups of ranks that share sequences
    micro_batches: int  # per rank and update, if every sequence had the full length

    def __str__(self) -> str:
        return (
            f"each step: {self.prompts} prompts -> {self.samples} samples -> {self.updates} updates of "
            f"{self.samples_per_update} samples -> on {self.ranks} rank(s) at most {self.micro_batches} "
            "micro-batch(es) an update"
        )


def batch_plan(cfg: Config) -> BatchPlan:
    """The arithmetic of one step."""
    samples = cfg.data.prompts_per_step * cfg.rollout.samples_per_prompt
    per_update = -(-samples // cfg.learner.updates_per_step)
    per_rank = -(-per_update // cfg.learner.data_parallel)
    longest = min(cfg.model.max_length, cfg.data.max_prompt_tokens + cfg.rollout.max_response_tokens)
    fitting = max(1, cfg.learner.tokens_per_micro_batch // longest)
    return BatchPlan(
        prompts=cfg.data.prompts_per_step,
        samples=samples,
        updates=cfg.learner.updates_per_step,
        samples_per_update=per_update,
        ranks=cfg.learner.data_parallel,
        micro_batches=-(-per_rank // fitting),
    )
