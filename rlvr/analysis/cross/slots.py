"""A model with a key-value cache of slots: each row has its own length, rows come and go in between steps.

Keys and values of prompts that have been read are kept for the next rule that writes from the same prompts.

Occupied slots are always the first n. Removing rows moves later ones into the gaps, so that a step works on
views of the cache and nothing is copied. Shapes: n rows, h key-value heads, L columns in use, d head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

COLUMNS = 64  # the cache grows by at least so many columns
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
                size = sum(part.nbytes for layer in prefix for part in layer)
                if size <= self._left:
                    self._left -= size
                    self._kept[prompt] = tuple((keys.clone(), values.clone()) for keys, values in prefix)
        return found


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


class _Columns:
    """Where the current step writes, shared by all layers."""

    def __init__(self) -> None:
        self.rows = torch.zeros(0, dtype=torch.int64)  # [n] 0..n-1
        self.write = torch.zeros(0, dtype=torch.int64)  # [n] column of each row's new token
        self.length = 0  # L


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, [slots, h, capacity, d], zero where nothing was written.

    Zero and not uninitialised: masked columns still enter a product, and 0 * NaN is NaN.
    """

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, slots: int, columns: _Columns) -> None:
        super().__init__()
        self._slots = slots
        self._columns = columns

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys = key_states.new_zeros(self._slots, key_states.shape[1], 0, key_states.shape[3])
        self.values = value_states.new_zeros(self._slots, value_states.shape[1], 0, value_states.shape[3])
        self.is_initialized = True

    def reserve(self, key_states: Tensor, value_states: Tensor, length: int) -> None:
        """Make room for `length` columns."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        missing = length - self.keys.shape[2]
        if missing > 0:
            extra = max(missing, COLUMNS, self.keys.shape[2] // 2)
            self.keys = nn.functional.pad(self.keys, (0, 0, 0, extra))
            self.values = nn.functional.pad(self.values, (0, 0, 0, extra))

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one column for each row, [n, h, 1, d], and return the views [n, h, L, d]."""
        at = self._columns
        self.reserve(key_states, value_states, at.length)
        self.keys[at.rows, :, at.write] = key_states[:, :, 0]
        self.values[at.rows, :, at.write] = value_states[:, :, 0]
        n = len(at.rows)
        return self.keys[:n, :, : at.length], self.values[:n, :, : at.length]

    def admit(self, key_states: Tensor, value_states: Tensor, slots: Tensor) -> None:
        """Copy the prefix of a prompt, [h, P, d], into each of the slots."""
        width = key_states.shape[1]
        self.reserve(key_states[None], value_states[None], width)
        self.keys[slots, :, :width] = key_states
        self.values[slots, :, :width] = value_states

    def move(self, source: Tensor, target: Tensor, length: int) -> None:
        """Copy slots `source` to slots `target`."""
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._columns.length, 0

    def get_seq_length(self) -> int:
        return self._columns.length

    def get_max_length(self) -> int:
        return -1


class SlotModel:
    """A causal LM that decodes one token at a time for up to `slots` responses of different lengths."""

    def __init__(self, model: Any, slots: int, prefills: Prefills | None = None) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self._prefills = prefills if prefills is not None else Prefills(kept_bytes=0)
        self._columns = _Columns()
        depth = model.config.get_text_config(decoder=True).num_hidden_layers
        self._layers = [SlotLayer(slots, self._columns) for _ in range(depth)]
        self._cache = Cache(layers=list(self._layers))

    @torch.inference_mode()
    def admit(self, prompts: Sequence[Prompt], first: int) -> None:
        """Fill the slots from `first` on with all but the last token of each prompt; equal prompts run once.

        The columns behind a prompt are masked until the response overwrites them.
        """
        slots: dict[Prompt, list[int]] = {}
        for place, prompt in enumerate(prompts):
            slots.setdefault(prompt, []).append(first + place)
        for prompt, prefix in self._prefills.of(self.model, prompts).items():
            places = torch.tensor(slots[prompt], device=self.device)
            for layer, (keys, values) in zip(self._layers, prefix, strict=True):
                layer.admit(keys, values, places)

    @torch.inference_mode()
    def step(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return the next-token logits [n, V] after `tokens` [n] at `positions` [n] of the first n slots."""
        n, length = len(tokens), int(positions.max()) + 1
        at = self._columns
        at.rows = torch.arange(n, device=self.device)
        at.write, at.length = positions.to(self.device), length
        # Bias instead of a boolean mask: every attention implementation takes it.
        seen = torch.arange(length, device=self.device) <= at.write[:, None]
        bias = torch.zeros(seen.shape, dtype=self.model.dtype, device=self.device)
        bias.masked_fill_(~seen, torch.finfo(self.model.dtype).min)
        output = self.model(
            input_ids=tokens.to(self.device)[:, None],
            position_ids=at.write[:, None],
            attention_mask=bias[:, None, None, :],
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.logits[:, -1]

    @torch.inference_mode()
    def move(self, source: Tensor, target: Tensor) -> None:
        """Move rows into other slots."""
        for layer in self._layers:
            layer.move(source.to(self.device), target.to(self.device), self._columns.length)
