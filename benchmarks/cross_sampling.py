"""How fast cross-sampling is: `python benchmarks/cross_sampling.py [--problems 64] [--repeats 3] [--actors 2]`.

Tokens per second of the slot decoder against the same experiment written as plain generation loops that keep
no cache: each step runs both models over the whole padded sequences, and a batch lasts as long as its longest
response. Both use the built-in model as base, a copy of it after a few supervised steps as policy, the JS rule
and the same random numbers, and write the same responses. They alternate within one invocation; one JSON line
per measurement, the last with medians and ratios. With --actors N the same jobs also go to N Ray actors of
one thread each; their ratio to the decoder in this process says how decoding scales, start-up left out.

With --model FOLDER --tokens 64 another question on that model and a copy with disturbed weights: what writing with
both costs, rule by rule, against two plain decoders with a cache, one a model, that write as many tokens alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import MixedDecoder, MixedSampling, ResponseJob
from rlvr.analysis.cross.rules import Stream, sample_key, sample_tokens, uniforms
from rlvr.analysis.cross.workers import DecodePool, DecodeWorker, WorkerSpec, open_decoders
from rlvr.data.models.tokenizer import load_tokenizer, model_folder
from rlvr.data.tasks.arithmetic import held_out, step_by_step, train_problem
from rlvr.data.tasks.build_base import answer_loss
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
    parser.add_argument("--model", help="folder: against two plain decoders of this model and a copy of it")
    parser.add_argument("--tokens", type=int, default=64, help="of every response, with --model")
    parser.add_argument("--rules", default="js,random,entropy,kl,dlogp_lowered", help="with --model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.model:
        against_plain_decoders(arguments)
        return
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


@torch.inference_mode()
def against_plain_decoders(arguments: argparse.Namespace) -> None:
    """Seconds of each rule over the seconds of two plain decoders, all with the same number of tokens."""
    tokenizer = load_tokenizer(arguments.model)
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    policy = disturbed(base)
    sampling = MixedSampling(1.0, 1.0, None, arguments.tokens, (), seed=1)  # nothing ends a response early
    jobs = [
        ResponseJob(problem.id, k, tuple(tokenizer(f"What is {problem.question}").input_ids), 0.1)
        for problem in held_out(arguments.problems)
        for k in range(arguments.samples)
    ]
    ways: dict[str, Callable[[], object]] = {
        rule: lambda rule=rule: MixedDecoder(base, policy, sampling, arguments.batch).run(jobs, rule)
        for rule in arguments.rules.split(",")
    }
    ways["two_plain_decoders"] = lambda: [
        plain_decoder(model, jobs, arguments.tokens, arguments.batch) for model in (base, policy)
    ]
    plain_decoder(base, jobs[: arguments.batch], 4, arguments.batch)  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(arguments.repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
            print(json.dumps({"way": name, "repeat": repeat, "seconds": seconds[name][-1]}), flush=True)
    plain = seconds["two_plain_decoders"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, plain, strict=True))
        for name, values in seconds.items()
    }
    tokens = len(jobs) * arguments.tokens
    rates = {name: tokens / statistics.median(values) for name, values in seconds.items()}
    print(json.dumps({"seconds_over_two_plain": ratios, "tokens_per_second": rates, **vars(arguments)}))


@torch.no_grad()
def disturbed(model):
    """A copy whose every weight has moved by 2 % of its tensor's spread."""
    moved, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for parameter in moved.parameters():
        parameter += 0.02 * parameter.std() * torch.randn(parameter.shape, generator=generator)
    return moved


def plain_decoder(model, jobs: list[ResponseJob], tokens: int, batch: int) -> None:
    """One model alone with its cache, batches in turn, prompts padded on the left, drawn by torch's multinomial."""
    for start in range(0, len(jobs), batch):
        ids, mask = padded(jobs[start : start + batch])
        cache, inputs = DynamicCache(), ids
        for _ in range(tokens):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
            logits = model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            inputs = torch.multinomial(torch.softmax(logits, -1), 1)
            mask = torch.cat([mask, torch.ones_like(inputs)], 1)


def padded(part: list[ResponseJob]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts padded on the left, and their mask."""
    width = max(len(job.prompt_ids) for job in part)
    ids = torch.tensor([[0] * (width - len(job.prompt_ids)) + list(job.prompt_ids) for job in part])
    mask = torch.tensor([[0] * (width - len(job.prompt_ids)) + [1] * len(job.prompt_ids) for job in part])
    return ids, mask


@contextmanager
def open_actors(
    policy, tokenizer, sampling: MixedSampling, arguments: argparse.Namespace
) -> Iterator[DecodeWorker | DecodePool]:
    """Actors with the built-in base and this policy."""
    with tempfile.TemporaryDirectory() as folder:
        policy.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        spec = WorkerSpec(model_folder("builtin"), folder, "float32", False, "cpu", sampling, arguments.batch)
        with open_decoders(spec, CrossSampleConfig(actors=arguments.actors, threads=1)) as pool:
            yield pool


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
        ids, mask = padded(part)
        width = ids.shape[1]
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
