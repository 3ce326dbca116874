"""Feed-forward layers a tile of tokens at a time, so that what they hold does not grow with the length. Pure torch.

Tiled MLP of ALST (arXiv 2506.13996). DeepSpeed's own (`TiledMLP`) takes a number of tiles on which all ranks must
agree, adds their gradients up in the precision of the weights, and by its source (0.19.8) loses them under ZeRO where a
length divides into fewer tiles than it was told; hence ours.

Shapes: `T` tokens of a micro-batch, `H` hidden size.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rlvr.config import Config
from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAMES = ("mlp", "feed_forward")  # of the feed-forward layer in models of transformers
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def has_experts(config: PretrainedConfig) -> bool:
    """Whether a model is a mixture of experts."""
    text = config.get_text_config(decoder=True)
    return any((getattr(text, name, None) or 0) > 1 for name in EXPERTS)


def loses_gradients(cfg: Config) -> bool:
    """Whether tiles would lose gradients of the first layer's adapters.

    DeepSpeed reduces a module that is gathered whole before its backward where its input needs no gradient.
    """
    return cfg.model.lora.rank > 0 and cfg.learner.shards_parameters and not cfg.model.gradient_checkpointing


def tiling_problems(key: str, config: PretrainedConfig, cfg: Config) -> list[str]:
    """Why the feed-forward layers of a model cannot be tiled; `key` is the setting that named it."""
    tile = cfg.learner.mlp_tile_tokens
    if tile and loses_gradients(cfg):
        return [
            f"learner.mlp_tile_tokens={tile} with model.lora.rank={cfg.model.lora.rank} and learner.zero_stage=3: "
            "gradients of the first layer's adapters would be lost; set model.gradient_checkpointing=true"
        ]
    if tile and has_experts(config):
        return [
            f"learner.mlp_tile_tokens={tile}: {key} is a mixture of experts, whose feed-forward layers cannot be "
            "tiled; set it to 0"
        ]
    return []


def tile_feed_forward(lm: Any, tile: int, key: str) -> None:
    """Have every feed-forward layer of a model of transformers compute `tile` tokens at a time, in place.

    Raises:
        ConfigError: not every layer has one that works on each token alone; `key` is the setting that named it.
    """
    found = [module for name, module in lm.named_modules() if name.rpartition(".")[2] in NAMES]
    layers = lm.config.get_text_config(decoder=True).num_hidden_layers
    if len(found) != layers or not all(_by_token(module) and _of_one(module) for module in found):
        raise ConfigError(
            f"learner.mlp_tile_tokens={tile}: {key} ({type(lm).__name__}) does not have a module named "
            f"{' or '.join(NAMES)} of plain linear layers, of the hidden states alone, in each of its {layers} "
            "layers; set it to 0"
        )
    for module in found:
        module.forward = InTiles(module, tile)


def tiled_modules(lm: nn.Module) -> list[nn.Module]:
    """The feed-forward layers that compute in tiles."""
    return [module for module in lm.modules() if isinstance(module.__dict__.get("forward"), InTiles)]


def _by_token(module: nn.Module) -> bool:
    """Whether all its parameters belong to linear layers."""
    from transformers.pytorch_utils import Conv1D

    holders = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    return bool(holders) and all(isinstance(part, nn.Linear | Conv1D) for part in holders)


def _of_one(module: nn.Module) -> bool:
    """Whether its forward pass takes hidden states and nothing else that it needs."""
    needed = [p for p in inspect.signature(module.forward).parameters.values() if p.default is p.empty]
    return len(needed) == 1


class InTiles:
    """The forward pass of a feed-forward layer, a tile of tokens at a time where there are more."""

    def __init__(self, module: nn.Module, tile: int) -> None:
        self._module, self._forward, self._tile = module, module.forward, tile

    def __call__(self, hidden: Tensor) -> Tensor:
        if hidden.shape[:-1].numel() <= self._tile:
            whole: Tensor = self._forward(hidden)
            return whole
        weights = [parameter for parameter in self._module.parameters() if parameter.requires_grad]
        tiled: Tensor = _Tiled.apply(hidden, self._forward, self._tile, *weights)
        return tiled


class _Tiled(torch.autograd.Function):
    """forward(hidden [..., H]) of `tile` tokens at a time; only `hidden` is kept, each tile is computed again."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, forward: Callable[[Tensor], Tensor], tile: int, *weights: Tensor
    ) -> Tensor:
        ctx.save_for_backward(hidden)
        ctx.forward, ctx.tile, ctx.weights = forward, tile, weights
        parts = [forward(part) for part in _in_a_row(hidden).split(tile, dim=1)]
        return torch.cat(parts, dim=1).reshape(*hidden.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Of the weights the sum over tiles, in fp32: in bf16 each addition would round by up to 0.4 %."""
        (hidden,) = ctx.saved_tensors
        tokens = _in_a_row(hidden)
        of_hidden = torch.empty_like(tokens)
        sums: list[Tensor] = []
        slopes, places = _in_a_row(grads[0]).split(ctx.tile, dim=1), of_hidden.split(ctx.tile, dim=1)
        for part, slope, place in zip(tokens.split(ctx.tile, dim=1), slopes, places, strict=True):
            with torch.enable_grad():
                own = part.detach().requires_grad_()
                output = ctx.forward(own)
            of_own, *of_weights = torch.autograd.grad(output, (own, *ctx.weights), slope)
            place.copy_(of_own)
            if sums:
                for total, found in zip(sums, of_weights, strict=True):
                    total.add_(found)
            else:
                sums = [found.float() for found in of_weights]
        summed = [total.to(weight.dtype) for total, weight in zip(sums, ctx.weights, strict=True)]
        return of_hidden.reshape(hidden.shape), None, None, *summed


def _in_a_row(states: Tensor) -> Tensor:
    """[..., H] to [1, T, H]."""
    return states.reshape(1, -1, states.shape[-1])
