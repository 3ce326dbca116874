"""Plug-ins as a user might write them, named by dotted path in the tests; some are wrong on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.advantage.token import TokenView
from rlvr.learner.loss import LossInput, Objective


@dataclass(frozen=True)
class Ramp:
    """Weights that grow with the position in the response."""

    slope: float = 1.0
    requires = frozenset({"entropy"})

    def weights(self, view: TokenView) -> torch.Tensor:
        return 1 + self.slope * view.position / view.length


class Faulty:
    """Returns whatever it was built with."""

    requires: frozenset[str] = frozenset()

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def weights(self, view: TokenView) -> object:
        return self.answer


class UnknownSignal:
    """Asks for a signal that nobody computes."""

    requires = frozenset({"surprise"})

    def weights(self, view: TokenView) -> torch.Tensor:
        return torch.ones_like(view.advantage)


class NoWeights:
    """Forgets `weights`."""

    requires: frozenset[str] = frozenset()


def one_number(tokens: LossInput, ratio: torch.Tensor, clipped: torch.Tensor) -> torch.Tensor:
    """A sum where one number for each token is expected."""
    return (ratio * tokens.advantage).sum()


summed_up = Objective(one_number)
