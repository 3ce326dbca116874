"""SAPO: a smooth gate in place of the clip."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.learner.objectives.contract import LossInput, Objective, held_never


def sapo(tau_positive: float = 1.0, tau_negative: float = 1.05) -> Objective:
    """4 / tau sigmoid(tau (r - 1)) A, tau = tau_positive where A > 0, else tau_negative (arXiv 2511.20347).

    The gradient's factor is r at r = 1 and falls smoothly on both sides; a larger tau narrows the gate.

    Raises:
        ConfigError: a tau is not greater than 0.
    """
    if not (tau_positive > 0 and tau_negative > 0):
        raise ConfigError(
            f"loss.options.tau_positive={tau_positive}, loss.options.tau_negative={tau_negative} of sapo: both must "
            "be greater than 0"
        )

    def surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
        positive, negative = (ratio.new_tensor(tau) for tau in (tau_positive, tau_negative))
        tau = torch.where(tokens.advantage > 0, positive, negative)
        return 4 / tau * torch.sigmoid(tau * (ratio - 1)) * tokens.advantage

    return Objective(surrogate, held_never)
