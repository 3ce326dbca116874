"""Keys and values of prompts that have been read, for the next rule that writes from the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

# Of one model; prompts beyond are read again, since no order of use would favour any of them.
KEPT_BYTES = 1 << 30

Prompt = tuple[int, ...]
# Keys and values of each layer, [h, P, d], P = all but the last token.
Prefix = tuple[tuple[Tensor, Tensor], ...]


class Prefills:
    """The prompts of one model, as long as its weights stay what they are."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: dict[Prompt, Prefix] = {}
        self._left = kept_bytes

    @torch.inference_mode()
    def of(self, model: Any, prompts: Sequence[Prompt]) -> dict[Prompt, Prefix]:
        """Each different prompt of more than one token, with what the model keeps of it."""
        different = [prompt for prompt in dict.fromkeys(prompts) if len(prompt) > 1]
        found = {prompt: self._kept[prompt] for prompt in different if prompt in self._kept}
        if missing := [prompt for prompt in different if prompt not in found]:
            for prompt, prefix in zip(missing, _read(model, missing), strict=True):
                found[prompt] = prefix
                self._keep(prompt, prefix)
        return found

    def _keep(self, prompt: Prompt, prefix: Prefix) -> None:
        size = sum(part.nbytes for layer in prefix for part in layer)
        if size <= self._left:
            self._left -= size
            self._kept[prompt] = tuple((keys.clone(), values.clone()) for keys, values in prefix)


def _read(model: Any, prompts: Sequence[Prompt]) -> list[Prefix]:
    """All but the last token of each prompt, in one forward pass."""
    width = max(map(len, prompts)) - 1
    # Padding on the right under causal attention needs no mask: no token looks to its right.
    ids = torch.tensor([(*prompt[:-1], *[0] * (width + 1 - len(prompt))) for prompt in prompts])
    cache = DynamicCache()
    device = next(model.parameters()).device
    model.base_model(input_ids=ids.to(device), past_key_values=cache, use_cache=True)
    layers: Any = cache.layers  # full-attention layers, which all have keys and values
    return [
        tuple(
            (layer.keys[row, :, : len(prompt) - 1], layer.values[row, :, : len(prompt) - 1])
            for layer in layers
        )
        for row, prompt in enumerate(prompts)
    ]
