"""Stage 7 of the loop: the advantage of each token, its sample's times the plug-in's weight."""

from __future__ import annotations

from dataclasses import replace

import torch

from rlvr.advantage.token.contract import TokenPlugin, TokenView, batch_view, has_penalty, inside_update
from rlvr.errors import PluginError
from rlvr.types import Batch, Floats


def check_weights(
    weights: torch.Tensor, tokens: int, plugin: TokenPlugin, what: str = "weights"
) -> torch.Tensor:
    """Return what the plug-in's method `what` gave, detached in fp32.

    Raises:
        PluginError: not a tensor, the wrong shape, or a value that is not finite.
    """
    name = type(plugin).__name__
    if not isinstance(weights, torch.Tensor):
        raise PluginError(
            f"plug-in {name}: {what}(view) returned a {type(weights).__name__}, expected a tensor ({tokens},)"
        )
    if tuple(weights.shape) != (tokens,):
        raise PluginError(f"plug-in {name}: {what} of shape {tuple(weights.shape)}, expected ({tokens},)")
    weights = weights.detach().float()
    if not torch.isfinite(weights).all():
        bad = int((~torch.isfinite(weights)).sum())
        raise PluginError(f"plug-in {name}: {bad} of {tokens} {what} are NaN or infinite")
    return weights


def penalty_coefficients(plugin: TokenPlugin, view: TokenView, tokens: int) -> Floats | None:
    """[T] coefficients of the penalty on leaving the old policy, None if the plug-in has none.

    Raises:
        PluginError: as for weights, or a coefficient is negative.
    """
    if not has_penalty(plugin):
        return None
    found = check_weights(plugin.penalty(view), tokens, plugin, "penalty").numpy()
    if (found < 0).any():
        raise PluginError(
            f"plug-in {type(plugin).__name__}: {int((found < 0).sum())} of {tokens} penalty coefficients are "
            "negative, which would reward leaving the old policy"
        )
    return found


def token_advantage(
    batch: Batch, plugin: TokenPlugin, *, normalize: bool, progress: float, seed: int
) -> Batch:
    """Return the batch with `token_advantage` [T] = group advantage x weight, the weights and the penalty.

    A plug-in that is evaluated inside the update leaves plain group advantages here. `normalize` scales the
    weights to mean one over the batch's loss tokens.

    Raises:
        PluginError: the plug-in's weights or penalty have the wrong shape or cannot be used.
    """
    advantage = batch.advantage[batch.sequence_of_token]
    if inside_update(plugin):
        return replace(batch, token_advantage=advantage)
    view = batch_view(batch, plugin, progress=progress, seed=seed)
    weights = check_weights(plugin.weights(view), batch.tokens, plugin).numpy()
    if normalize:
        counted = weights[batch.in_loss[batch.sequence_of_token]]
        mean = counted.mean() if len(counted) else 1.0
        if mean < 1e-8:
            raise PluginError(
                f"plug-in {type(plugin).__name__}: advantage.normalize needs weights with a mean above 0"
            )
        weights = weights / mean
    return replace(
        batch,
        token_weight=weights,
        token_advantage=advantage * weights,
        token_penalty=penalty_coefficients(plugin, view, batch.tokens),
    )
