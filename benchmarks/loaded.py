"""What a busy neighbour on every core costs: `python -m benchmarks.loaded --model /path/to/smollm2`.

A training step, an analysis and cross-sampling on SmolLM2, quiet and beside one busy process a core, in turns inside
one run. A fair share of the cores is twice the quiet time. The analysis also says which share of its time the two
forward passes take (hidden states and logits). Prints the table and writes loaded-<part>-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.about import about, load_average, write_result

PARTS = ("analysis", "cross-sampling", "training")
TARGET = 2.5  # busy over quiet
SHARE = 0.7  # of the analysis' time, at least
RESPONSE = 30  # tokens of a cross-sampled one
WARM_UP = 1


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that compute without a pause."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def training(model: str, steps: int) -> dict[str, float]:
    """Median seconds of a step and of its phases, 8 prompts x 4 samples, with the base and JS."""
    from benchmarks.step import Workload, median, training_steps

    work = Workload(model, steps, WARM_UP, len(os.sched_getaffinity(0)), prompts=8)
    with tempfile.TemporaryDirectory() as root:
        rows = training_steps(work, "dapo_divweight", Path(root))
    phases = ("generate", "score", "update", "push")
    return {"seconds": median(rows, "seconds/step")} | {p: median(rows, f"seconds/{p}") for p in phases}


def analysis(model: str, responses: int) -> dict[str, float]:
    """Seconds to score responses with a model and a copy of it with disturbed weights, and the forwards' share."""
    from benchmarks.cross_sampling import disturbed
    from rlvr.analysis.config import ScoreConfig
    from rlvr.analysis.models import CausalLm, load_causal_lm
    from rlvr.analysis.shift.parts import score_part
    from rlvr.analysis.shift.responses import Response
    from rlvr.analysis.side_by_side import at_once
    from rlvr.config import ModelConfig

    base = load_causal_lm(model, ModelConfig(path=model), "cpu")
    rows = [
        Response(k, "policy", str(k), 0.0, False, prompt, answer)
        for k, (prompt, answer) in enumerate(worked_sums(model, responses))
    ]
    score_part(base, base, rows[:8], ScoreConfig())
    # Of the copied model, so that its head stays tied.
    policy = replace(base, lm=disturbed(base.lm))
    policy = replace(policy, weight=policy.lm.get_output_embeddings().weight.detach())
    spent: list[float] = []

    def timed(function: Any) -> Any:
        def call(*inputs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*inputs)
            finally:
                spent.append(time.perf_counter() - begun)

        return call

    CausalLm.hidden = timed(CausalLm.hidden)  # type: ignore[method-assign]
    CausalLm.logits = timed(CausalLm.logits)  # type: ignore[method-assign]
    begun = time.perf_counter()
    score_part(policy, base, rows, ScoreConfig())
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "forward passes": sum(spent) / seconds / at_once(2, base.device)}


def worked_sums(model: str, count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompts as training has them, and right answers, in tokens."""
    from benchmarks.prompts import open_stream
    from benchmarks.step import SMOLLM2
    from rlvr.cli.overrides.compose import load
    from rlvr.data.models.tokenizer import load_tokenizer
    from rlvr.data.tasks.sums import worked_sum

    cfg, rng = load(["recipe=dapo", *SMOLLM2, f"model.path={model}"]), random.Random(0)
    tokenizer = load_tokenizer(model)
    return [
        (prompt.token_ids, tuple(tokenizer(worked_sum(prompt.problem, rng)).input_ids))
        for prompt in open_stream(cfg, tokenizer).take(0, count)
    ]


def cross_sampling(model: str, responses: int) -> dict[str, float]:
    """Seconds to write responses of 30 tokens by the JS rule."""
    from transformers import AutoModelForCausalLM

    from benchmarks.cross_sampling import disturbed
    from rlvr.analysis.cross.decoder import MixedDecoder, MixedSampling, ResponseJob

    base = AutoModelForCausalLM.from_pretrained(model, dtype="float32").eval()
    jobs = [
        ResponseJob(str(k), 0, prompt, 0.1) for k, (prompt, _) in enumerate(worked_sums(model, responses))
    ]
    decoder = MixedDecoder(
        base, disturbed(base), MixedSampling(1.0, 1.0, None, RESPONSE, (), seed=1), responses
    )
    decoder.run(jobs[:4], "js")
    begun = time.perf_counter()
    decoder.run(jobs, "js")
    return {"seconds": time.perf_counter() - begun}


def measured(part: str, options: argparse.Namespace) -> dict[str, float]:
    """One part; the analyses in a process of their own, as their commands are."""
    if part == "training":
        return training(options.model, options.steps)
    command = [sys.executable, "-m", "benchmarks.loaded", "--model", options.model, "--only", part]
    command += ["--responses", str(options.responses)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a folder with SmolLM2-135M-Instruct")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="of the analyses, which are short")
    parser.add_argument("--training-rounds", type=int, default=1, help="each gives medians over its steps")
    parser.add_argument("--steps", type=int, default=3, help="of a training, after one that is left out")
    parser.add_argument("--responses", type=int, default=128, help="at most 200")
    parser.add_argument("--neighbours", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        part = {"analysis": analysis, "cross-sampling": cross_sampling}[options.only]
        print(json.dumps(part(options.model, options.responses)))
        return
    for part in options.parts.split(","):
        before = load_average()
        print(write_result(options.out, f"loaded-{part}", compare(part, options) | about(before)), flush=True)


def compare(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Quiet and busy in turns: medians and their ratio."""
    found: dict[int, list[dict[str, float]]] = {0: [], options.neighbours: []}
    rounds = options.training_rounds if part == "training" else options.rounds
    for _ in range(rounds):
        for count, rows in found.items():
            with neighbours(count):
                rows.append(measured(part, options))
            print(json.dumps({"part": part, "neighbours": count} | rows[-1]), flush=True)
    quiet, busy = (
        {name: statistics.median(row[name] for row in rows) for name in rows[0]} for rows in found.values()
    )
    ratio = busy["seconds"] / quiet["seconds"]
    print(f"{part}: {quiet['seconds']:.2f} s quiet, {busy['seconds']:.2f} s busy: {ratio:.2f}")
    if part == "analysis":
        print(f"forward passes: {quiet['forward passes']:.1%} of its time (at least {SHARE:.0%})")
    settings = {"rounds": rounds} | {
        name: getattr(options, name) for name in ("steps", "responses", "neighbours")
    }
    return settings | {"quiet": quiet, "busy": busy, f"busy over quiet (at most {TARGET})": ratio}


if __name__ == "__main__":
    main()
