"""Settings of the learner that contradict each other."""

from __future__ import annotations

from rlvr.config import Config, LearnerConfig


def learner_problems(cfg: LearnerConfig) -> list[str]:
    """What is wrong, one message each; empty if nothing is."""
    found = []
    if cfg.zero_stage not in (0, 1, 2, 3):
        found.append(f"learner.zero_stage={cfg.zero_stage}: use 0, 1, 2 or 3")
    if cfg.offload_optimizer != "none" and cfg.zero_stage == 0:
        found.append(
            f"learner.offload_optimizer={cfg.offload_optimizer} with learner.zero_stage=0: DeepSpeed offloads "
            "what ZeRO manages; set learner.zero_stage to 1, 2 or 3, which one rank can have as well"
        )
    if cfg.share_prompts and cfg.sequence_parallel > 1:
        found.append(
            f"learner.share_prompts=true with learner.sequence_parallel={cfg.sequence_parallel}: a rank has "
            "columns of a sequence only, and no whole prompt to share; set one of them back"
        )
    if cfg.share_prompts and cfg.shards_parameters:
        found.append(
            "learner.share_prompts=true with learner.zero_stage=3: ranks whose micro-batches share nothing would "
            "gather weights fewer times than the others and wait for ever; use zero_stage=2 or share_prompts=false"
        )
    return found


def warmup_notes(cfg: Config) -> list[str]:
    """What is to be said of a warm-up that the run ends in."""
    updates, warmup = cfg.steps * cfg.learner.updates_per_step, cfg.learner.warmup_updates
    if warmup <= updates:
        return []
    return [
        f"learner.warmup_updates={warmup}: the run has {updates} updates (steps x learner.updates_per_step), so its "
        f"learning rate ends at {cfg.learner.lr * updates / warmup:g} and never reaches learner.lr={cfg.learner.lr:g}"
    ]
