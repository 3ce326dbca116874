"""Tokens whose loss can be computed by hand, and every combination of the loss's choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch

from rlvr.config import LossConfig
from rlvr.learner.loss import LossInput, policy_loss

SUPERVISED = "nll"
RATIOS, KLS = ("token", "sequence", "sequence_joint"), ("off", "k1", "k2", "k3")


def clip(r: float, a: float, logp: float, old: float, low: float, high: float) -> float:
    return min(r * a, min(max(r, low), high) * a)


def dual_clip(r: float, a: float, logp: float, old: float, low: float, high: float) -> float:
    return max(clip(r, a, logp, old, low, high), 3.0 * a) if a < 0 else clip(r, a, logp, old, low, high)


def dppo(moved: float, allowed: float, r: float, a: float, logp: float, old: float) -> float:
    """Beyond the threshold what would move on in the same direction is left out."""
    widens = (a > 0 and logp > old) or (a <= 0 and logp <= old)
    return 0.0 if moved > allowed and widens else min(r, 20.0) * a * logp


def dppo_tv(r: float, a: float, logp: float, old: float, low: float, high: float) -> float:
    return dppo(abs(math.exp(logp) - math.exp(old)), 0.2, r, a, logp, old)


def dppo_kl(r: float, a: float, logp: float, old: float, low: float, high: float) -> float:
    p, q = math.exp(old), math.exp(logp)
    return dppo(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)), 0.05, r, a, logp, old)


# (ratio, advantage, log-prob, old log-prob, 1 - clip_low, 1 + clip_high) -> what is maximised, as published
PUBLISHED: dict[str, Callable[[float, float, float, float, float, float], float]] = {
    "clip": clip,
    "dual_clip": dual_clip,
    "unbounded_positive": lambda r, a, *rest: a if a > 0 else dual_clip(r, a, *rest),
    "cispo": lambda r, a, logp, old, low, high: min(max(r, low), high) * a * logp,
    "gpg": lambda r, a, logp, old, low, high: a * logp,
    "sapo": lambda r, a, *rest: a * 4 / (t := 1.0 if a > 0 else 1.05) / (1 + math.exp(-t * (r - 1))),
    "dppo_tv": dppo_tv,
    "dppo_kl": dppo_kl,
}
OF_SEQUENCE = "gmpo"  # the objective that has no form of a single token
OBJECTIVES = (*PUBLISHED, OF_SEQUENCE)
EVERY_LOSS = [
    *itertools.product(PUBLISHED, RATIOS, KLS),
    *itertools.product([SUPERVISED, OF_SEQUENCE], ["token"], KLS),
]


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
