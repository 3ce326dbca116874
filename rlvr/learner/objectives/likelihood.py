"""Objectives whose gradient is that of the log-probability, times a constant."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.learner.objectives.contract import LossInput, Objective, held_always, held_never


def cispo_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """sg(clip(r)) A log pi (CISPO, arXiv 2506.13585, eq. 4)."""
    return clipped.detach() * tokens.advantage * tokens.logp


def gpg_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """A log pi, without ratio and bounds: the plain policy gradient (GPG, arXiv 2504.02546, eq. 5).

    The paper's advantages are those of advantage.estimator=gpg.
    """
    return tokens.advantage * tokens.logp


def nll_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """log pi, advantages ignored: supervised learning on given answers."""
    return tokens.logp


def no_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """0: what is learned is in the other terms of the loss."""
    return torch.zeros_like(tokens.logp)


CISPO = Objective(cispo_surrogate, held_always)
GPG = Objective(gpg_surrogate, held_never)
NLL = Objective(nll_surrogate, held_never, reads_advantages=False)
NONE = Objective(no_surrogate, held_never, reads_advantages=False, on_samples=True)
