"""The contract between the loop and a token-advantage plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor

from rlvr.errors import ConfigError, PluginError
from rlvr.types import SIGNALS, STEP_SIGNALS, Batch


class DeclaredSignals(dict[str, Tensor]):
    """The signals that a plug-in declared; a name that it did not is refused in a sentence."""

    def __init__(self, plugin: TokenPlugin, found: Mapping[str, Tensor]) -> None:
        super().__init__(found)
        self._plugin = plugin

    def __missing__(self, name: str) -> Tensor:
        declared = ", ".join(sorted(self._plugin.requires)) or "nothing"
        remedy = f"add it to `requires` (now {declared})"
        if name not in SIGNALS:
            remedy = f"there is no such signal, only {', '.join(sorted(SIGNALS))}"
        raise PluginError(
            f"plug-in {type(self._plugin).__name__}: reads view.signals[{name!r}], which it does not declare; {remedy}"
        )

    def get(self, name: str, default: object = None) -> Any:
        """As `[name]`: a default would hide that the signal has not been computed."""
        return self[name]


@dataclass(frozen=True, slots=True)
class TokenView:
    """What a plug-in sees: the tokens of a batch or micro-batch, all [T], none carrying a gradient."""

    signals: Mapping[str, Tensor]  # exactly the signals that the plug-in requires, by name
    token_ids: Tensor  # id of the response token that was sampled, int64
    advantage: Tensor  # group advantage of the token's sample
    sequence: Tensor  # index of its sequence
    position: Tensor  # position in the response, from 0
    length: Tensor  # response length of its sequence
    progress: float  # finished share of the training run, 0..1
    seed: int  # differs from step to step, the same in a resumed run
    # False where overlong filtering or a failed verifier takes the token out; None: all count
    in_loss: Tensor | None = None

    def counted(self, values: Tensor) -> Tensor:
        """The values ([T]) of the tokens in the loss: what statistics of a batch are taken over."""
        return values if self.in_loss is None else values[self.in_loss]


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


class PenaltyPlugin(TokenPlugin, Protocol):
    """A plug-in that also penalises leaving the policy which starts the step, on tokens of its choice."""

    def penalty(self, view: TokenView) -> Tensor:
        """Return [T] coefficients, none negative; the loss adds them times |log pi - log pi_old|.

        Called once for the whole scored batch, so such a plug-in cannot require a signal of the update.
        """
        ...


def has_penalty(plugin: TokenPlugin) -> TypeGuard[PenaltyPlugin]:
    """Whether the plug-in adds a penalty to the loss besides weighting advantages."""
    return callable(getattr(plugin, "penalty", None))


def require_share(option: str, share: float) -> None:
    """Check an option that is a share of the tokens.

    Raises:
        ConfigError: not greater than 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"advantage.options.{option}={share}: must be greater than 0 and at most 1")


def top_share(view: TokenView, values: Tensor, share: float) -> Tensor:
    """[T] 1 for the `share` of the tokens in the loss with the largest values (ties at the border too), else 0."""
    counted = view.counted(values)
    if len(counted) == 0:
        return torch.ones_like(values)
    kept = max(1, round(share * len(counted)))
    return (values >= torch.topk(counted, kept).values[-1]).to(values.dtype)


def inside_update(plugin: TokenPlugin) -> bool:
    """Whether the plug-in's signals change during the update, so that it must be evaluated there."""
    return not STEP_SIGNALS.isdisjoint(plugin.requires)


def batch_view(batch: Batch, plugin: TokenPlugin, *, progress: float, seed: int) -> TokenView:
    """The view of a whole scored batch."""
    sequence = batch.sequence_of_token
    present = batch.signals.present()
    return TokenView(
        # copies, so that a plug-in that works in place changes nothing but its own view
        signals=DeclaredSignals(plugin, {name: torch.tensor(present[name]) for name in plugin.requires}),
        token_ids=torch.from_numpy(batch.response_ids),
        advantage=torch.from_numpy(batch.advantage[sequence]),
        sequence=torch.from_numpy(sequence),
        position=torch.from_numpy(batch.position_of_token),
        length=torch.from_numpy(batch.response_lengths[sequence]),
        progress=progress,
        seed=seed,
        in_loss=torch.from_numpy(batch.in_loss[sequence]),
    )
