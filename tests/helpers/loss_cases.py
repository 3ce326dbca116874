"""Tokens whose loss can be computed by hand, and every combination of the loss's choices."""

from __future__ import annotations

import itertools
import math

import torch

from rlvr.config import LossConfig
from rlvr.learner.loss import LossInput, policy_loss

SUPERVISED = "nll"
OBJECTIVES, RATIOS, KLS = ("clip", "cispo"), ("token", "sequence"), ("off", "k1", "k2", "k3")
EVERY_LOSS = [*itertools.product(OBJECTIVES, RATIOS, KLS), *itertools.product([SUPERVISED], ["token"], KLS)]


def one_token(ratio: float, advantage: float, weight: float = 1.0, **others: torch.Tensor) -> LossInput:
    """A single token with this importance ratio."""
    return LossInput(
        logp=torch.tensor([math.log(ratio) - 1.0], dtype=torch.float64, requires_grad=True),
        old_logp=torch.tensor([-1.0], dtype=torch.float64),
        advantage=torch.tensor([advantage], dtype=torch.float64),
        loss_weight=torch.tensor([weight], dtype=torch.float64),
        sequence=torch.tensor([0]),
        **others,
    )


def gradient(tokens: LossInput, cfg: LossConfig) -> torch.Tensor:
    """d loss / d logp."""
    return torch.autograd.grad(policy_loss(tokens, cfg).loss, tokens.logp)[0]
