"""One learner rank in this process, many times over: what a first update does for each ZeRO stage, precision and limit.

Run as a program, so that DeepSpeed's state stays out of the tests' process; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

os.environ["DS_ACCELERATOR"] = "cpu"  # before DeepSpeed is imported

import numpy as np
import torch

from rlvr.advantage.token import build_plugin, token_advantage
from rlvr.cluster.machine import free_port
from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import DivergedError
from rlvr.learner.actor import Learner
from rlvr.learner.model.policy import load_policy
from rlvr.learner.packing import MicroPlan, micro_batch, mini_batches
from rlvr.learner.scoring import merge_scores, needed_signals
from rlvr.learner.spec import LearnerSpec
from rlvr.learner.update import UpdateContext, accumulate
from rlvr.types import Batch, TokenSignals

LR = 1e-2  # large, so that the movement of bf16 parameters is far beyond their rounding
BROKEN_AT = 5.0  # the limit with which a gradient that is not finite is tried, too
PLUGIN = build_plugin("uniform", {})


def batch_of(seed: int) -> Batch:
    """Ragged sequences of random tokens."""
    rng = np.random.default_rng(seed)
    prompts, responses = rng.integers(3, 9, 8), rng.integers(4, 20, 8)
    return Batch(
        input_ids=tuple(rng.integers(3, 32, p + r) for p, r in zip(prompts, responses, strict=True)),
        prompt_lengths=prompts,
        response_lengths=responses,
        group_index=np.arange(8) // 4,
        advantage=rng.normal(size=8).astype(np.float32),
        reward=np.zeros(8, dtype=np.float32),
        in_loss=np.ones(8, dtype=bool),
        rollout_logp=np.zeros(int(responses.sum()), dtype=np.float32),
        weight_version=np.zeros(int(responses.sum()), dtype=np.int64),
        own_context=np.ones(int(responses.sum()), dtype=bool),
    )


def settings(stage: int, dtype: str, limit: float) -> Config:
    cfg = Config(recipe="test", steps=2)
    cfg.model.dtype = dtype
    cfg.learner.zero_stage, cfg.learner.max_grad_norm, cfg.learner.lr = stage, limit, LR
    cfg.learner.updates_per_step, cfg.learner.weight_decay = 1, 0.1
    return cfg


def spec_of(cfg: Config) -> LearnerSpec:
    folder = model_folder("builtin")
    signals = needed_signals(PLUGIN, cfg.loss)
    return LearnerSpec(cfg, folder, folder, signals, PLUGIN, device="cpu")


def scored(learner: Learner, batch: Batch) -> Batch:
    index, values, _ = learner.score(batch, sorted(learner.spec.signals))
    return token_advantage(
        merge_scores(batch, [(index, values)]), PLUGIN, normalize=False, progress=0.0, seed=0
    )


def by_deepspeed(cfg: Config) -> list[dict[str, float]]:
    """For two updates: the logged norm, the norm that reached Adam's first moment, and how far parameters moved."""
    learner = Learner(spec_of(cfg), 0)
    learner.start(("127.0.0.1", PORT))
    before = {name: value.float().clone() for name, value in learner.weights.named()}
    found = []
    for step in range(2):
        stats, _ = learner.step(scored(learner, batch_of(step)), seed=step, progress=0.0)
        states = learner.engine.torch_optimizer.state.values()
        moments = [state["exp_avg"].float() for state in states]
        after = {name: value.float().clone() for name, value in learner.weights.named()}
        found.append(row(stats.grad_norm, moments, before, after))
    return found


def by_torch(cfg: Config) -> list[dict[str, float]]:
    """The same in plain torch: fp32 master parameters, clip_grad_norm_, AdamW."""
    policy = load_policy(cfg.model, model_folder("builtin"), 1.0)
    master = [value.detach().float().clone().requires_grad_() for value in policy.parameters()]
    optimizer = torch.optim.AdamW(master, lr=LR, betas=(0.9, 0.95), weight_decay=0.1)
    names = [name for name, _ in policy.lm.named_parameters()]
    before = {name: value.detach().clone() for name, value in zip(names, master, strict=True)}
    found = []
    for step in range(2):
        batch = batch_of(step)
        with torch.no_grad():
            old = policy(micro_batch(batch, np.arange(batch.size)))
        [rows] = mini_batches(batch.size, 1, step)
        advantage = np.repeat(batch.advantage, batch.response_lengths)
        weights = np.full(batch.size, 1.0 / batch.tokens, dtype=np.float32)
        context = UpdateContext(cfg.loss, PLUGIN, weights, 1, torch.device("cpu"), step, 0.0)
        ready = replace(batch, signals=TokenSignals(old_logp=old.float().numpy()), token_advantage=advantage)
        policy.zero_grad()
        accumulate(ready, [MicroPlan(rows, False)], policy, lambda loss: loss.backward(), context)
        for value, own in zip(master, policy.parameters(), strict=True):
            value.grad = own.grad.float()
        norm = torch.nn.utils.clip_grad_norm_(master, cfg.learner.max_grad_norm or float("inf"))
        optimizer.step()
        with torch.no_grad():
            for value, own in zip(master, policy.parameters(), strict=True):
                own.copy_(value)
        moments = [optimizer.state[value]["exp_avg"] for value in master]
        after = {name: own.detach().float().clone() for name, own in policy.lm.named_parameters()}
        found.append(row(float(norm), moments, before, after))
    return found


def of_a_broken_gradient(cfg: Config) -> str:
    """What an update says whose gradient is not finite: one advantage is infinite."""
    learner = Learner(spec_of(cfg), 0)
    learner.start(("127.0.0.1", PORT))
    batch = scored(learner, batch_of(0))
    assert batch.token_advantage is not None
    batch.token_advantage[0] = np.inf
    try:
        learner.step(batch, seed=0, progress=0.0)
    except DivergedError as error:
        return str(error)
    return "nothing"


def row(norm: float, moments: list[torch.Tensor], before: dict, after: dict) -> dict[str, float]:
    moved = sum(((after[name] - before[name]) ** 2).sum() for name in before) ** 0.5
    momentum = sum((value**2).sum() for value in moments) ** 0.5
    return {"norm": float(norm), "momentum": float(momentum), "moved": float(moved)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    PORT = free_port()
    results = {}
    for combination in sys.argv[1:]:
        stage, dtype, limit = combination.split(",")
        cfg = settings(int(stage), dtype, float(limit))
        results[combination] = {"deepspeed": by_deepspeed(cfg), "torch": by_torch(cfg)}
        if float(limit) == BROKEN_AT:
            results[combination]["broken"] = of_a_broken_gradient(cfg)
    print(json.dumps(results))
