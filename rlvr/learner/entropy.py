"""The weight of the entropy bonus, fixed or led by the policy's entropy. Pure; every rank derives the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlvr.config import LossConfig
from rlvr.types import Batch


@dataclass(frozen=True, slots=True)
class EntropyControl:
    """Adaptive entropy control (Skywork-OR1, arXiv 2505.22312); without a target a constant.

    At step k with entropy e_k the bonus weighs alpha_k = c_k where e_k <= target, else 0; c_{k+1} = c_k + step where
    e_k < target, c_k - step where e_k > target. Ours never lets c fall below 0, where the bonus would turn about.
    """

    coefficient: float  # c, of the next step
    target: float | None  # nats, mean over the tokens in the loss; None: fixed
    step: float
    applied: float  # alpha, of the step under way

    @classmethod
    def start(cls, cfg: LossConfig) -> EntropyControl:
        """As it is before the first step."""
        return cls(cfg.entropy_coef, cfg.entropy_target, cfg.entropy_step, cfg.entropy_coef)

    def at(self, coefficient: float) -> EntropyControl:
        """The same, with this coefficient."""
        return replace(self, coefficient=coefficient)

    def after(self, batch: Batch) -> EntropyControl:
        """The control once it has seen the entropies of a step's batch, for that step's updates.

        Raises:
            ValueError: the batch has not been scored.
        """
        if self.target is None:
            return self
        if batch.signals.entropy is None:
            raise ValueError("loss.entropy_target needs the entropies of the batch")
        counted = batch.in_loss[batch.sequence_of_token]
        if not counted.any():
            return self
        entropy = float(batch.signals.entropy[counted].mean(dtype="float64"))
        applied = self.coefficient if entropy <= self.target else 0.0
        change = self.step * ((entropy < self.target) - (entropy > self.target))
        return replace(self, coefficient=max(0.0, self.coefficient + change), applied=applied)

    def applied_to(self, loss: LossConfig) -> LossConfig:
        """The loss's configuration with the weight of the step under way."""
        return loss if self.target is None else replace(loss, entropy_coef=self.applied)

    @property
    def logged(self) -> float | None:
        """The weight of the step under way; None where there is no bonus."""
        return None if self.target is None and self.applied == 0 else self.applied
