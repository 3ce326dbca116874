"""Stage 6: which token statistics a run needs, and how one micro-batch gets them. Pure torch.

Full-vocabulary tensors stay inside `linear_dist_stats`; what comes out is one float a token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from torch import Tensor

from rlvr.advantage.token.contract import TokenPlugin
from rlvr.config import LossConfig
from rlvr.learner.distill import DIVERGENCES
from rlvr.learner.loss import OFF
from rlvr.learner.model.policy import Head, HeadUse, head_stats
from rlvr.learner.packing import MicroBatch
from rlvr.learner.teacher import advises
from rlvr.types import STEP_SIGNALS, Batch, Floats, Ints

# Our names of the signals -> names of the divergence call, where P is the policy and Q the base.
STATISTIC = {
    "old_logp": "logp_p",
    "base_logp": "logp_q",
    "js_base": "js",
    "kl_policy_base": "kl_pq",
    "kl_base_policy": "kl_qp",
    "entropy": "entropy_p",
    "base_entropy": "entropy_q",
}
BASE_SIGNALS = frozenset({"base_logp", "js_base", "kl_policy_base", "kl_base_policy", "base_entropy"})


def needed_signals(plugin: TokenPlugin, loss: LossConfig, logged: Collection[str] = ()) -> frozenset[str]:
    """What the scoring pass must compute: old log-probs and entropy always, signals of the base if somebody
    reads one (JS then comes with them, for the console), the rest on request (`logged`, tracking.signals)."""
    needed = {"old_logp", "entropy"} | (set(plugin.requires) - STEP_SIGNALS) | set(logged)
    if loss.kl != OFF:
        needed.add("base_logp")
    if loss.distill != OFF:
        needed.add(DIVERGENCES[loss.distill].signal)
    if advises(loss):
        needed.add("base_logp")
    if not BASE_SIGNALS.isdisjoint(needed):
        needed.add("js_base")  # the base has been run, so the divergence is almost free and worth showing
    return frozenset(needed)


def needs_base(signals: Collection[str]) -> bool:
    """Whether any of the signals compares with the base model."""
    return not BASE_SIGNALS.isdisjoint(signals)


def token_statistics(
    signals: Collection[str],
    ids: Tensor,
    temperature: float,
    policy: tuple[Tensor, Head],
    base: tuple[Tensor, Head] | None,
    backend: str,
) -> dict[str, Tensor]:
    """The signals [t] of one micro-batch, in nats, from (hidden states [t, H], head) of both models."""
    want = [STATISTIC[name] for name in sorted(signals)]
    stats = head_stats(*policy, ids, want, temperature=temperature, backend=backend, other=base)
    return {name: getattr(stats, STATISTIC[name]) for name in signals}


# A forward pass: hands hidden states [t, H] and head to its second argument while the head is whole.
HeadForward = Callable[[MicroBatch, HeadUse], dict[str, Tensor]]


def score_micro_batch(
    signals: Collection[str],
    micro: MicroBatch,
    temperature: float,
    policy: HeadForward,
    base: HeadForward | None,
    backend: str,
) -> dict[str, Tensor]:
    """The signals [t] of one micro-batch; the base runs inside the policy's forward, so that both heads are whole."""

    def compare(hidden: Tensor, head: Head) -> dict[str, Tensor]:
        def statistics(base: tuple[Tensor, Head] | None) -> dict[str, Tensor]:
            return token_statistics(signals, micro.target, temperature, (hidden, head), base, backend)

        return statistics(None) if base is None else base(micro, lambda *other: statistics(other))

    return policy(micro, compare)


def merge_scores(batch: Batch, parts: list[tuple[Ints, dict[str, Floats]]]) -> Batch:
    """Put the ranks' shares together into the batch's signals.

    Raises:
        RuntimeError: some token was scored by no rank.
    """
    names = parts[0][1].keys()
    merged = {name: np.full(batch.tokens, np.nan, dtype=np.float32) for name in names}
    covered = np.zeros(batch.tokens, dtype=np.bool_)
    for index, values in parts:
        covered[index] = True
        for name in names:
            merged[name][index] = values[name]
    if not covered.all():
        raise RuntimeError(f"{int((~covered).sum())} of {batch.tokens} tokens were scored by no rank")
    return replace(batch, signals=replace(batch.signals, **merged))
