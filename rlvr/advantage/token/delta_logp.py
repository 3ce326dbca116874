"""Signed log-probability difference: w_t = 1{d_t >= tau}, d = log pi_old - log pi_base of the sampled token, tau
the (1 - share) quantile of d in the batch.

The signed difference is the measure of arXiv 2603.22117; this mask is the one of its published training code
(github.com/Hesse73/RLVR-Directions, `mask_by: logp`, quantile 0.8). The paper's own training method is
`low_probability`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlvr.advantage.token.contract import TokenView, require_share, top_share


@dataclass(frozen=True, slots=True)
class DeltaLogpMask:
    """The `share` of the batch's loss tokens whose probability has risen most over the base keep their gradient.

    `rising=False` keeps those that have fallen most. Tokens at the threshold all stay: while policy and base
    are equal, every token does.
    """

    share: float = 0.2
    rising: bool = True

    def __post_init__(self) -> None:
        require_share("share", self.share)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"old_logp", "base_logp"})

    def weights(self, view: TokenView) -> Tensor:
        """[T] ones and zeros."""
        difference = view.signals["old_logp"] - view.signals["base_logp"]
        return top_share(view, difference if self.rising else -difference, self.share)
