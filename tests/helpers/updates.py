"""A bigram model, and one update of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rlvr.advantage.token import TokenPlugin
from rlvr.config import LossConfig
from rlvr.learner.packing import MicroBatch, aggregation_weights, plan_micro_batches
from rlvr.learner.update import UpdateContext, accumulate, totals
from rlvr.types import Batch, TokenSignals
from tests.helpers.records import VOCABULARY

CPU = torch.device("cpu")


WIDE = 10_000  # a budget that holds any batch here


class Bigram(torch.nn.Module):
    """A policy small enough for hundreds of examples: the next token depends on the last one."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)
        self.table = torch.nn.Parameter(table)

    def forward(self, micro: MicroBatch) -> torch.Tensor:
        before = micro.input_ids[micro.row, micro.column]
        return torch.log_softmax(self.table[before], dim=-1)[torch.arange(len(before)), micro.target]


def near_policy(batch: Batch, policy: Bigram) -> Batch:
    """The batch as if it had been sampled a few updates ago: ratios around one, some beyond the clip bounds."""
    rng = np.random.default_rng(batch.tokens)
    full = np.concatenate(
        [
            torch.log_softmax(policy.table[torch.from_numpy(ids[p - 1 : -1])], -1)
            .detach()
            .numpy()[np.arange(len(ids) - p), ids[p:]]
            for ids, p in zip(batch.input_ids, batch.prompt_lengths, strict=True)
        ]
    )

    def shifted(scale: float) -> np.ndarray:
        return (full + rng.normal(scale=scale, size=batch.tokens)).astype(np.float32)

    signals = TokenSignals(old_logp=shifted(0.2), base_logp=shifted(0.5))
    return replace(batch, signals=signals, rollout_logp=shifted(0.2))


def update(
    batch: Batch, rows: np.ndarray, loss: LossConfig, plugin: TokenPlugin, *, ranks: int, budget: int
) -> tuple[dict[str, float], torch.Tensor]:
    """The logged totals and the gradient that all ranks together arrive at, as DeepSpeed averages it."""
    policy = Bigram()
    weights = np.zeros(batch.size, dtype=np.float32)
    weights[rows] = aggregation_weights(
        batch.response_lengths[rows], batch.in_loss[rows], loss.aggregation, 16
    )
    terms, gradient = [], torch.zeros_like(policy.table)
    for rank in range(ranks):
        policy.zero_grad()
        context = UpdateContext(loss, plugin, weights, ranks, CPU, seed=0, progress=0.0)
        plans = plan_micro_batches(batch, rows, ranks=ranks, rank=rank, budget=budget)
        terms += accumulate(batch, plans, policy, torch.Tensor.backward, context)
        gradient += policy.table.grad / ranks
    return totals(terms, 1, CPU), gradient
