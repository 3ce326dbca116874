"""Whole pushes against sparse ones, after optimiser steps of a real model: `python -m benchmarks.push --model FOLDER`.

One learner and one engine on CPU, weights over gloo on the loopback interface. After every update the same weights are
pushed three times: what has changed (sparse), all of them as sync.sparse=off does, and all of them as sync.sparse=auto
does where it has no choice. Bytes are those of one worker; CPU seconds are those of learner and engine together. Every
push is verified by checksums. Prints a table and writes push-<date>.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rlvr.learner.group
import rlvr.rollout.pool
from benchmarks.about import about, load_average, write_result
from rlvr.advantage.group import group_advantage
from rlvr.advantage.token import token_advantage
from rlvr.cli.overrides.compose import load
from rlvr.cluster import wait
from rlvr.learner.actor import Learner
from rlvr.learner.packing import pack
from rlvr.rollout.engine import RolloutEngine
from rlvr.runtime.session import Session, open_session
from rlvr.sync.sender import CheckedSender, SparseSender
from rlvr.sync.sent import Sent
from rlvr.timing import Stopwatch
from rlvr.types import Batch

LR = 1e-6
SCALES = (1, 10)  # of LR
SPARSE, OFF, FALLBACK = "sparse", "whole (off)", "whole (auto)"


class TwoWays(Learner):
    """A learner rank that can push as sync.sparse=off does though its engines hold a copy."""

    def push_as(self, way: str, number: int) -> tuple[Sent, float]:
        """One push, and this process's CPU seconds in it."""
        checked = self._sender
        assert isinstance(checked, CheckedSender)
        sparse = checked._inner
        assert isinstance(sparse, SparseSender)
        began = time.process_time()
        if way == OFF:
            checked._inner = sparse._inner
        sent, _ = self.push_weights(number)
        checked._inner = sparse
        assert sent is not None
        return sent, time.process_time() - began


class TimedEngine(RolloutEngine):
    """An engine that tells how much CPU time it has had."""

    def cpu_seconds(self) -> float:
        """Since its start, all threads."""
        return time.process_time()


@dataclass(frozen=True, slots=True)
class Row:
    """One push."""

    dtype: str
    lr: float
    step: int
    way: str
    bytes: int
    changed: float | None  # share of the elements
    seconds: float
    cpu_seconds: float


def batch_of(s: Session) -> Batch:
    """What the loop has before its update."""
    rollout = s.source.next(1)
    batch = s.learner.score(pack(group_advantage(rollout.groups, s.cfg.advantage)))
    return token_advantage(
        batch, s.plugin, normalize=s.cfg.advantage.normalize, progress=0.0, seed=s.cfg.seed
    )


def push(s: Session, way: str, number: int) -> tuple[Sent, float, float]:
    """One push; seconds and CPU seconds."""
    learner: Any = s.learner.handles[0]
    engine: Any = s.engines.handles[0]

    def used() -> float:
        seconds: float = wait([engine.cpu_seconds.remote()], deadline_seconds=60, what="CPU time")[0]
        return seconds

    before, watch = used(), Stopwatch()
    sent, own = wait([learner.push_as.remote(way, number)], deadline_seconds=600, what="push")[0]
    return sent, watch.seconds, own + used() - before


def measure(dtype: str, model: str, steps: int, folder: str) -> list[Row]:
    """So many updates at each learning rate, with three pushes after each."""
    rows, number = [], 1
    cfg = load(arguments(dtype, model, folder))
    with open_session(cfg) as s:
        batch = batch_of(s)
        if not batch.advantage.any():
            raise SystemExit("no response earned more than the others of its group: nothing to learn from")
        for scale in SCALES:
            s.learner.reset_optimizer()
            for step in range(1, steps + 1):
                s.learner.step(batch, seed=step, progress=0.0, lr_scale=scale)
                for way in (SPARSE, OFF, FALLBACK):
                    sent, seconds, cpu = push(s, way, number)
                    number += 1
                    if sent.whole != (way != SPARSE):
                        print(f"{dtype}, lr {LR * scale:g}: {way} was not what was sent ({sent.why})")
                    rows.append(Row(dtype, LR * scale, step, way, sent.bytes, sent.changed, seconds, cpu))
                    print(rows[-1], flush=True)
    return rows


def arguments(dtype: str, model: str, folder: str) -> list[str]:
    """Of the run whose processes are used."""
    return [
        *("recipe=grpo", "steps=1", f"model.dtype={dtype}", "sync.sparse=auto", "sync.preflight=false"),
        *(
            ("model=builtin", "data=arithmetic", "data.prompts_per_step=16")
            if model == "builtin"
            else ("model=smollm2_135m", f"model.path={model}", "data=sums", "data.prompts_per_step=4")
        ),
        *(f"learner.lr={LR}", "learner.warmup_updates=0", "learner.updates_per_step=1"),
        *("rollout.samples_per_prompt=4", "rollout.kv_cache_mb=128"),
        *("rollout.max_response_tokens=32", "run.export=false", "tracking.wandb=off"),
        *("tracking.console=off", f"run.root={folder}", f"run.name={dtype}", "cluster.threads_per_actor=1"),
    ]


def table(rows: list[Row]) -> str:
    """As Markdown: medians over the steps of a learning rate; sizes and times against sync.sparse=off."""
    head = "| dtype | learning rate | elements that change | bytes | seconds | CPU seconds | whole, auto: seconds |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for dtype, lr in dict.fromkeys((row.dtype, row.lr) for row in rows):
        own = [row for row in rows if (row.dtype, row.lr) == (dtype, lr)]

        def middle(way: str, name: str, own: list[Row] = own) -> float:
            return statistics.median(getattr(row, name) for row in own if row.way == way)

        def against(name: str, unit: float, suffix: str) -> str:
            one, other = middle(SPARSE, name), middle(OFF, name)
            return f"{one / unit:.2f} of {other / unit:.2f} {suffix}".strip()

        changed = [row.changed for row in own if row.way == SPARSE and row.changed is not None]
        shares = " / ".join(f"{share:.2%}" for share in changed)
        lines.append(
            f"| {dtype} | {lr:g} | {shares} | {against('bytes', 1e6, 'MB')} | {against('seconds', 1, '')} "
            f"| {against('cpu_seconds', 1, '')} | {middle(FALLBACK, 'seconds'):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sparse pushes against whole ones.")
    parser.add_argument("--model", default="builtin", help="a folder with SmolLM2-135M-Instruct, or builtin")
    parser.add_argument("--steps", type=int, default=3, help="updates at each learning rate")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rlvr.rollout.pool.RolloutEngine = TimedEngine  # type: ignore[misc]
    rlvr.learner.group.Learner = TwoWays  # type: ignore[misc]
    load_before, whole = load_average(), Stopwatch()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in options.dtypes:
            rows += measure(dtype, options.model, options.steps, folder)
    print(table(rows), flush=True)
    content = {
        "model": "builtin" if options.model == "builtin" else "SmolLM2-135M-Instruct",
        "rows": [asdict(row) for row in rows],
        "about": {
            **about(load_before),
            "seconds": whole.seconds,
        },
    }
    file = write_result(options.out, "push", content)
    print(f"{whole.seconds:.0f} s in all; {file}")


if __name__ == "__main__":
    main()
