"""What an objective is: a pure function of per-token tensors [t], and which tokens its bounds hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossInput:
    """Tokens of one micro-batch. All [t]; `logp`, `entropy` and `divergence` carry a gradient."""

    logp: Tensor  # current policy
    old_logp: Tensor  # policy at the start of the step
    advantage: Tensor  # token advantage, plug-in weights included
    loss_weight: Tensor  # loss.aggregation's weight of the token, 0 outside the loss
    sequence: Tensor  # index of the token's sequence
    rollout_logp: Tensor | None = None  # for rollout correction
    base_logp: Tensor | None = None  # for the KL penalty
    # For what is logged, every loss token alike: 1 / loss tokens of the mini-batch, 0 outside; None: as `loss_weight`
    metric_weight: Tensor | None = None
    entropy: Tensor | None = None  # of the current policy, for the entropy bonus
    divergence: Tensor | None = None  # of the current policy from the base, for distillation


# (tokens, ratio, clipped ratio) -> what is maximised for each token
Surrogate = Callable[[LossInput, Tensor, Tensor], Tensor]
# (tokens, ratio, clipped ratio) -> tokens held at a lower and at an upper bound
HeldTokens = Callable[[LossInput, Tensor, Tensor], tuple[Tensor, Tensor]]
# (below the lower bound, above the upper one, advantage) -> the same
Held = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def held_by_the_minimum(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """The minimum lets a bound hold on one side only."""
    return below & (advantage < 0), above & (advantage > 0)


def held_always(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Both bounds hold whatever the advantage."""
    return below, above


def held_never(below: Tensor, above: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """There are no bounds."""
    return torch.zeros_like(below), torch.zeros_like(above)


@dataclass(frozen=True, slots=True)
class Objective:
    """What is maximised for each token [t], and on which tokens a bound of the ratio holds."""

    surrogate: Surrogate
    held: Held = held_never  # of the tokens outside the clip bounds
    reads_advantages: bool = True  # False: it learns from given answers (rollout.answers) and weighs none
    on_samples: bool = False  # without advantages, but from sampled answers all the same
    held_tokens: HeldTokens | None = None  # in place of `held`, where the clip bounds do not say it all
