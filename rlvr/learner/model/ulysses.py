"""Sequence parallelism (Ulysses, arXiv 2309.14509): several ranks share the tokens of each sequence. Pure torch.

Every rank has every n-th column of a micro-batch. Around attention the ranks exchange tokens for heads, so that each
attends over whole sequences with its share of the heads; the rest of a model works on tokens alone. Columns are dealt
out in turn, not in blocks, so that prompts, responses and padding are spread evenly, and with them the head's work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import distributed as dist

from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import other_layers
from rlvr.learner.packing import MicroBatch, sequence_shard
from rlvr.learner.update import Forward, TokenOutputs, outputs_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BY_LENGTH = ("dynamic", "longrope")  # rotary embeddings that depend on the longest position that a rank sees


def sequence_parallel_problems(key: str, config: PretrainedConfig, cfg: Config) -> list[str]:
    """Why the sequences of a model cannot be shared among ranks; `key` is the setting that named it."""
    ranks = cfg.learner.sequence_parallel
    if ranks == 1:
        return []
    text = config.get_text_config(decoder=True)
    said, found = f"learner.sequence_parallel={ranks}: {key} has", []
    heads = getattr(text, "num_attention_heads", 0) or 0
    shared = getattr(text, "num_key_value_heads", None) or heads
    if not heads_divide(heads, shared, ranks):
        fitting = [n for n in range(1, max(heads, 1) + 1) if heads_divide(heads, shared, n)]
        found.append(
            f"{said} {heads} attention heads and {shared} of keys and values, which {ranks} ranks cannot share evenly; "
            f"use one of {fitting}"
        )
    if cfg.model.attention == "eager":
        found.append(
            f"learner.sequence_parallel={ranks} with model.attention=eager: it needs a mask over whole sequences; use "
            "sdpa or flash_attention_2"
        )
    if others := other_layers(config):
        found.append(f"{said} layers of the kind {', '.join(others)}, which mix tokens outside attention")
    window = getattr(text, "sliding_window", None)
    if window and window < cfg.model.max_length:
        found.append(f"{said} windows of {window} tokens; set model.max_length to at most {window}")
    rotary = getattr(text, "rope_parameters", None) or {}
    if (kind := rotary.get("rope_type")) in BY_LENGTH:
        found.append(
            f"{said} rotary embeddings of the kind {kind}, which depend on a sequence's whole length"
        )
    return found


def heads_divide(heads: int, shared: int, ranks: int) -> bool:
    """Whether each rank can have as many attention heads, with as many of keys and values, or copies of one."""
    return ranks == 1 or (heads > 0 and heads % ranks == 0 and (shared % ranks == 0 or ranks % shared == 0))


@dataclass(frozen=True, slots=True)
class SequenceShards:
    """This rank among those that share sequences; alone, it has whole ones."""

    group: dist.ProcessGroup | None = None
    rank: int = 0
    ranks: int = 1

    def own(self, micro: MicroBatch) -> MicroBatch:
        """This rank's columns of a micro-batch, with the response tokens that they predict."""
        return micro if self.ranks == 1 else sequence_shard(micro, self.rank, self.ranks)[0]

    def whole(self, forward: Forward) -> Forward:
        """A forward pass on this rank's columns that gives the outputs of all of them, on every rank alike."""
        if self.ranks == 1:
            return forward

        def run(micro: MicroBatch) -> TokenOutputs:
            own, index = sequence_shard(micro, self.rank, self.ranks)
            outputs, count = outputs_of(forward, own), len(micro.token)

            def all_of(part: Tensor) -> Tensor:
                gathered: Tensor = _Gathered.apply(part, index, count, self.group)
                return gathered

            return TokenOutputs(
                all_of(outputs.logp),
                None if outputs.entropy is None else all_of(outputs.entropy),
                None if outputs.divergence is None else all_of(outputs.divergence),
            )

        return run

    def attend(self, lm: Any, key: str) -> None:
        """Have a model of transformers exchange tokens for heads around its attention; for all models of the process.

        Raises:
            ConfigError: its attention cannot be replaced, or it takes no positions; `key` is what named it.
        """
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as ATTENTION

        kind = lm.config._attn_implementation
        for table in (ATTENTION, MASKS):
            table._local_mapping.pop(kind, None)  # of an earlier model
        if self.ranks == 1:
            return
        takes_positions = "position_ids" in inspect.signature(lm.base_model.forward).parameters
        if not (takes_positions and lm._can_set_attn_implementation()):
            raise ConfigError(
                f"learner.sequence_parallel={self.ranks}: {key} does not take its attention and positions as models of "
                "transformers do; set it to 1"
            )
        ATTENTION[kind] = partial(exchanged_attention, ATTENTION[kind], self.group, self.ranks)
        MASKS[kind] = _no_mask  # over its own columns it would be wrong, and whole sequences are causal
        heads = lm.config.get_text_config(decoder=True).num_attention_heads
        for module in lm.modules():  # where ranks have copies of key and value heads, fewer queries share one
            if hasattr(module, "num_key_value_groups"):
                module.num_key_value_groups = min(module.num_key_value_groups, heads // self.ranks)


def join_sequence_shards(rank: int, world: int, ranks: int, deadline_seconds: float) -> SequenceShards:
    """Form groups of `ranks` neighbours among all ranks of the learner; a collective."""
    if ranks == 1:
        return SequenceShards()
    own: dist.ProcessGroup | None = None
    for first in range(0, world, ranks):
        members = list(range(first, first + ranks))
        made = dist.new_group(members, timeout=timedelta(seconds=deadline_seconds))
        own = made if rank in members else own
    return SequenceShards(own, rank % ranks, ranks)


def _no_mask(*args: object, **kwargs: object) -> None:
    return None


def exchanged_attention(
    core: Callable[..., tuple[Tensor, Any]],
    group: dist.ProcessGroup | None,
    ranks: int,
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Attention over whole sequences for this rank's heads: [B, heads, l, d] of its columns to [B, l, heads, d]."""
    kwargs.pop("position_ids", None)  # those of its columns
    heads = []
    for states in (query, key, value):
        if states.shape[1] < ranks:
            states = states.repeat_interleave(ranks // states.shape[1], dim=1)
        heads.append(states)
    batch, columns = query.shape[0], query.shape[2]
    sizes = [states.shape[1] // ranks * states.shape[3] for states in heads]
    # One exchange for the three: [B, n h, l, d] -> [n, B, l, h d]
    sent = [
        states.reshape(batch, ranks, -1, columns, states.shape[3])
        .permute(1, 0, 3, 2, 4)
        .reshape(ranks, batch, columns, size)
        for states, size in zip(heads, sizes, strict=True)
    ]
    got = _Exchanged.apply(torch.cat(sent, dim=-1), group).split(sizes, dim=-1)
    whole = [
        # [n, B, l, h d] -> [B, h, l n, d]: column l of rank r is column l n + r
        part.reshape(ranks, batch, columns, -1, states.shape[3])
        .permute(1, 3, 2, 0, 4)
        .reshape(batch, -1, columns * ranks, states.shape[3])
        for part, states in zip(got, heads, strict=True)
    ]
    output, weights = core(module, *whole, None, **kwargs)
    width = output.shape[2:].numel()
    back = output.reshape(batch, columns, ranks, width).permute(2, 0, 1, 3).contiguous()
    own = _Exchanged.apply(back, group).permute(1, 2, 0, 3)
    return own.reshape(batch, columns, query.shape[1], -1), weights


class _Exchanged(torch.autograd.Function):
    """[n, ...]: part r goes to rank r, whose part for this rank takes its place; the transpose is the same."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        got = torch.empty_like(parts, memory_format=torch.contiguous_format)
        dist.all_to_all_single(got, parts.contiguous(), group=group)
        return got

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        return _Exchanged.apply(grads[0], ctx.group), None


class _Gathered(torch.autograd.Function):
    """[t] of all ranks from each one's [o] at `index`; all do the same with it, so each has its own gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, index: Tensor, count: int, group: dist.ProcessGroup | None) -> Tensor:
        ctx.save_for_backward(index)
        whole = own.new_zeros(count)
        whole[index] = own
        dist.all_reduce(whole, group=group)  # every other rank has 0 there
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None, None]:
        (index,) = ctx.saved_tensors
        return grads[0][index], None, None, None
