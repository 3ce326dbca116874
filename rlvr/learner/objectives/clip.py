"""PPO's clipped objective and what bounds it on the side that it leaves open."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.learner.objectives.contract import LossInput, Objective, held_by_the_minimum


def clip_surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
    """min(r A, clip(r) A) (PPO; DAPO, arXiv 2503.14476, eq. 8)."""
    return torch.minimum(ratio * tokens.advantage, clipped * tokens.advantage)


CLIP = Objective(clip_surrogate, held_by_the_minimum)


def dual_clip(ceiling: float = 3.0) -> Objective:
    """max(min(r A, clip(r) A), c A) where A < 0, min(r A, clip(r) A) elsewhere (dual-clip PPO, arXiv 1912.09729).

    `ceiling` is c: tokens to be made rarer push no harder than at the ratio c, however far above it they are. It is
    verl's clip_ratio_c and TRL's delta.

    Raises:
        ConfigError: the ceiling is not greater than 1.
    """
    _check_ceiling(ceiling, "dual_clip")

    def surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
        return _with_ceiling(tokens, clip_surrogate(tokens, ratio, clipped), ceiling)

    def held(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> tuple[Tensor, Tensor]:
        low, high = held_by_the_minimum(ratio < clipped, ratio > clipped, tokens.advantage)
        return low, high | ((ratio > ceiling) & (tokens.advantage < 0))

    return Objective(surrogate, held_tokens=held)


def unbounded_positive(ceiling: float = 3.0) -> Objective:
    """A pi / sg(pi) where A > 0, the dual clip elsewhere (UP-GRPO, arXiv 2607.06987, eq. 15).

    Clipping that is asymmetric by the advantage's sign: tokens to be made likelier have neither importance weight nor
    bound, so that rare ones keep their whole gradient; the others keep both.

    Raises:
        ConfigError: the ceiling is not greater than 1.
    """
    _check_ceiling(ceiling, "unbounded_positive")
    dual = dual_clip(ceiling)
    assert dual.held_tokens is not None
    held_of_dual = dual.held_tokens

    def surrogate(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> Tensor:
        own = torch.exp(tokens.logp - tokens.logp.detach())  # 1, with the gradient of log pi
        return torch.where(
            tokens.advantage > 0, own * tokens.advantage, dual.surrogate(tokens, ratio, clipped)
        )

    def held(tokens: LossInput, ratio: Tensor, clipped: Tensor) -> tuple[Tensor, Tensor]:
        low, high = held_of_dual(tokens, ratio, clipped)
        return low, high & (tokens.advantage <= 0)

    return Objective(surrogate, held_tokens=held)


def _with_ceiling(tokens: LossInput, surrogate: Tensor, ceiling: float) -> Tensor:
    return torch.where(tokens.advantage < 0, torch.maximum(surrogate, ceiling * tokens.advantage), surrogate)


def _check_ceiling(ceiling: float, name: str) -> None:
    if not ceiling > 1:
        raise ConfigError(
            f"loss.options.ceiling={ceiling} of {name}: must be greater than 1, the ratio of a policy that has not "
            "moved; 3 is usual"
        )
