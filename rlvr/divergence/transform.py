"""What some models do to their logits between the output head and the softmax."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class OutputTransform:
    """logits = cap tanh(scale z / cap) of the head's outputs z; without a cap, scale z.

    The scale is that of Cohere and Granite, the soft cap that of Gemma 2 (arXiv 2408.00118, section 2).
    """

    scale: float = 1.0
    cap: float | None = None

    @property
    def is_identity(self) -> bool:
        """Whether logits are what the head puts out."""
        return self.scale == 1.0 and self.cap is None

    def apply_(self, outputs: Tensor) -> Tensor:
        """Turn the head's outputs, of any shape, into logits, in place."""
        if self.scale != 1.0:
            outputs.mul_(self.scale)
        return outputs if self.cap is None else outputs.div_(self.cap).tanh_().mul_(self.cap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d outputs at these logits; one number where it is the same everywhere."""
        if self.cap is None:
            return self.scale
        return logits.div(self.cap).square_().neg_().add_(1.0).mul_(self.scale)


IDENTITY = OutputTransform()
