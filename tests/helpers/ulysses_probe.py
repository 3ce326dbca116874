"""Two ranks that share sequences beside one that has them whole: how far signals, losses and gradients are apart.

Run as a program with names of CASES; prints one JSON object, with one object of gaps a case.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import numpy as np
import torch
from torch import distributed as dist
from torch import multiprocessing

from rlvr.advantage.token import build_plugin
from rlvr.cluster.machine import free_port
from rlvr.config import LearnerConfig, LossConfig, ModelConfig
from rlvr.learner.distill import with_teacher
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.model.ulysses import SequenceShards, join_sequence_shards
from rlvr.learner.packing import micro_batch, plan_micro_batches, sequence_weights
from rlvr.learner.scoring import STATISTIC, score_micro_batch
from rlvr.learner.update import TokenOutputs, UpdateContext, accumulate, totals
from rlvr.types import Batch, TokenSignals
from tests.helpers.learner_cases import random_batch
from tests.helpers.models import random_model, save

RANKS = 2
SIZES = {"vocab_size": 80, "hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 37}
GPT2 = {"vocab_size": 80, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 37}
# A family with keys of its configuration, keys of the loss, and whether activations are made again in backward, all but
# attention, with feed-forward layers in tiles.
CASES: dict[str, tuple[str, dict[str, Any], LossConfig, bool]] = {
    "grouped heads": ("qwen2", SIZES, LossConfig(), False),
    "copied heads": ("llama", SIZES | {"num_key_value_heads": 1, "head_dim": 264}, LossConfig(), False),
    "checkpointing": ("qwen3", SIZES | {"head_dim": 24}, LossConfig(aggregation="sequence_mean"), True),
    "ratio of a sequence": ("llama", SIZES, LossConfig(ratio="sequence_joint"), False),
    "learned positions": ("gpt2", GPT2, LossConfig(entropy_coef=0.1), False),
    "teacher": ("llama", SIZES, LossConfig(distill="reverse_kl", distill_coef=0.5), True),
}


def scores(shards: SequenceShards, batch: Batch, policy: PolicyModel, base: PolicyModel) -> dict[str, Any]:
    """Every signal [T], with NaN where a token belongs to the other rank."""
    micro = shards.own(micro_batch(batch, np.arange(batch.size)))
    with torch.no_grad():
        found = score_micro_batch(sorted(STATISTIC), micro, 1.0, policy, base, "auto")
    whole = {name: torch.full((batch.tokens,), float("nan")) for name in found}
    for name, values in found.items():
        whole[name][micro.token] = values
    return whole


def update(
    shards: SequenceShards, batch: Batch, policy: PolicyModel, base: PolicyModel, loss: LossConfig
) -> tuple[dict[str, float], list[torch.Tensor]]:
    """The logged totals of one update and the gradient of every parameter, over all ranks."""

    def forward(micro: Any) -> Any:
        if loss.distill_coef:
            logp, divergence = policy(micro, with_teacher(policy, base, micro, loss.distill))
            return TokenOutputs(logp, divergence=divergence)
        return (
            TokenOutputs(*policy(micro, policy.with_entropy(micro))) if loss.entropy_coef else policy(micro)
        )

    rows = np.arange(batch.size)
    weights = sequence_weights(batch, rows, loss.aggregation, 64)
    plugin = build_plugin("uniform", {})
    context = UpdateContext(loss, plugin, weights, 1, torch.device("cpu"), 0, 0.0)
    plans = plan_micro_batches(batch, rows, ranks=1, rank=0, budget=160)
    policy.zero_grad()
    terms = accumulate(batch, plans, shards.whole(forward), torch.Tensor.backward, context)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in policy.parameters()]
    for gradient in gradients if shards.ranks > 1 else ():
        dist.all_reduce(gradient)
    return totals(terms, shards.ranks, torch.device("cpu"), copies=shards.ranks), gradients


def gaps(shards: SequenceShards, folder: Path, case: str) -> dict[str, float]:
    """The largest differences between both ways; of a gradient, beside its own largest entry."""
    _, _, loss, checkpointing = CASES[case]
    cfg = ModelConfig(gradient_checkpointing=checkpointing)
    learner = LearnerConfig(mlp_tile_tokens=50, checkpoint_keep="attention") if checkpointing else None
    batch, found = random_batch(folder=str(folder / "policy")), []
    for way in (shards, SequenceShards()):
        policy, base = (
            load_policy(cfg, str(folder / name), 1.0, learner=learner) for name in ("policy", "base")
        )
        for model in (policy, base):
            way.attend(model.lm, case)
        signals = scores(way, batch, policy.eval(), base.eval().requires_grad_(False))
        ready = replace(
            batch,
            signals=TokenSignals(old_logp=batch.rollout_logp - 4),
            token_advantage=np.repeat(batch.advantage, batch.response_lengths),
        )
        found.append((signals, *update(way, ready, policy.train(), base, loss)))
    (signals, logged, gradients), (expected, of_one, by_one) = found
    own = {name: (values - expected[name])[~values.isnan()] for name, values in signals.items()}
    entries = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(gradients, by_one, strict=True)]
    return {
        **{name: gap.abs().max().item() for name, gap in own.items()},
        "loss": max(abs(logged[name] - of_one[name]) for name in logged),
        "gradient": max(entries),
        "share of tokens": min(len(gap) for gap in own.values()) / batch.tokens,
        "largest divergence": expected["js_base"].max().item(),
        "largest gradient": max(g.abs().max().item() for g in by_one),
    }


def rank_main(rank: int, port: int, folder: str, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    shards = join_sequence_shards(rank, RANKS, RANKS, deadline_seconds=600)
    found = {name: gaps(shards, Path(folder) / name, name) for name in names}
    gathered: list[Any] = [None] * RANKS
    dist.all_gather_object(gathered, found)
    if rank == 0:
        print(json.dumps(gathered), flush=True)
    dist.destroy_process_group()  # a thread of gloo's that is left at the end of Python aborts it now and then


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        for case in sys.argv[1:]:
            family, keys, _, _ = CASES[case]
            for number, name in enumerate(("policy", "base")):
                model = random_model(family, seed=number, initializer_range=0.3, **keys)
                save(model, Path(made) / case / name)
        multiprocessing.spawn(rank_main, args=(free_port(), made, sys.argv[1:]), nprocs=RANKS)
