"""How fast cross-sampling is: `python benchmarks/cross_sampling.py [--problems 64] [--repeats 3] [--actors 2]`.

Tokens per second of the slot decoder against the same experiment written as plain generation loops that keep
no cache: each step runs both models over the whole padded sequences, and a batch lasts as long as its longest
response. Both use the built-in model as base, a copy of it after a few supervised steps as policy, the JS rule
and the same random numbers, and write the same responses. They alternate within one invocation; one JSON line
per measurement, the last with medians and ratios. With --actors N the same jobs also go to N Ray actors of
one thread each; their ratio to the decoder in this process says how decoding scales, start-up left out.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import MixedDecoder, MixedSampling, ResponseJob
from rlvr.analysis.cross.noise import Stream, sample_key, sample_tokens, uniforms
from rlvr.analysis.cross.workers import DecodePool, WorkerSpec
from rlvr.data.arithmetic import held_out, step_by_step, train_problem
from rlvr.data.build_base import answer_loss
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.divergence import dist_stats

EPS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure cross-sampling.")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument(
        "--batch", type=int, default=128, help="of the decoder and of the batched plain loops"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--single", type=int, default=16, help="responses that the loops write one at a time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--actors", type=int, default=1, help="more than 1: also measure so many Ray actors")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = load_tokenizer("builtin")
    base, policy = build_models(tokenizer)
    sampling = MixedSampling(1.0, 1.0, None, 64, (tokenizer.eos_token_id,), seed=1)
    problems = held_out(arguments.problems)
    jobs = [
        ResponseJob(problem.id, k, tuple(tokenizer(problem.question).input_ids), EPS)
        for problem in problems
        for k in range(arguments.samples)
    ]
    few = jobs[:: max(1, len(jobs) // arguments.single)][: arguments.single]

    def slots(todo: list[ResponseJob]) -> list[list[int]]:
        written = MixedDecoder(base, policy, sampling, arguments.batch).run(todo, "js")
        return [response.token_ids.tolist() for response in written]

    ways: dict[str, Callable[[], list[list[int]]]] = {
        "slots": lambda: slots(jobs),
        "plain_batched": lambda: plain_loops(base, policy, jobs, sampling, arguments.batch),
        "plain_one_at_a_time": lambda: plain_loops(base, policy, few, sampling, 1),
    }
    stack = ExitStack()
    if arguments.actors > 1:
        pool = stack.enter_context(open_actors(policy, tokenizer, sampling, arguments))
        pool.decode("forward", "js", few)  # warm-up
        ways["slots_in_actors"] = lambda: [
            response.token_ids.tolist() for response in pool.decode("forward", "js", jobs)
        ]
    rates: dict[str, list[float]] = {name: [] for name in ways}
    slots(few)  # warm-up
    for repeat in range(arguments.repeats):
        texts = {}
        for name, way in ways.items():
            started = time.perf_counter()
            texts[name] = way()
            seconds = time.perf_counter() - started
            tokens = sum(map(len, texts[name]))
            rates[name].append(tokens / seconds)
            print(
                json.dumps({"way": name, "repeat": repeat, "tokens": tokens, "seconds": seconds}), flush=True
            )
        same = np.mean([a == b for a, b in zip(texts["slots"], texts["plain_batched"], strict=True)])
        print(json.dumps({"responses_equal_to_plain_batched": float(same)}), flush=True)
    stack.close()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        f"slots_over_{name}": statistics.median(a / b for a, b in zip(rates["slots"], values, strict=True))
        for name, values in rates.items()
        if name != "slots"
    }
    print(json.dumps({"median_tokens_per_second": medians, "median_ratio": ratios, **vars(arguments)}))


def open_actors(policy, tokenizer, sampling: MixedSampling, arguments: argparse.Namespace) -> DecodePool:
    """Actors with the built-in base and this policy."""
    with tempfile.TemporaryDirectory() as folder:
        policy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        spec = WorkerSpec(model_folder("builtin"), folder, "float32", False, "cpu", sampling, arguments.batch)
        return DecodePool(
            spec, CrossSampleConfig(actors=arguments.actors, threads=1)
        )  # returns once the weights are read


def build_models(tokenizer, steps: int = 30):
    """The built-in model, and a copy trained for a few steps to answer step by step."""
    folder = model_folder("builtin")
    base = AutoModelForCausalLM.from_pretrained(folder).eval()
    policy = AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    rng = random.Random(0)
    for step in range(steps):
        problems = [train_problem(0, step * 16 + i) for i in range(16)]
        loss, count = answer_loss(policy, tokenizer, [(p.question, step_by_step(p, rng)) for p in problems])
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    return base, policy.eval()


@torch.inference_mode()
def plain_loops(base, policy, jobs: list[ResponseJob], how: MixedSampling, batch: int) -> list[list[int]]:
    """Cross-sampling as one would first write it: batches in turn, prompts padded on the left, no cache."""
    written = []
    for start in range(0, len(jobs), batch):
        part = jobs[start : start + batch]
        width = max(len(job.prompt_ids) for job in part)
        ids = torch.tensor([[0] * (width - len(job.prompt_ids)) + list(job.prompt_ids) for job in part])
        mask = torch.tensor([[0] * (width - len(job.prompt_ids)) + [1] * len(job.prompt_ids) for job in part])
        keys = np.asarray([sample_key(how.seed, job.problem_id, job.sample) for job in part], dtype=np.uint64)
        alive = torch.ones(len(part), dtype=torch.bool)
        lengths = torch.zeros(len(part), dtype=torch.int64)
        for t in range(how.max_tokens):
            inputs = {
                "input_ids": ids,
                "attention_mask": mask,
                "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            }
            own, other = (model(**inputs, use_cache=False).logits[:, -1] for model in (base, policy))
            uniform = torch.from_numpy(uniforms(keys, np.full(len(part), t), Stream.TOKEN))
            switch = dist_stats(own, other).js > part[0].threshold
            drawn = [sample_tokens(logits, uniform, how.temperature, how.top_p) for logits in (own, other)]
            token = torch.where(switch, drawn[1], drawn[0])
            lengths += alive
            alive &= token != how.stop_ids[0]
            ids = torch.cat([ids, token[:, None]], 1)
            mask = torch.cat([mask, torch.ones_like(token)[:, None]], 1)
            if not alive.any():
                break
        written += [row[width : width + n].tolist() for row, n in zip(ids, lengths, strict=True)]
    return written


if __name__ == "__main__":
    main()
