"""Stage 3: verdicts and rewards for every sample. Rewards are matched by sample id, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlvr.config import RewardConfig
from rlvr.reward.length import length_reward
from rlvr.reward.overlong import counts_as_correct, overlong_filter, soft_overlong_punishment
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.workers.pool import GraderPool
from rlvr.types import Group, Sample

RAW = "raw"  # reward.score: rewards by the verifier's score


def score_groups(
    groups: Sequence[Group], graders: GraderPool, cfg: RewardConfig, max_response_tokens: int
) -> tuple[Group, ...]:
    """Return the groups with verdict, reward and `in_loss` set on every sample.

    reward = correct or incorrect (configured), or with reward.score=raw what lies between them at the verifier's
    score, plus the overlong punishment and reward.length's; a truncated response does not count as correct, and has no
    score, unless reward.truncated_can_be_correct. Where the verifier failed nothing is known about the answer: no
    reward (nan), not in the loss.
    """
    verdicts = graders.grade([request for group in groups for request in group.grade_requests()])
    return tuple(
        replace(group, samples=score_samples(group.samples, verdicts, cfg, max_response_tokens))
        for group in groups
    )


def score_samples(
    samples: Sequence[Sample], verdicts: dict[str, Verdict], cfg: RewardConfig, max_response_tokens: int
) -> tuple[Sample, ...]:
    """The samples with their verdicts, rewards and places in the loss."""
    truncated = np.asarray([s.truncated for s in samples], dtype=np.bool_)
    lengths = np.asarray([len(s.token_ids) for s in samples])
    graded = [verdicts[s.id] for s in samples]
    correct = counts_as_correct(
        [v.correct for v in graded], truncated, truncated_can_be_correct=cfg.truncated_can_be_correct
    )
    if not cfg.truncated_can_be_correct:
        graded = [_too_long(v) if cut and v.credit else v for v, cut in zip(graded, truncated, strict=True)]
    reward = np.where(correct, cfg.correct, cfg.incorrect)
    if cfg.score == RAW:
        reward = cfg.incorrect + (cfg.correct - cfg.incorrect) * np.asarray([v.credit for v in graded])
    if cfg.overlong == "soft":
        reward = reward + soft_overlong_punishment(
            lengths, max_length=max_response_tokens, cache_length=cfg.overlong_cache
        )
    failed = np.asarray([v.failed for v in graded], dtype=np.bool_)
    reward = reward + length_reward(
        cfg.length, lengths, correct, ~failed, cfg.length_coef, cfg.correct - cfg.incorrect
    )
    reward = np.where(failed, np.nan, reward)
    in_loss = overlong_filter(truncated) & ~failed if cfg.overlong_filter else ~failed
    return tuple(
        replace(
            sample,
            verdict=verdict,
            reward=float(r),
            in_loss=bool(keep),
        )
        for sample, verdict, r, keep in zip(samples, graded, reward, in_loss, strict=True)
    )


def worth(sample: Sample, score: str) -> float:
    """What the verifier's word on a graded sample is worth under this reward.score: its credit, or 1 where right."""
    return sample.verdict.credit if score == RAW and sample.verdict else float(sample.correct)


def _too_long(verdict: Verdict) -> Verdict:
    if verdict.correct:
        detail = "right, but truncated at the response limit"
    else:
        detail = f"score {verdict.credit:g}, but truncated at the response limit; {verdict.detail}"
    return replace(verdict, outcome=Outcome.WRONG, detail=detail, score=None)
