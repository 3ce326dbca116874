"""GMPO: the geometric mean of a sequence's clipped token ratios."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.learner.objectives.contract import LossInput, Objective, held_by_the_minimum
from rlvr.learner.sequences import sequence_mean


def gmpo_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """A prod_u rho_u^(1 / |o|), rho the ratio clipped on the side that its advantage's sign opens (GMPO, arXiv
    2507.20673): min(r, 1 + clip_high) where A > 0, max(r, 1 - clip_low) where A < 0.

    Every token of a sequence has the sequence's ratio; with loss.aggregation=sequence_mean and one advantage a
    sequence the loss is the paper's. Its bounds are exp(-0.4) and exp(0.4).
    """
    held = torch.where(tokens.advantage > 0, torch.minimum(ratio, clipped), torch.maximum(ratio, clipped))
    return tokens.advantage * torch.exp(sequence_mean(torch.log(held), tokens.sequence))


GMPO = Objective(gmpo_surrogate, held_by_the_minimum)
