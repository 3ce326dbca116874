"""Stage 7 of the loop: per-token advantage from per-token divergence."""

from __future__ import annotations

from dataclasses import replace

import torch

from rlvr.advantage.token.contract import TokenPlugin, batch_view, inside_update
from rlvr.errors import RlvrError
from rlvr.types import Batch


class PluginError(RlvrError):
    """A plug-in returned something that cannot weight advantages."""


def check_weights(weights: torch.Tensor, tokens: int, plugin: TokenPlugin) -> torch.Tensor:
    """Return the weights detached in fp32.

    Raises:
        PluginError: not a tensor, the wrong shape, or a value that is not finite.
    """
    name = type(plugin).__name__
    if not isinstance(weights, torch.Tensor):
        raise PluginError(
            f"plug-in {name}: weights(view) returned a {type(weights).__name__}, expected a tensor ({tokens},)"
        )
    if tuple(weights.shape) != (tokens,):
        raise PluginError(f"plug-in {name}: weights of shape {tuple(weights.shape)}, expected ({tokens},)")
    weights = weights.detach().float()
    if not torch.isfinite(weights).all():
        bad = int((~torch.isfinite(weights)).sum())
        raise PluginError(f"plug-in {name}: {bad} of {tokens} weights are NaN or infinite")
    return weights


def token_advantage(
    batch: Batch, plugin: TokenPlugin, *, normalize: bool, progress: float, seed: int
) -> Batch:
    """Return the batch with `token_advantage` [T] = group advantage x weight (and the weights beside it).

    A plug-in that is evaluated inside the update leaves plain group advantages here. `normalize` scales the
    weights to mean one over the batch's loss tokens.

    Raises:
        PluginError: the plug-in's weights have the wrong shape or are not finite.
    """
    advantage = batch.advantage[batch.sequence_of_token]
    if inside_update(plugin):
        return replace(batch, token_advantage=advantage)
    view = batch_view(batch, plugin, progress=progress, seed=seed)
    weights = check_weights(plugin.weights(view), batch.tokens, plugin).numpy()
    if normalize:
        counted = weights[batch.in_loss[batch.sequence_of_token]]
        mean = counted.mean() if len(counted) else 1.0
        if abs(mean) < 1e-8:
            raise PluginError(
                f"plug-in {type(plugin).__name__}: advantage.normalize needs weights with a mean other than 0"
            )
        weights = weights / mean
    return replace(batch, token_weight=weights, token_advantage=advantage * weights)
