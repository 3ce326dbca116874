"""Distillation's loss beside the log-prob, forward and backward of the head: `python -m benchmarks.distillation`.

Hidden states and heads of SmolLM2's size for policy and teacher. The two take turns inside one run; memory is what
tensors made in the call hold at its peak. Prints medians and ratios, and writes distillation-<date>.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.about import about, load_average, write_result
from benchmarks.allocated import peak_bytes
from rlvr.divergence.transform import IDENTITY
from rlvr.learner.distill import DIVERGENCES, LinearLogpDivergence
from rlvr.learner.model.policy import Head, LinearLogp

HIDDEN, VOCABULARY = 576, 49_152  # SmolLM2-135M
LOGP = "log-prob"
TARGET = 2.2


def ways(tokens: int) -> dict[str, Callable[[], object]]:
    """Forward and backward of each loss, of so many tokens."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    hidden, weight = draw(tokens, HIDDEN).requires_grad_(), (draw(VOCABULARY, HIDDEN) / 12).requires_grad_()
    of_teacher, teacher = draw(tokens, HIDDEN), Head(draw(VOCABULARY, HIDDEN) / 12, IDENTITY)
    ids, head = torch.randint(0, VOCABULARY, (tokens,), generator=generator), Head(weight, IDENTITY)

    def finish(loss: torch.Tensor) -> None:
        torch.autograd.grad(loss, (hidden, weight))

    def logp() -> None:
        finish(LinearLogp.apply(hidden, weight, ids, 1.0, "auto", IDENTITY).sum())

    def divergence(kind: str) -> Callable[[], None]:
        def run() -> None:
            made = LinearLogpDivergence.apply(
                hidden, weight, ids, 1.0, "auto", head, of_teacher, teacher, kind
            )
            finish(made[1].sum())

        return run

    return {LOGP: logp} | {kind: divergence(kind) for kind in DIVERGENCES}


def measure(tokens: int, rounds: int) -> dict[str, float]:
    """Medians of seconds, peaks of memory, and their ratios to the log-prob's."""
    runs, seconds = ways(tokens), {name: [] for name in ways(1)}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:  # the first is for warming up
                seconds[name].append(time.perf_counter() - began)
    found: dict[str, float] = {}
    for name, run in runs.items():
        found[f"{name} s"], found[f"{name} MB"] = statistics.median(seconds[name]), peak_bytes(run) / 1e6
    for name in DIVERGENCES:
        found[f"{name} over log-prob (at most {TARGET})"] = found[f"{name} s"] / found[f"{LOGP} s"]
        found[f"{name} over log-prob in memory"] = found[f"{name} MB"] / found[f"{LOGP} MB"]
    return found


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 4096], help="of a micro-batch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load, rows = load_average(), []
    for tokens in options.tokens:
        rows.append({"tokens": tokens, **measure(tokens, options.rounds)})
        for name, value in rows[-1].items():
            print(f"{name:<48}{value:.3f}" if isinstance(value, float) else f"{name:<48}{value}", flush=True)
    task = {"hidden": HIDDEN, "vocabulary": VOCABULARY, "rounds": options.rounds, "threads": options.threads}
    print(write_result(options.out, "distillation", {"about": about(load), "task": task, "rows": rows}))


if __name__ == "__main__":
    main()
