"""Score one part: run both models over its responses and fill the token table's columns.

Shapes: `t` response tokens of a micro-batch, `T` of the part, `H` hidden size, `V` vocabulary. P is the policy,
Q the base. Full-vocabulary tensors exist for a chunk of tokens at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rlvr.analysis.config import ScoreConfig
from rlvr.analysis.models import CausalLm
from rlvr.analysis.shift.columns import CANDIDATES, OVERLAP_KS
from rlvr.analysis.shift.responses import Response
from rlvr.analysis.side_by_side import at_once, side_by_side
from rlvr.divergence import dist_stats
from rlvr.learner.packing import budget_split

ScoredColumns = dict[str, NDArray[np.generic]]  # column name -> [T] or [T, CANDIDATES]

# Our columns -> names of the divergence call.
STATISTIC = {
    "js": "js",
    "js_top_p": "js_top_p",
    "kl_policy_base": "kl_pq",
    "kl_base_policy": "kl_qp",
    "entropy_policy": "entropy_p",
    "entropy_base": "entropy_q",
    "logp_policy": "logp_p",
    "logp_base": "logp_q",
    "top_policy": "argmax_p",
    "top_base": "argmax_q",
    "top_policy_rank_base": "rank_p_in_q",
    "top_base_rank_policy": "rank_q_in_p",
}
WANT = (*STATISTIC.values(), "lse_p", "lse_q")
# [V] fp32 rows that one token needs at a time: logits of both models, scratch of the statistics.
ROW_BUFFERS = 8


def score_part(
    policy: CausalLm, base: CausalLm, responses: Sequence[Response], cfg: ScoreConfig
) -> ScoredColumns:
    """The scores of every response token, response after response."""
    lengths = np.asarray([len(r.prompt_ids) + len(r.response_ids) for r in responses])
    counts = np.asarray([len(r.response_ids) for r in responses])
    starts = np.cumsum(counts) - counts
    budget = max(cfg.tokens_per_micro_batch, int(lengths.max()))  # one long response may stand alone
    batches = budget_split(lengths, budget)
    scored = [_score_batch(policy, base, [responses[i] for i in rows], cfg) for rows in batches]
    places = [np.arange(starts[i], starts[i] + counts[i]) for rows in batches for i in rows]
    order = np.argsort(np.concatenate(places))
    return {name: np.concatenate([batch[name] for batch in scored])[order] for name in scored[0]}


def _score_batch(
    policy: CausalLm, base: CausalLm, responses: Sequence[Response], cfg: ScoreConfig
) -> ScoredColumns:
    ids = pad_sequence([torch.tensor(r.prompt_ids + r.response_ids) for r in responses], batch_first=True)
    row = torch.tensor([i for i, r in enumerate(responses) for _ in r.response_ids])
    column = torch.tensor([len(r.prompt_ids) + k for r in responses for k in range(len(r.response_ids))])
    ids, row, column = (x.to(policy.device) for x in (ids, row, column))
    whole = side_by_side([partial(model.hidden, ids) for model in (policy, base)], policy.device)
    hidden_p, hidden_q = (hidden[row, column - 1] for hidden in whole)
    target = ids[row, column]
    step = max(1, int(cfg.workspace_mb * 1e6) // (4 * ROW_BUFFERS * policy.vocabulary))
    shares = _shares(len(target), step, at_once(2, policy.device))

    def score(parts: Sequence[slice]) -> list[ScoredColumns]:
        return [_score_tokens(policy, base, hidden_p[k], hidden_q[k], target[k], cfg) for k in parts]

    scored = side_by_side([partial(score, share) for share in shares], policy.device)
    parts = [part for share in scored for part in share]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shares(count: int, most: int, lanes: int) -> list[list[slice]]:
    """The places 0 to `count`, shared out among so many lanes, in parts of at most `most` for all lanes together."""
    share, step = -(-count // lanes), max(1, most // lanes)
    ends = [(start, min(start + share, count)) for start in range(0, count, share)]
    return [[slice(k, min(k + step, end)) for k in range(start, end, step)] for start, end in ends]


@torch.inference_mode()
def _score_tokens(
    policy: CausalLm, base: CausalLm, hidden_p: Tensor, hidden_q: Tensor, target: Tensor, cfg: ScoreConfig
) -> ScoredColumns:
    """The scores of t tokens from the hidden states [t, H] that predict them."""
    x, y = policy.logits(hidden_p), base.logits(hidden_q)
    stats = dist_stats(x, y, target, want=WANT, temperature=cfg.temperature, top_p=cfg.top_p)
    values: dict[str, Tensor] = {name: getattr(stats, statistic) for name, statistic in STATISTIC.items()}
    values["token_id"] = target
    best = {}
    sides = (
        ("policy", x, stats.lse_p, values["top_base"], "top_base_prob_policy"),
        ("base", y, stats.lse_q, values["top_policy"], "top_policy_prob_base"),
    )
    for name, logits, lse, others_top, column in sides:
        assert lse is not None  # it is among WANT
        values[f"rank_{name}"] = (logits > logits.gather(1, target[:, None])).sum(-1) + 1
        values[column] = (logits.gather(1, others_top[:, None])[:, 0] / cfg.temperature - lse).exp()
        likely = logits.topk(min(max(OVERLAP_KS), logits.shape[1]), sorted=True)
        best[name] = likely.indices
        values[f"{name}_ids"] = likely.indices[:, :CANDIDATES]
        values[f"{name}_probs"] = (likely.values[:, :CANDIDATES] / cfg.temperature - lse[:, None]).exp()
    same = best["policy"][:, :, None] == best["base"][:, None, :]
    for k in OVERLAP_KS:
        values[f"overlap_{k}"] = same[:, :k, :k].sum((1, 2))
    return {name: value.cpu().numpy() for name, value in values.items()}
