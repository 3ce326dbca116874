"""Small batches, groups and token sets that several tests start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rlvr.learner.loss import LossInput
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.types import Batch, Group, Problem, Prompt, RolloutBatch, Sample, Span, TokenSignals

VOCABULARY = 50


def prompt(name: str, tokens: Sequence[int] = (1, 2, 3)) -> Prompt:
    """A prompt with these token ids."""
    return Prompt(Problem(id=name, question=f"{name}?", answer="1", source="test"), tuple(tokens))


def sample(
    name: str,
    tokens: Sequence[int] = (4, 5),
    *,
    reward: float = 0.0,
    correct: bool | None = None,
    failed: bool = False,
    advantage: float = float("nan"),
    truncated: bool = False,
    in_loss: bool = True,
    version: int = 0,
    logprobs: Sequence[float] | None = None,
) -> Sample:
    """A response; with `correct` given it has been graded, with `failed` the verifier failed on it."""
    outcome = Outcome.FAILED if failed else Outcome.CORRECT if correct else Outcome.WRONG
    return Sample(
        id=name,
        token_ids=tuple(tokens),
        logprobs=np.asarray([-0.5] * len(tokens) if logprobs is None else logprobs, dtype=np.float32),
        text=" ".join(map(str, tokens)),
        truncated=truncated,
        spans=(Span(version, 0),),
        verdict=None if correct is None and not failed else Verdict(name, outcome, "1", "1", 0.0),
        reward=float("nan") if failed else reward,
        in_loss=in_loss and not failed,
        advantage=advantage,
    )


def group(name: str, rewards: Sequence[float], lengths: Sequence[int] | None = None) -> Group:
    """A graded group with one sample for each reward: positive means correct, nan that the verifier failed."""
    tokens = [(4, 5)] * len(rewards) if lengths is None else [range(1, n + 1) for n in lengths]
    samples = tuple(
        sample(f"{name}/{i}", t, reward=r, correct=r > 0, failed=r != r)
        for i, (r, t) in enumerate(zip(rewards, tokens, strict=True))
    )
    return Group(prompt(name), samples)


def random_batch(
    prompt_lengths: Sequence[int], response_lengths: Sequence[int], *, seed: int = 0, version: int = 0
) -> Batch:
    """A batch of random tokens, advantages and log-probs, scored and with plain token advantages."""
    rng = np.random.default_rng(seed)
    n, tokens = len(prompt_lengths), int(sum(response_lengths))
    batch = Batch(
        input_ids=tuple(
            rng.integers(1, VOCABULARY, p + r) for p, r in zip(prompt_lengths, response_lengths, strict=True)
        ),
        prompt_lengths=np.asarray(prompt_lengths, dtype=np.int64),
        response_lengths=np.asarray(response_lengths, dtype=np.int64),
        group_index=np.arange(n) // 2,
        advantage=rng.normal(size=n).astype(np.float32),
        reward=rng.integers(0, 2, n).astype(np.float32),
        in_loss=np.ones(n, dtype=np.bool_),
        rollout_logp=-rng.exponential(size=tokens).astype(np.float32),
        weight_version=np.full(tokens, version, dtype=np.int64),
        own_context=np.ones(tokens, dtype=np.bool_),
        signals=TokenSignals(
            old_logp=-rng.exponential(size=tokens).astype(np.float32),
            base_logp=-rng.exponential(size=tokens).astype(np.float32),
            js_base=rng.uniform(0, np.log(2), size=tokens).astype(np.float32),
        ),
    )
    return replace(batch, token_advantage=batch.advantage[batch.sequence_of_token])


def rollout_of(groups: Sequence[Group], **changes: object) -> RolloutBatch:
    """The groups as one synchronous round without dropped groups."""
    record = RolloutBatch(
        groups=tuple(groups),
        data_position=len(groups),
        prompts_drawn=len(groups),
        prompts_kept=len(groups),
        rounds=1,
        short_of=0,
        generated_tokens=sum(len(s.token_ids) for g in groups for s in g.samples),
    )
    return replace(record, **changes)


def random_tokens(lengths: Sequence[int], *, seed: int, dtype: torch.dtype = torch.float64) -> LossInput:
    """Tokens of a mini-batch; ratios and advantages are large enough that every clip bound is met."""
    rng = np.random.default_rng(seed)
    total = int(sum(lengths))

    def draw(scale: float) -> torch.Tensor:
        return torch.from_numpy(rng.normal(scale=scale, size=total)).to(dtype)

    old = -draw(1.0).abs() - 0.1
    return LossInput(
        logp=(old + draw(0.4)).requires_grad_(),
        old_logp=old,
        advantage=draw(1.0),
        loss_weight=torch.full((total,), 1.0 / max(total, 1), dtype=dtype),
        sequence=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        rollout_logp=old + draw(0.3),
        base_logp=old + draw(0.5),
    )
