"""On-policy distillation: the exact divergence of the policy from a teacher, the base, as a loss. Pure torch.

Shapes: `t` response tokens, `H` hidden size of a model, `V` vocabulary. Full-vocabulary tensors exist for a chunk of
tokens at a time, as in `rlvr.learner.model.policy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr.divergence.linear import gemm
from rlvr.learner.model.policy import Head, HeadUse, PolicyModel, head_gradients, head_stats
from rlvr.learner.packing import MicroBatch

HALF = 0.6931471805599453  # log 2
COPIES = 6  # of a chunk's logits in backward, where the log-prob has one: as many chunks, so that both take the same


def _reverse_slope(logp: Tensor, logq: Tensor) -> Tensor:
    """d KL(p || q) / d logits = p (log p/q - KL)."""
    p = logp.exp()
    gap = logp.sub_(logq)
    return gap.sub_((p * gap).sum(-1, keepdim=True)).mul_(p)


def _forward_slope(logp: Tensor, logq: Tensor) -> Tensor:
    """d KL(q || p) / d logits = p - q."""
    return logp.exp_().sub_(logq.exp_())


def _js_slope(logp: Tensor, logq: Tensor) -> Tensor:
    """d JS / d logits = 1/2 p (log p/m - KL(p || m)), m = (p + q) / 2."""
    p = logp.exp()
    gap = logp.sub_(torch.logaddexp(logp, logq).sub_(HALF))
    return gap.sub_((p * gap).sum(-1, keepdim=True)).mul_(p).div_(2)


@dataclass(frozen=True, slots=True)
class Divergence:
    """One divergence of policy p from teacher q."""

    statistic: str  # of rlvr.divergence
    signal: str  # of rlvr.types.TokenSignals: what the scoring pass logs of it
    # (log p, log q) [r, V], may be overwritten -> d / d logits of p
    slope: Callable[[Tensor, Tensor], Tensor]


# arXiv 2306.13649 (GKD), section 3: on-policy samples under each of these.
DIVERGENCES: dict[str, Divergence] = {
    "reverse_kl": Divergence("kl_pq", "kl_policy_base", _reverse_slope),
    "forward_kl": Divergence("kl_qp", "kl_base_policy", _forward_slope),
    "js": Divergence("js", "js_base", _js_slope),
}


class LinearLogpDivergence(torch.autograd.Function):
    """`LinearLogp`, and D(P, Q) [t] over the whole vocabulary, Q the teacher, which has no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        ids: Tensor,
        temperature: float,
        backend: str,
        policy: Head,
        teacher_hidden: Tensor,
        teacher: Head,
        kind: str,
    ) -> tuple[Tensor, Tensor]:
        stats = head_stats(
            hidden,
            Head(weight, policy.transform),
            ids,
            ("logp_p", "lse_p", "lse_q", DIVERGENCES[kind].statistic),
            temperature=temperature,
            backend=backend,
            other=(teacher_hidden, teacher),
        )
        assert stats.logp_p is not None  # it was asked for
        ctx.save_for_backward(hidden, weight, ids, stats.lse_p, stats.lse_q, teacher_hidden, teacher.weight)
        ctx.temperature, ctx.kind = temperature, kind
        ctx.transforms = policy.transform, teacher.transform
        return stats.logp_p, getattr(stats, DIVERGENCES[kind].statistic)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """The slopes of log-prob and divergence along the policy's logits, chunk by chunk."""
        hidden, weight, ids, lse_p, lse_q, teacher_hidden, teacher_weight = ctx.saved_tensors
        transform, of_teacher = ctx.transforms
        of_logp, of_divergence = grads[0] / ctx.temperature, grads[1] / ctx.temperature

        def of_chunk(logits: Tensor, part: slice) -> Tensor:
            logp = logits.div_(ctx.temperature).sub_(lse_p[part, None])
            logq = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
            gemm(teacher_hidden[part], teacher_weight, logq)
            of_teacher.apply_(logq).div_(ctx.temperature).sub_(lse_q[part, None])
            grad_logits = logp.exp().mul_(-of_logp[part, None])
            grad_logits[torch.arange(len(grad_logits), device=ids.device), ids[part]] += of_logp[part]
            slope = DIVERGENCES[ctx.kind].slope(logp, logq)
            return grad_logits.add_(slope.mul_(of_divergence[part, None]))

        gradients = head_gradients(hidden, weight, transform, of_chunk, ctx.needs_input_grad[1], share=COPIES)
        return *gradients, *(None,) * 7


def with_teacher(
    policy: PolicyModel, teacher: Callable[[MicroBatch, HeadUse], Any], micro: MicroBatch, kind: str
) -> HeadUse:
    """For the policy's `forward`: log-probs [t] of the response tokens and their divergences [t] from the teacher.

    The teacher runs inside it, so that both heads are whole.
    """

    def compare(hidden: Tensor, head: Head) -> Any:
        def of_both(teacher_hidden: Tensor, teacher_head: Head) -> Any:
            return LinearLogpDivergence.apply(
                hidden,
                head.weight,
                micro.target,
                policy.temperature,
                policy.divergence_backend,
                head,
                teacher_hidden.detach(),
                Head(teacher_head.weight.detach(), teacher_head.transform),
                kind,
            )

        return teacher(micro, of_both)

    return compare
