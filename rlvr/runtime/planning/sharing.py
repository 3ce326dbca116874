"""What a micro-batch computes where the samples of a prompt share its forward pass (`learner.share_prompts`)."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.validate.batch import batch_plan


def computed_tokens(cfg: Config, tokens: int, samples: int) -> tuple[float, float]:
    """Tokens that pass through the layers, of `samples` sequences of `tokens` in all; and prompt tokens held again.

    The latter are the prompts' keys and values, which every sample that shares them has of its own. A micro-batch
    holds at most the prompts of its update, and none twice; a smaller one may have one prompt a sample.
    """
    groups = -(-batch_plan(cfg).samples_per_update // cfg.rollout.samples_per_prompt)
    prompts = min(samples, groups)
    if not cfg.learner.share_prompts or cfg.model.gradient_checkpointing or prompts == samples:
        return float(tokens), 0.0
    response = min(cfg.rollout.max_response_tokens, tokens / samples)
    of_prompts = tokens - samples * response
    return samples * response + of_prompts * prompts / samples, of_prompts
