"""Updates of adapters against updates of all weights: `python -m benchmarks.lora --model FOLDER`.

Two learners on CPU, each in a process of its own, do the same updates (tokens, micro-batches, threads) in turns,
so that both see the same machine. For every case it prints the seconds and CPU seconds of an update, the most that
tensors hold in one, and the peak memory of each process (resident set), as ratios of adapters to all weights. The
resident set has besides what the process takes before it loads a model, and what the C library keeps of what was freed:
glibc before 2.38 hardly uses freed aligned blocks again. Prints a table and writes lora-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.about import about, load_average, write_result

RANK = 16
PROMPT, RESPONSE = 24, 40  # tokens of every sequence
FULL, ADAPTERS = "all weights", "adapters"
UPDATE, TENSORS = "update", "tensors"  # what a child is told


@dataclass(frozen=True, slots=True)
class Case:
    """What both learners are set to."""

    name: str
    micro_tokens: int  # of a micro-batch
    sequences: int = 32  # of an update
    checkpointing: bool = False
    base: bool = (
        False  # the divergence from the base weights the tokens: who trains all weights holds a second model
    )


CASES = (
    Case("micro-batches of 256 tokens", 256),
    Case("micro-batches of 1024 tokens", 1024),
    Case("1024, gradient checkpointing", 1024, checkpointing=True),
    Case("1024, gradient checkpointing, with the base", 1024, checkpointing=True, base=True),
)


@dataclass(frozen=True, slots=True)
class Update:
    """One update, as its process saw it; bytes."""

    seconds: float
    cpu_seconds: float
    peak: int  # resident set, at its largest in this update


def learn(way: str, model: str, case: Case, threads: int) -> None:
    """The child: a learner that does an update whenever a line arrives."""
    os.environ["DS_ACCELERATOR"] = "cpu"  # before DeepSpeed is imported
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    from transformers import AutoConfig

    from benchmarks.allocated import held_bytes, peak_bytes
    from rlvr.advantage.token import build_plugin, token_advantage
    from rlvr.config import Config
    from rlvr.learner.actor import Learner
    from rlvr.learner.scoring import merge_scores, needed_signals
    from rlvr.learner.spec import LearnerSpec
    from rlvr.types import Batch

    cfg = Config(recipe="benchmark", steps=1000)
    cfg.model.path, cfg.model.max_length = model, PROMPT + RESPONSE
    cfg.model.gradient_checkpointing = case.checkpointing
    cfg.learner.tokens_per_micro_batch, cfg.learner.updates_per_step = case.micro_tokens, 1
    cfg.learner.lr = 1e-6
    if way == ADAPTERS:
        cfg.model.lora.rank = RANK
    plugin = build_plugin("divergence", {"signal": "js_base"}) if case.base else build_plugin("uniform", {})
    learner = Learner(LearnerSpec(cfg, model, model, needed_signals(plugin, cfg.loss), plugin, "cpu"), 0)
    learner.start(learner.address())

    vocabulary = AutoConfig.from_pretrained(model).vocab_size
    rng, count = np.random.default_rng(0), case.sequences
    tokens = count * RESPONSE
    batch = Batch(
        input_ids=tuple(rng.integers(3, vocabulary, PROMPT + RESPONSE) for _ in range(count)),
        prompt_lengths=np.full(count, PROMPT),
        response_lengths=np.full(count, RESPONSE),
        group_index=np.arange(count) // 4,
        advantage=rng.normal(size=count).astype(np.float32),
        reward=np.zeros(count, dtype=np.float32),
        in_loss=np.ones(count, dtype=bool),
        rollout_logp=np.zeros(tokens, dtype=np.float32),
        weight_version=np.zeros(tokens, dtype=np.int64),
        own_context=np.ones(tokens, dtype=bool),
    )
    index, values, _ = learner.score(batch, sorted(learner.spec.signals))
    batch = merge_scores(batch, [(index, values)])
    batch = token_advantage(batch, plugin, normalize=False, progress=0.0, seed=0)
    learner.step(batch, seed=0, progress=0.0)  # warms up, and makes the optimiser's states
    print("ready", flush=True)
    for step, order in enumerate(sys.stdin, 1):
        if order.strip() == TENSORS:
            held = held_bytes()
            print(TENSORS, held + peak_bytes(lambda: learner.step(batch, seed=0, progress=0.0)), flush=True)
            return
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = time.process_time()
        _, seconds = learner.step(batch, seed=step, progress=0.0)
        done = Update(seconds, time.process_time() - before, _resident("VmHWM"))
        print(json.dumps(asdict(done)), flush=True)


def _resident(name: str) -> int:
    """Bytes of this process's resident set, now (VmRSS) or at its largest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) << 10


class Child:
    """A learner in its process."""

    def __init__(self, way: str, model: str, case: Case, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.lora", "--child", way, "--model", model]
        self._process = subprocess.Popen(
            [*command, "--case", json.dumps(asdict(case)), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )

    def _said(self, begins: str) -> str:
        """The next line that begins so: libraries print as well."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(begins):
                return line
        raise SystemExit(f"a learner ended early, with code {self._process.wait()}")

    def ready(self) -> None:
        """Return once it has done its first update."""
        self._said("ready")

    def update(self) -> Update:
        """One update."""
        return Update(**json.loads(self._told(UPDATE, "{")))

    def tensors(self) -> int:
        """The most that tensors hold in an update, bytes; the last order."""
        return int(self._told(TENSORS, TENSORS).split()[1])

    def _told(self, order: str, answer: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._said(answer)

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def measure(case: Case, model: str, updates: int, threads: int) -> dict[str, Any]:
    """So many updates of both, in turns."""
    found: dict[str, list[Update]] = {FULL: [], ADAPTERS: []}
    children = {way: Child(way, model, case, threads) for way in found}
    try:
        for child in children.values():
            child.ready()
        for _ in range(updates):
            for way, child in children.items():
                found[way].append(child.update())
        tensors = {way: child.tensors() for way, child in children.items()}
    finally:
        for child in children.values():
            child.end()

    def middle(way: str, name: str) -> float:
        return statistics.median(getattr(update, name) for update in found[way])

    return {
        "case": asdict(case),
        "updates": {way: [asdict(update) for update in own] for way, own in found.items()},
        "tensor bytes": tensors,
        "seconds": middle(ADAPTERS, "seconds") / middle(FULL, "seconds"),
        "cpu seconds": middle(ADAPTERS, "cpu_seconds") / middle(FULL, "cpu_seconds"),
        "tensors": tensors[ADAPTERS] / tensors[FULL],
        "resident set": max(u.peak for u in found[ADAPTERS]) / max(u.peak for u in found[FULL]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown: adapters over all weights, and what tensors hold with all weights in GB."""
    names = ("seconds", "cpu seconds", "tensors", "resident set")
    lines = [f"| case | {' | '.join(names)} | tensors of all weights, GB |", "|" + " --- |" * 6]
    for row in rows:
        cells = [row["case"]["name"], *(f"{row[name]:.2f}" for name in names)]
        lines.append(f"| {' | '.join(cells)} | {row['tensor bytes'][FULL] / 1e9:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates of adapters against updates of all weights.")
    parser.add_argument("--model", required=True, help="a folder with SmolLM2-135M-Instruct")
    parser.add_argument("--updates", type=int, default=3, help="of each learner in a case")
    parser.add_argument("--threads", type=int, default=1, help="of each learner")
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), help="by number")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        learn(options.child, options.model, Case(**options.case), options.threads)
        return
    load_before, rows = load_average(), []
    for number in options.cases:
        rows.append(measure(CASES[number], options.model, options.updates, options.threads))
        print(table(rows[-1:]), flush=True)
    content = {"rank": RANK, "rows": rows, "about": about(load_before) | {"threads": options.threads}}
    print(table(rows))
    print(write_result(options.out, "lora", content))


if __name__ == "__main__":
    main()
