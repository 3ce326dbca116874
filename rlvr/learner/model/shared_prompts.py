"""One forward pass over the distinct prompts of a micro-batch, then one over the responses that go on from their keys
and values: the samples of a group share their prompt.

Shapes: `B` sequences, `u` distinct prompts, `P` longest prompt, `R` longest response but its last token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlvr.config import Config
from rlvr.learner.model.causal_lm import other_layers
from rlvr.learner.packing import MicroBatch

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def share_prompts_problems(key: str, config: PretrainedConfig, cfg: Config) -> list[str]:
    """Why the prompts of a model cannot be shared among samples; `key` is the setting that named it."""
    if not cfg.learner.share_prompts:
        return []
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return [f"learner.share_prompts=true: {key} brings its own code, which may keep no keys and values"]
    if others := other_layers(config):
        kinds = ", ".join(others)
        return [
            f"learner.share_prompts=true: {key} has layers of the kind {kinds}, which keep no keys and values"
        ]
    return []


@dataclass(frozen=True, slots=True)
class Parts:
    """A micro-batch taken apart: distinct prompts, and what follows them."""

    prompts: Tensor  # [u, P], padded on the left, so that what follows is next to them
    known: Tensor  # [u, P] 1 for a token, 0 for padding
    prompt: Tensor  # [B] which prompt a sequence begins with
    length: Tensor  # [B] of its prompt
    rest: Tensor  # [B, R] responses without their last tokens, padded on the right
    row: Tensor  # [t] sequence of a token, among those that have tokens
    place: Tensor  # [t] of a token in its response


def take_apart(micro: MicroBatch) -> Parts:
    """Find the prompts; sequences without response tokens are left out."""
    rows, row, counts = torch.unique_consecutive(micro.row, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    length = micro.column[first] + 1
    found: dict[tuple[int, ...], int] = {}
    ids, ends = micro.input_ids.tolist(), length.tolist()
    prompt = [
        found.setdefault(tuple(ids[k][:end]), len(found)) for k, end in zip(rows.tolist(), ends, strict=True)
    ]
    width, device = max(ends), micro.input_ids.device
    prompts = torch.tensor([[0] * (width - len(p)) + list(p) for p in found], device=device)
    known = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in found], device=device)
    place = micro.column - length[row] + 1
    rest = torch.zeros(len(rows), int(counts.max()) - 1, dtype=torch.int64, device=device)
    inner = place < counts[row] - 1
    rest[row[inner], place[inner]] = micro.target[inner]
    return Parts(prompts, known, torch.tensor(prompt, device=device), length, rest, row, place)


def shared_hidden(base_model: Any, micro: MicroBatch) -> Tensor | None:
    """[t, H] final hidden states at the positions that predict the response tokens; None where nothing is shared.

    Equal to those of whole sequences up to rounding, gradients too.
    """
    from transformers import DynamicCache

    if len(micro.target) == 0:
        return None
    parts = take_apart(micro)
    if len(parts.prompts) == len(parts.prompt):
        return None
    cache: Any = DynamicCache()
    padded = not bool(parts.known.all())
    last = base_model(
        input_ids=parts.prompts,
        attention_mask=parts.known if padded else None,
        position_ids=(parts.known.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1:]
    hidden = last[parts.prompt]
    if parts.rest.shape[1]:
        cache.batch_select_indices(parts.prompt)
        following = torch.arange(parts.rest.shape[1], device=parts.rest.device)
        output = base_model(
            input_ids=parts.rest,
            attention_mask=torch.cat([parts.known[parts.prompt], torch.ones_like(parts.rest)], dim=1),
            position_ids=parts.length[:, None] + following,
            past_key_values=cache,
            use_cache=True,
        )
        hidden = torch.cat([hidden, output.last_hidden_state], dim=1)
    return hidden[parts.row, parts.place]
