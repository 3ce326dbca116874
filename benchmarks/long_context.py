"""Two ranks that share long sequences beside two that have sequences of their own: `python -m benchmarks.long_context`.

Both make the gradients of the same sequences, one a micro-batch, and add them up over gloo; one thread a rank, a random
model with SmolLM2's widths, a few of its layers and eight heads (its nine cannot be shared by two ranks). The ways take
turns inside one run. Prints medians of seconds and of CPU seconds of both ranks, and writes long-context-<date>.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import numpy as np
import torch
from torch import distributed as dist
from torch import multiprocessing

from benchmarks.about import about, load_average, write_result
from rlvr.advantage.token import build_plugin
from rlvr.cluster.machine import free_port
from rlvr.config import LossConfig, ModelConfig
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.model.ulysses import SequenceShards, join_sequence_shards
from rlvr.learner.packing import plan_micro_batches, sequence_weights
from rlvr.learner.update import UpdateContext, accumulate
from rlvr.types import Batch, TokenSignals

RANKS = 2
PROMPT = 64  # tokens
TARGET = 1.35
DATA, SEQUENCE = "data parallel", "sequence parallel"


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured."""

    model: str | None  # a folder; None: random, of SmolLM2's widths
    layers: int
    tokens: int  # of a sequence
    rounds: int


def policy_of(task: Task) -> PolicyModel:
    """The model, the same on both ranks."""
    torch.manual_seed(0)
    if task.model is not None:
        return load_policy(ModelConfig(path=task.model, max_length=task.tokens), task.model, 1.0)
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=task.layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=72,
        max_position_embeddings=task.tokens,
        tie_word_embeddings=True,
    )
    return PolicyModel(LlamaForCausalLM._from_config(config, attn_implementation="sdpa"), 1.0)


def batch_of(policy: PolicyModel, tokens: int) -> Batch:
    """A sequence of this length for each rank."""
    rng = np.random.default_rng(0)
    answer = tokens - PROMPT
    vocabulary = policy.lm.config.vocab_size
    return Batch(
        input_ids=tuple(rng.integers(3, vocabulary, tokens) for _ in range(RANKS)),
        prompt_lengths=np.full(RANKS, PROMPT),
        response_lengths=np.full(RANKS, answer),
        group_index=np.zeros(RANKS, dtype=np.int64),
        advantage=np.ones(RANKS, dtype=np.float32),
        reward=np.ones(RANKS, dtype=np.float32),
        in_loss=np.ones(RANKS, dtype=np.bool_),
        rollout_logp=np.full(RANKS * answer, -10.0, dtype=np.float32),
        weight_version=np.zeros(RANKS * answer, dtype=np.int64),
        own_context=np.ones(RANKS * answer, dtype=np.bool_),
        signals=TokenSignals(old_logp=np.full(RANKS * answer, -10.0, dtype=np.float32)),
        token_advantage=np.ones(RANKS * answer, dtype=np.float32),
    )


def gradients(policy: PolicyModel, batch: Batch, shards: SequenceShards, rank: int) -> None:
    """The gradients of the batch on every rank."""
    rows = np.arange(batch.size)
    weights = sequence_weights(batch, rows, "token_mean", len(batch.input_ids[0]))
    context = UpdateContext(
        LossConfig(), build_plugin("uniform", {}), weights, 1, torch.device("cpu"), 0, 0.0
    )
    plans = plan_micro_batches(
        batch,
        rows,
        ranks=RANKS // shards.ranks,
        rank=rank // shards.ranks,
        budget=len(batch.input_ids[0]),
    )
    accumulate(batch, plans, shards.whole(policy), torch.Tensor.backward, context)
    for parameter in policy.parameters():
        dist.all_reduce(parameter.grad)


def rank_main(rank: int, port: int, task: Task, results: Any) -> None:
    """One rank; the first tells what both have measured."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    together = join_sequence_shards(rank, RANKS, RANKS, deadline_seconds=600)
    policy = policy_of(task).train()
    batch = batch_of(policy, task.tokens)
    ways = {DATA: SequenceShards(), SEQUENCE: together}
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(task.rounds + 1):
        for way, shards in sorted(ways.items(), reverse=bool(number % 2)):
            shards.attend(policy.lm, "the model")
            policy.zero_grad()
            dist.barrier()
            began, worked = time.perf_counter(), time.process_time()
            gradients(policy, batch, shards, rank)
            dist.barrier()
            if number:  # the first is for warming up
                seconds[way].append((time.perf_counter() - began, time.process_time() - worked))
    gathered: list[Any] = [None] * RANKS
    dist.all_gather_object(gathered, seconds)
    if rank == 0:
        results.put(gathered)
    dist.destroy_process_group()


def summary(ranks: list[dict[str, list[tuple[float, float]]]]) -> dict[str, float]:
    """Medians, and ratios of them."""
    found: dict[str, float] = {}
    for way in (DATA, SEQUENCE):
        both = list(
            zip(*(rank[way] for rank in ranks), strict=True)
        )  # of each round: (seconds, CPU seconds) a rank
        found[f"{way} s"] = statistics.median(max(wall for wall, _ in one) for one in both)
        found[f"{way} CPU s"] = statistics.median(sum(cpu for _, cpu in one) for one in both)
    found[f"sequence over data parallel (at most {TARGET})"] = found[f"{SEQUENCE} s"] / found[f"{DATA} s"]
    found["the same in CPU seconds"] = found[f"{SEQUENCE} CPU s"] / found[f"{DATA} CPU s"]
    return found


def measure(task: Task) -> dict[str, float]:
    """Both ways in processes of their own."""
    results = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(rank_main, args=(free_port(), task, results), nprocs=RANKS)
    return summary(results.get())


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a folder with a model whose heads two ranks can share")
    parser.add_argument("--layers", type=int, default=6, help="of the random model")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 2048, 4096], help="of a sequence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load, rows = load_average(), []
    for tokens in options.tokens:
        rows.append(
            {"tokens": tokens, **measure(Task(options.model, options.layers, tokens, options.rounds))}
        )
        for name, value in rows[-1].items():
            print(f"{name:<48}{value:.3f}" if isinstance(value, float) else f"{name:<48}{value}", flush=True)
    task = {"model": options.model or "random", "layers": options.layers, "rounds": options.rounds}
    print(write_result(options.out, "long-context", {"about": about(load), "task": task, "rows": rows}))


if __name__ == "__main__":
    main()
