"""High-entropy tokens only: w_t = 1{H_t >= tau}, tau the (1 - share) quantile of the batch's token entropies
(arXiv 2506.01939: DAPO on the 20 % of tokens with the highest entropy).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rlvr.advantage.token.contract import TokenView, require_share, top_share


@dataclass(frozen=True, slots=True)
class HighEntropyMask:
    """The `share` of the batch's loss tokens with the highest entropy keep their gradient.

    The entropy is that of the policy which starts the step, over the whole vocabulary and the whole batch, so
    the choice does not depend on mini-batches. Tokens at the threshold all stay.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        require_share("share", self.share)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"entropy"})

    def weights(self, view: TokenView) -> Tensor:
        """[T] ones and zeros."""
        return top_share(view, view.signals["entropy"], self.share)
