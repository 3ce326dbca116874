"""A token weighting of one's own: tokens at which the policy hesitates count more, and more so as training goes on.

    python -m rlvr.train recipe=dapo advantage.token=own_plugin:EntropyRamp
    python -m rlvr.train recipe=dapo advantage.token=own_plugin:EntropyRamp +advantage.options.strength=0.5

The token advantage is the group advantage times w_t = 1 + strength x progress x (h_t - 1/2), where h_t in [0, 1] is the
rank of the token's entropy among the tokens of the batch that are in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.advantage.token import TokenView
from rlvr.errors import ConfigError


@dataclass(frozen=True)
class EntropyRamp:
    """A plug-in is a dataclass of its options with `requires` and `weights`."""

    strength: float = 1.0  # advantage.options.strength; at 2 a weight can reach 0
    requires = frozenset({"entropy"})  # computed because it is named here; see rlvr.types.TokenSignals

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 2:
            raise ConfigError(f"advantage.options.strength={self.strength}: must lie in 0..2")

    def weights(self, view: TokenView) -> torch.Tensor:
        """[T] weights from [T] entropies; nothing here carries a gradient."""
        entropy = view.signals["entropy"]
        marks = view.counted(entropy).sort().values
        rank = torch.searchsorted(marks, entropy) / max(len(marks) - 1, 1)
        return 1 + self.strength * view.progress * (rank.clamp(max=1) - 0.5)
