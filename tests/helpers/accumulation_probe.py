"""One learner rank in this process: the gradient that reaches Adam after many micro-batches.

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

from rlvr.cluster.machine import free_port
from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.learner.actor import Learner
from rlvr.learner.model.policy import load_policy
from rlvr.learner.packing import MicroPlan, mini_batches
from rlvr.learner.update import UpdateContext, accumulate
from rlvr.types import Batch
from tests.helpers.update_probe import PLUGIN, scored, settings, spec_of

SEQUENCES = 48
LENGTH = 24  # of each, so that a micro-batch holds one


def batch_of_equals() -> Batch:
    """One sequence, many times over: every micro-batch adds the same gradient, the worst case for rounding."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 32, LENGTH)
    return Batch(
        input_ids=(ids,) * SEQUENCES,
        prompt_lengths=np.full(SEQUENCES, 8),
        response_lengths=np.full(SEQUENCES, LENGTH - 8),
        group_index=np.arange(SEQUENCES) // 4,
        advantage=np.ones(SEQUENCES, dtype=np.float32),
        reward=np.zeros(SEQUENCES, dtype=np.float32),
        in_loss=np.ones(SEQUENCES, dtype=bool),
        rollout_logp=np.zeros(SEQUENCES * (LENGTH - 8), dtype=np.float32),
        weight_version=np.zeros(SEQUENCES * (LENGTH - 8), dtype=np.int64),
        own_context=np.ones(SEQUENCES * (LENGTH - 8), dtype=bool),
    )


def configuration(stage: int, dtype: str, offload: str) -> Config:
    cfg = settings(stage, dtype, 0.0)
    cfg.learner.offload_optimizer = offload
    cfg.model.max_length = cfg.learner.tokens_per_micro_batch = LENGTH
    return cfg


def flat_moments(learner: Learner) -> torch.Tensor:
    """Adam's first moment after one update, all parameters in their order."""
    states = learner.engine.torch_optimizer.state.values()
    parts = [state["exp_avg"].float().flatten() for state in states]
    return torch.cat(parts)


def error_of(stage: int, dtype: str, offload: str) -> dict[str, float]:
    """How far the gradient is from the fp32 sum of the micro-batches' own, as a share of its norm."""
    cfg = configuration(stage, dtype, offload)
    learner = Learner(spec_of(cfg), 0)
    learner.start(("127.0.0.1", PORT))
    batch = scored(learner, batch_of_equals())
    stats, _ = learner.step(batch, seed=0, progress=0.0)
    found = flat_moments(learner) / 0.1  # beta1 is 0.9
    policy = load_policy(cfg.model, model_folder("builtin"), 1.0)
    parameters = list(policy.parameters())
    expected, in_bf16 = (
        [torch.zeros_like(p, dtype=d) for p in parameters] for d in (torch.float32, torch.bfloat16)
    )
    [rows] = mini_batches(batch.size, 1, 0)
    weights = np.full(batch.size, 1.0 / batch.tokens, dtype=np.float32)
    context = UpdateContext(cfg.loss, PLUGIN, weights, 1, torch.device("cpu"), 0, 0.0)
    for row in rows:
        policy.zero_grad()
        plan = MicroPlan(np.asarray([row]), False)
        accumulate(replace(batch), [plan], policy, lambda loss: loss.backward(), context)
        for parameter, exact, rounded in zip(parameters, expected, in_bf16, strict=True):
            assert parameter.grad is not None
            exact += parameter.grad
            rounded += parameter.grad
    exact, rounded = (torch.cat([v.float().flatten() for v in values]) for values in (expected, in_bf16))
    found = found[: len(exact)]  # padding of a sharded optimiser stands at the end
    return {
        "offloaded": bool(learner.engine.wrapped.zero_cpu_offload()),
        "micro_batches": stats.micro_batches,
        "ours": float((found - exact).norm() / exact.norm()),
        "in_bf16": float((rounded - exact).norm() / exact.norm()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    PORT = free_port()
    results = {}
    for combination in sys.argv[1:]:
        stage, dtype, offload = combination.split(",")
        results[combination] = error_of(int(stage), dtype, offload)
    print(json.dumps(results))
