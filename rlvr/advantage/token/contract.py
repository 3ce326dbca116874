"""The contract between the loop and a token-advantage plug-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rlvr.types import STEP_SIGNALS, Batch


@dataclass(frozen=True, slots=True)
class TokenView:
    """What a plug-in sees: the tokens of a batch or micro-batch, all [T], none carrying a gradient."""

    signals: dict[str, Tensor]  # exactly the signals that the plug-in requires, by name
    advantage: Tensor  # group advantage of the token's sample
    sequence: Tensor  # index of its sequence
    position: Tensor  # position in the response, from 0
    length: Tensor  # response length of its sequence
    progress: float  # finished share of the training run, 0..1
    seed: int  # differs from step to step, the same in a resumed run


@runtime_checkable
class TokenPlugin(Protocol):
    """Anything with these two members can be named in `advantage.token`."""

    @property
    def requires(self) -> frozenset[str]:
        """Names of the signals that `weights` reads, from `rlvr.types.SIGNALS`."""
        ...

    def weights(self, view: TokenView) -> Tensor:
        """Return [T] finite weights; the token advantage is the group advantage times these."""
        ...


def inside_update(plugin: TokenPlugin) -> bool:
    """Whether the plug-in's signals change during the update, so that it must be evaluated there."""
    return not STEP_SIGNALS.isdisjoint(plugin.requires)


def batch_view(batch: Batch, plugin: TokenPlugin, *, progress: float, seed: int) -> TokenView:
    """The view of a whole scored batch."""
    sequence = batch.sequence_of_token
    present = batch.signals.present()
    return TokenView(
        signals={name: torch.from_numpy(present[name]) for name in plugin.requires},
        advantage=torch.from_numpy(batch.advantage[sequence]),
        sequence=torch.from_numpy(sequence),
        position=torch.from_numpy(batch.position_of_token),
        length=torch.from_numpy(batch.response_lengths[sequence]),
        progress=progress,
        seed=seed,
    )
