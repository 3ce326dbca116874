"""Stage 8 inside one rank: from the packed batch to gradients, a micro-batch at a time. Pure torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rlvr.advantage.token.apply import check_weights
from rlvr.advantage.token.contract import DeclaredSignals, TokenPlugin, TokenView, inside_update
from rlvr.config import LossConfig
from rlvr.learner.loss import LossInput, LossTerms, k3, old_policy_penalty, policy_loss
from rlvr.learner.packing import MicroBatch, MicroPlan, micro_batch
from rlvr.types import Batch, Floats, StepStats

SUMMED = ("loss", "clip_low", "clip_high", "kl_old", "kl_base")


@dataclass(frozen=True, slots=True)
class TokenOutputs:
    """What a forward pass gives for each token [t], differentiable."""

    logp: Tensor
    entropy: Tensor | None = None
    divergence: Tensor | None = None


Forward = Callable[[MicroBatch], Tensor | TokenOutputs]  # log-probs alone, or more where the loss reads more


@dataclass(frozen=True, slots=True)
class UpdateContext:
    """What all micro-batches of one optimiser update share."""

    loss: LossConfig
    plugin: TokenPlugin
    loss_weights: Floats  # [N] loss.aggregation's weight of each sequence's tokens, from global counts
    ranks: int  # of the learner: DeepSpeed averages their gradients
    device: torch.device
    seed: int
    progress: float  # finished share of the run
    # [N] the same with every loss token alike, for what is logged; None: as `loss_weights`
    metric_weights: Floats | None = None


def accumulate(
    batch: Batch,
    plans: Sequence[MicroPlan],
    forward: Forward,
    backward: Callable[[Tensor], object],
    context: UpdateContext,
) -> list[LossTerms]:
    """Run forward and backward over this rank's micro-batches; gradients add up where `backward` puts them."""
    terms = []
    for plan in plans:
        micro = micro_batch(batch, plan.rows).to(context.device)
        tokens = loss_input(batch, micro, outputs_of(forward, micro), context)
        part = policy_loss(tokens, context.loss)
        if batch.token_penalty is not None:
            coefficient = torch.from_numpy(batch.token_penalty)[micro.token.cpu()].to(context.device)
            part = replace(part, loss=part.loss + old_policy_penalty(tokens, coefficient))
        # DeepSpeed averages gradients over ranks, while our weights already count the tokens of all of them.
        scale = 0.0 if plan.padding else float(context.ranks)
        backward(part.loss * scale)
        if not plan.padding:
            terms.append(part)
    return terms


def outputs_of(forward: Forward, micro: MicroBatch) -> TokenOutputs:
    """What a forward pass gives for the tokens of a micro-batch, log-probs alone among it."""
    found = forward(micro)
    return found if isinstance(found, TokenOutputs) else TokenOutputs(found)


def loss_input(batch: Batch, micro: MicroBatch, outputs: TokenOutputs, context: UpdateContext) -> LossInput:
    """The tokens of one micro-batch with everything the loss reads; a late plug-in weights them here."""
    token, logp = micro.token.cpu(), outputs.logp

    def pick(values: Floats | None) -> Tensor | None:
        return None if values is None else torch.from_numpy(values)[token].to(context.device)

    def of_sequence(values: Floats) -> Tensor:
        return torch.from_numpy(values)[micro.sequence.cpu()].to(context.device)

    old_logp, advantage = pick(batch.signals.old_logp), pick(batch.token_advantage)
    if old_logp is None or advantage is None:
        raise ValueError("the batch must have been scored and given token advantages before an update")
    if inside_update(context.plugin):
        view = _update_view(batch, micro, logp.detach(), old_logp, context)
        weights = context.plugin.weights(view)
        advantage = advantage * check_weights(weights, len(advantage), context.plugin)
    return LossInput(
        logp=logp,
        old_logp=old_logp,
        advantage=advantage,
        loss_weight=of_sequence(context.loss_weights),
        metric_weight=None if context.metric_weights is None else of_sequence(context.metric_weights),
        sequence=micro.sequence,
        rollout_logp=pick(batch.rollout_logp),
        base_logp=pick(batch.signals.base_logp),
        entropy=outputs.entropy,
        divergence=outputs.divergence,
    )


def _update_view(
    batch: Batch, micro: MicroBatch, logp: Tensor, old_logp: Tensor, context: UpdateContext
) -> TokenView:
    """The plug-in's view of one micro-batch, with the signals that exist only now."""
    token, sequence = micro.token.cpu(), micro.sequence.cpu()
    present = batch.signals.present()
    signals = {
        name: torch.from_numpy(present[name])[token].to(context.device)
        for name in context.plugin.requires
        if name in present
    }
    if "kl_old" in context.plugin.requires:
        signals["kl_old"] = k3(old_logp - logp)
    return TokenView(
        signals=DeclaredSignals(context.plugin, signals),
        token_ids=micro.target,
        advantage=torch.from_numpy(batch.advantage)[sequence].to(context.device),
        sequence=micro.sequence,
        position=torch.from_numpy(batch.position_of_token)[token].to(context.device),
        length=torch.from_numpy(batch.response_lengths)[sequence].to(context.device),
        progress=context.progress,
        seed=context.seed,
        in_loss=torch.from_numpy(batch.in_loss)[sequence].to(context.device),
    )


def totals(terms: Sequence[LossTerms], ranks: int, device: torch.device, copies: int = 1) -> dict[str, float]:
    """The logged numbers of an update over all micro-batches and ranks (a collective if there are several).

    `copies` says how many ranks have each micro-batch.
    """
    sums = torch.zeros(len(SUMMED), dtype=torch.float64, device=device)
    largest = torch.zeros(1, dtype=torch.float64, device=device)
    for term in terms:
        sums += torch.stack([getattr(term, name).detach().double() for name in SUMMED])
        largest = torch.maximum(largest, term.ratio_max.detach().double())
    if ranks > 1:
        torch.distributed.all_reduce(sums)
        torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return dict(zip(SUMMED, (sums / copies).tolist(), strict=True)) | {"ratio_max": float(largest)}


def over_updates(reports: Sequence[StepStats]) -> StepStats:
    """The numbers of several updates, at least one, as those of one step."""
    mean = {name: float(np.mean([getattr(r, name) for r in reports])) for name in ("grad_norm", *SUMMED)}
    return StepStats(
        **mean,
        learning_rate=reports[-1].learning_rate,
        ratio_max=max(r.ratio_max for r in reports),
        updates=sum(r.updates for r in reports),
        micro_batches=sum(r.micro_batches for r in reports),
    )
