"""From a batch to mini-batches, ranks and padded micro-batches. Pure: every rank derives the same plan.

Shapes: `B` sequences and `L` padded length of a micro-batch, `t` response tokens in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rlvr.errors import ConfigError
from rlvr.types import Batch, Floats, Group, Ints


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Right-padded sequences and where their response tokens are predicted."""

    input_ids: torch.Tensor  # [B, L], padded with 0 on the right; causal attention never looks there
    row: torch.Tensor  # [t] sequence of the token within this micro-batch
    column: torch.Tensor  # [t] position whose output predicts the token
    target: torch.Tensor  # [t] the token id
    sequence: torch.Tensor  # [t] index of its sequence in the whole batch
    token: torch.Tensor  # [t] index of the token in the batch's flat arrays
    positions: torch.Tensor | None = None  # [1, L] of the columns in their sequences; None: 0, 1, 2, ...

    def to(self, device: torch.device) -> MicroBatch:
        present = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return MicroBatch(**{name: value.to(device) for name, value in present.items() if value is not None})


def pack(groups: Sequence[Group]) -> Batch:
    """Flatten groups into one batch: sequence after sequence, group after group."""
    samples = [s for g in groups for s in g.samples]
    prompts = [g.prompt for g in groups for _ in g.samples]
    sizes = [len(g.samples) for g in groups]
    return Batch(
        input_ids=tuple(
            np.asarray(p.token_ids + s.token_ids, dtype=np.int64)
            for p, s in zip(prompts, samples, strict=True)
        ),
        prompt_lengths=np.asarray([len(p.token_ids) for p in prompts], dtype=np.int64),
        response_lengths=np.asarray([len(s.token_ids) for s in samples], dtype=np.int64),
        group_index=np.repeat(np.arange(len(groups)), sizes),
        advantage=np.asarray([s.advantage for s in samples], dtype=np.float32),
        reward=np.asarray([s.reward for s in samples], dtype=np.float32),
        in_loss=np.asarray([s.in_loss for s in samples], dtype=np.bool_),
        rollout_logp=np.concatenate([s.logprobs for s in samples]).astype(np.float32),
        weight_version=np.concatenate([s.token_versions for s in samples]),
        own_context=np.concatenate([s.own_context for s in samples]),
    )


def mini_batches(size: int, updates: int, seed: int) -> list[Ints]:
    """Split `size` sequences at random into min(updates, size) parts whose sizes differ by at most one."""
    order = np.random.default_rng(seed).permutation(size)
    return [np.sort(part) for part in np.array_split(order, min(updates, size))]


def shard(lengths: Ints, ranks: int) -> list[Ints]:
    """Deal sequences to ranks, longest first and back and forth, so that token counts are close."""
    order = np.argsort(-lengths, kind="stable")
    lanes = np.arange(len(order)) % (2 * ranks)
    lanes = np.where(lanes < ranks, lanes, 2 * ranks - 1 - lanes)
    return [order[lanes == rank] for rank in range(ranks)]


def budget_split(lengths: Ints, budget: int) -> list[Ints]:
    """Group sequences of similar length so that padded size (count x longest) stays within `budget` tokens.

    Raises:
        ConfigError: one sequence alone is longer than the budget.
    """
    parts: list[list[int]] = []
    for index in np.argsort(-lengths, kind="stable"):
        if lengths[index] > budget:
            raise ConfigError(
                f"learner.tokens_per_micro_batch={budget} cannot hold a sequence of {lengths[index]} tokens. "
                "Raise it to at least model.max_length."
            )
        if not parts or (len(parts[-1]) + 1) * lengths[parts[-1][0]] > budget:
            parts.append([])
        parts[-1].append(int(index))
    return [np.asarray(part, dtype=np.int64) for part in parts]


@dataclass(frozen=True, slots=True)
class MicroPlan:
    """One micro-batch of a rank: which sequences, and whether it only keeps the ranks in step."""

    rows: Ints
    padding: bool  # computed for the sake of the collectives, weighted 0 and not reported


def plan_micro_batches(batch: Batch, rows: Ints, *, ranks: int, rank: int, budget: int) -> list[MicroPlan]:
    """This rank's micro-batches of `rows`, as many as every other rank has.

    ZeRO's collectives pair up across ranks by count, so a rank with fewer micro-batches repeats the
    shortest sequence of all as padding.
    """
    lengths = (batch.prompt_lengths + batch.response_lengths)[rows]
    plans = [
        [rows[part[chunk]] for chunk in budget_split(lengths[part], budget)] for part in shard(lengths, ranks)
    ]
    missing = max(len(plan) for plan in plans) - len(plans[rank])
    shortest = rows[[int(np.argmin(lengths))]]
    return [MicroPlan(part, False) for part in plans[rank]] + [MicroPlan(shortest, True)] * missing


def micro_batch(batch: Batch, rows: Ints) -> MicroBatch:
    """Pad the given sequences."""
    width = max(len(batch.input_ids[i]) for i in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for k, i in enumerate(rows):
        ids[k, : len(batch.input_ids[i])] = batch.input_ids[i]
    counts = batch.response_lengths[rows]
    row = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = np.repeat(batch.prompt_lengths[rows], counts) + within - 1
    arrays = (
        ids,
        row,
        column,
        ids[row, column + 1],
        np.repeat(rows, counts),
        np.repeat(batch.offsets[rows], counts) + within,
    )
    return MicroBatch(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))


def sequence_shard(micro: MicroBatch, rank: int, ranks: int) -> tuple[MicroBatch, torch.Tensor]:
    """Columns rank, rank + ranks, ... of a micro-batch, padded to the same width on each rank.

    With them the response tokens that these columns predict, and which of the micro-batch's they are [o].
    """
    length, device = micro.input_ids.shape[1], micro.input_ids.device
    padded = torch.nn.functional.pad(micro.input_ids, (0, -length % ranks))
    index = (micro.column % ranks == rank).nonzero()[:, 0]
    # The padding repeats the last position: a model may have no further ones.
    positions = torch.arange(rank, padded.shape[1], ranks, device=device).clamp(max=length - 1)
    part = MicroBatch(
        padded[:, rank::ranks].contiguous(),
        micro.row[index],
        micro.column[index] // ranks,
        micro.target[index],
        micro.sequence[index],
        micro.token[index],
        positions[None],
    )
    return part, index


# (lengths [n], tokens in the loss, sequences in the loss, longest allowed response) -> weight of a token [n]
AGGREGATIONS: dict[str, Callable[[Ints, int, int, int], np.ndarray]] = {
    "token_mean": lambda lengths, tokens, sequences, longest: np.full(len(lengths), 1.0 / max(tokens, 1)),
    "sequence_mean": lambda lengths, tokens, sequences, longest: 1.0 / (sequences * np.maximum(lengths, 1)),
    "constant_length": lambda lengths, tokens, sequences, longest: np.full(
        len(lengths), 1.0 / (sequences * longest)
    ),
}


def aggregation_weights(lengths: Ints, in_loss: np.ndarray, kind: str, max_response: int) -> Floats:
    """[n] weight of every token of a sequence so that the loss is a plain weighted sum over tokens.

    `lengths` and `in_loss` describe the whole mini-batch over all ranks, which is why the loss depends
    neither on micro-batches nor on the data-parallel split. Sequences outside the loss weigh 0.

    - token_mean: 1 / tokens in the mini-batch (DAPO, arXiv 2503.14476, eq. 8)
    - sequence_mean: 1 / (sequences x own length) (GRPO, arXiv 2402.03300, eq. 3)
    - constant_length: 1 / (sequences x longest allowed response) (Dr. GRPO, arXiv 2503.20783)
    """
    counted = in_loss & (lengths > 0)
    sequences = max(int(counted.sum()), 1)
    if kind not in AGGREGATIONS:
        raise ConfigError(f"loss.aggregation={kind}: use one of {', '.join(AGGREGATIONS)}")
    weights = AGGREGATIONS[kind](lengths, int(lengths[counted].sum()), sequences, max_response)
    return np.where(counted, weights, 0.0).astype(np.float32)


def sequence_weights(batch: Batch, rows: Ints, kind: str, max_response: int) -> Floats:
    """[N] `aggregation_weights` of the mini-batch `rows` at their places in the batch, 0 elsewhere."""
    weights = np.zeros(batch.size, dtype=np.float32)
    weights[rows] = aggregation_weights(batch.response_lengths[rows], batch.in_loss[rows], kind, max_response)
    return weights
