"""Real engines on CPU: a flow against dispatch in batches, and pushes into running responses against pushes that wait.

    python -m benchmarks.streaming_real                           # the built-in model
    python -m benchmarks.streaming_real --model /path/to/smollm2  # SmolLM2-135M, see rlvr/data/smollm2.py
    python -m benchmarks.streaming_real --groups 8                # a batch that fills all slots twice, not once

One learner and two engines serve all ways one after the other, twice round. Responses go on to lengths drawn from a
lognormal distribution of which 5 % reach the limit; a group's prompt decides whether it carries a signal (half do).
Nothing is learnt: between two batches there is a push. Times are per kept group, from the second batch on; an engine
is busy while it computes tokens. Prints a table and writes streaming-real-<model>-<groups>-<date>.json.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rlvr.rollout.pool
from benchmarks.about import about, load_average, write_result
from rlvr.cli.overrides.compose import load
from rlvr.cluster import wait
from rlvr.config import Config
from rlvr.reward.example import Example
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.generation import GenerationRequest, GenerationResult, Slice
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.runtime.batches import open_source
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.session import Session, open_session
from rlvr.timing import Stopwatch

LIMIT = 192  # tokens of a response
SIGMA, AT_LIMIT = 1.0, 0.05  # deviation of the logarithm of the lengths, share at the limit
SAMPLES, SLOTS, ROUNDS = 8, 16, 4
ENGINES = 2
WAYS = {  # name -> rollout.staleness, rollout.on_update
    "batch dispatch": (0, "wait"),
    "flow, wait": (2, "wait"),
    "flow, recompute": (2, "recompute"),
    "flow, keep": (2, "keep"),
}


def length_of(seed: int) -> int:
    """Tokens of the response with this seed."""
    middle = math.log(LIMIT) - SIGMA * statistics.NormalDist().inv_cdf(1 - AT_LIMIT)
    return max(1, min(LIMIT, int(random.Random(seed).lognormvariate(middle, SIGMA))))


def half(example: Example, response: str) -> bool:
    """A verifier: half of the problems have no right answer, half of the answers to the others are right."""
    return zlib.crc32(example.id.encode()) % 2 == 0 and len(response) % 2 == 0


class TimedEngine(RolloutEngine):
    """An engine whose responses have given lengths, and that knows how long it has been computing."""

    busy_seconds, tokens = 0.0, 0

    def busy(self) -> tuple[float, int]:
        """Seconds spent computing, and tokens of finished responses."""
        return self.busy_seconds, self.tokens

    def behave(self, on_update: str) -> None:
        """What becomes of running responses from now on; those that run are dropped."""
        self._on_update = on_update
        self._loop.cancel(list(self._loop._running))
        self._loop.advance(0.0)

    def advance(
        self, requests: Sequence[Request], cancelled: Sequence[str], sampling: Sampling, seconds: float
    ) -> Slice:
        """As in `RolloutEngine`."""
        done = super().advance(requests, cancelled, sampling, seconds)
        self.busy_seconds += done.seconds
        self.tokens += sum(len(generation.token_ids) for _, generation in done.finished)
        return done

    def generate(
        self, requests: list[GenerationRequest], sampling: Sampling
    ) -> tuple[list[GenerationResult], float]:
        """As in `RolloutEngine`."""
        results, seconds = super().generate(requests, sampling)
        self.busy_seconds += seconds
        self.tokens += sum(len(g.token_ids) for r in results for g in r.generations)
        return results, seconds

    def _params(self, request: Request, sampling: Sampling) -> Any:
        params = super()._params(request, sampling)
        params.max_tokens = length_of(request.seed)
        params.ignore_eos, params.stop_token_ids = True, []
        return params


@dataclass(frozen=True, slots=True)
class Row:
    """One way to dispatch, from its second batch on."""

    way: str
    kept: int  # groups
    seconds: float
    tokens: int
    busy: float  # share of the engines' time without pushes, the least busy engine
    push_pause: float  # seconds that generation stands still for one push, the median
    push_transfer: float  # of these, the transfer

    @property
    def group_seconds(self) -> float:
        """Wall time per kept group."""
        return self.seconds / self.kept if self.kept else math.inf


def busy_of(s: Session) -> list[tuple[float, int]]:
    handles: list[Any] = s.engines.handles
    return wait([h.busy.remote() for h in handles], deadline_seconds=60, what="how busy the engines were")


def measure(s: Session, cfg: Config, way: str, batches: int) -> Row:
    """Form so many batches one way, with a push after each."""
    staleness, on_update = WAYS[way]
    cfg = replace(
        cfg, rollout=replace(cfg.rollout, staleness=staleness, on_update=on_update), steps=batches + 4
    )
    handles: list[Any] = s.engines.handles
    wait([h.behave.remote(on_update) for h in handles], deadline_seconds=60, what="the next way")
    s.pusher.push(0)
    start = TrainingState(0, 0, 0, 0.0, 0.0, {})
    (s.folder.path / "ready_groups.jsonl").unlink(missing_ok=True)
    stack = ExitStack()
    source = open_source(cfg, s.engines, s.graders, s.stream, start, s.folder, stack)
    s.pusher.pausing = source.paused
    kept, pauses, transfers = 0, [], []
    watch, before = Stopwatch(), busy_of(s)
    try:
        for step in range(1, batches + 1):
            batch = source.next(step)
            if step == 1:  # the others begin with responses under way, as this one did not
                watch, before, kept, pauses, transfers = Stopwatch(), busy_of(s), 0, [], []
            else:
                kept += len(batch.groups)
            if step == batches:
                break
            pause = Stopwatch()
            with source.paused("push"):
                transfer = Stopwatch()
                s.pusher.push(step)
                transfers.append(transfer.seconds)
            pauses.append(pause.seconds)
            source.trained(step)
        seconds, after = watch.seconds, busy_of(s)
    finally:
        source.close()
        stack.close()
    generation = seconds - sum(transfers)
    spent = [now[0] - then[0] for now, then in zip(after, before, strict=True)]
    tokens = sum(now[1] - then[1] for now, then in zip(after, before, strict=True))
    return Row(
        way,
        kept,
        seconds,
        tokens,
        min(spent) / generation,
        statistics.median(pauses),
        statistics.median(transfers),
    )


def arguments(options: argparse.Namespace, folder: Path) -> list[str]:
    """Of the run whose processes are used."""
    model = ["model.max_length=256"]
    if options.model is not None:
        model = ["model=smollm2_135m", "data=sums", f"model.path={options.model}", "model.max_length=288"]
    return [
        *model,
        *("recipe=dapo", "steps=1", f"rollout.engines={ENGINES}", f"rollout.max_concurrent={SLOTS}"),
        *(
            f"data.prompts_per_step={options.groups}",
            f"rollout.samples_per_prompt={SAMPLES}",
            "learner.updates_per_step=1",
        ),
        *("rollout.staleness=1", "rollout.dynamic_sampling=true", f"rollout.max_rounds={ROUNDS}"),
        *(f"rollout.max_response_tokens={LIMIT}", "rollout.kv_cache_mb=512"),
        *("data.eval=[{name:arithmetic_heldout,limit:1}]", "run.export=false", "tracking.wandb=off"),
        *(
            "reward.verifier=benchmarks.streaming_real:half",
            "reward.truncated_can_be_correct=true",  # every response comes to its limit
            "loss.rollout_correction=2.0",
            "sync.preflight=false",
        ),
        *(f"run.root={folder}", "run.name=streaming", "cluster.threads_per_actor=1"),
        *("rollout.start_deadline_seconds=900", "learner.start_deadline_seconds=900"),
    ]


def table(rows: list[Row]) -> str:
    """As Markdown; the first row is what the others are compared with."""
    head = (
        "| way | seconds a kept group | against batch dispatch | engines busy | pause for a push | transfer |"
    )
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        gain = rows[0].group_seconds / row.group_seconds
        lines.append(
            f"| {row.way} | {row.group_seconds:.3f} | {gain:.2f}x | {row.busy:.0%} | {row.push_pause * 1000:.0f} ms "
            f"| {row.push_transfer * 1000:.0f} ms |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="A flow against batches on real engines.")
    parser.add_argument("--model", help="a folder with SmolLM2-135M-Instruct; without it the built-in model")
    parser.add_argument(
        "--groups", type=int, default=4, help=f"of a batch; {ENGINES * SLOTS // SAMPLES} fill all slots"
    )
    parser.add_argument("--batches", type=int, default=8, help="of each way and round")
    parser.add_argument("--rounds", type=int, default=2, help="of all ways")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rlvr.rollout.pool.RolloutEngine = TimedEngine  # type: ignore[misc]
    load_before = load_average()
    name = "builtin" if options.model is None else "smollm2"
    whole, rounds = Stopwatch(), []
    with tempfile.TemporaryDirectory() as folder:
        cfg = load(arguments(options, Path(folder)))
        with open_session(cfg) as session:
            session.source.close()
            started = whole.seconds
            measure(session, cfg, "batch dispatch", 2)  # the first tokens of an engine take seconds
            for _ in range(options.rounds):
                rounds.append([measure(session, cfg, way, options.batches) for way in WAYS])
                print(table(rounds[-1]), flush=True)
    content = {
        "settings": {
            **{
                "limit": LIMIT,
                "sigma": SIGMA,
                "at_limit": AT_LIMIT,
                "model": name,
                "groups a batch": options.groups,
                "samples": SAMPLES,
            },
            **{
                "slots an engine": SLOTS,
                "engines": ENGINES,
                "rounds at most": ROUNDS,
                "batches": options.batches,
            },
        },
        "rounds": [
            [{name: getattr(row, name) for name in (*Row.__slots__, "group_seconds")} for row in rows]
            for rows in rounds
        ],
        "gain": {
            way: statistics.median(rows[0].group_seconds / rows[i].group_seconds for rows in rounds)
            for i, way in enumerate(WAYS)
        },
        "about": about(load_before) | {"seconds to start": started, "seconds": whole.seconds},
    }
    file = write_result(options.out, f"streaming-real-{name}-{options.groups}", content)
    print(f"{whole.seconds:.0f} s in all; {file}")


if __name__ == "__main__":
    main()
