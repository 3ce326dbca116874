"""The stages of the suite: each is a function of its place that returns what it measured, and fits ten minutes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_suite.model import QWEN_1_5B, SMALL, random_model
from benchmarks.watching import Watched, watch_training

STAGE_SECONDS = 600
REPOSITORY = Path(__file__).parents[2]
QUICK = (
    "eval.every=0",
    "eval.samples_per_prompt=1",
    "run.export=false",
    "run.save_every=0",
    "tracking.console=plain",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the suite runs: a GPU and real sizes, or CPU cores and sizes at which nothing measured means anything."""

    cuda: bool
    folder: Path  # for models and runs
    memory_gb: float = 0.0  # of the GPU
    gpus: int = 0

    @property
    def cluster(self) -> list[str]:
        """The cluster of a run on this place: engine and learner take turns."""
        if not self.cuda:
            return ["cluster.colocate=true", "cluster.threads_per_actor=1"]
        return ["cluster=gpu_1_80gb" if self.memory_gb > 60 else "cluster=gpu_1"]


class StageError(Exception):
    """A stage did not get through; its text is the end of what it printed."""


def kernels(place: Place) -> dict[str, Any]:
    """Tests and benchmark of the divergence kernels."""
    if place.cuda:
        code, said = _command("bash", "benchmarks/divergence/run_on_gpu.sh")
    else:
        small = ("--device", "cpu", "--tokens", "4", "--out", str(place.folder))
        code, said = _command(sys.executable, "-m", "benchmarks.divergence", *small)
    if code:
        raise StageError(said[-2000:])
    return {
        "targets": [
            line for line in said.splitlines() if line.startswith(("reached", "missed", "not measured"))
        ]
    }


def quickstart(place: Place) -> dict[str, Any]:
    """The quickstart: learns, with engines and learner in step."""
    size = [] if place.cuda else ["steps=2", "data.prompts_per_step=4", "rollout.samples_per_prompt=4",
                                  "learner.updates_per_step=2", "data.eval=[{name:arithmetic_heldout,limit:4}]",
                                  "rollout.kv_cache_mb=64"]  # fmt: skip
    run, rows = _train(place, "quickstart", ["recipe=dapo_divweight", *place.cluster, *size, *QUICK])
    return {
        "accuracy": [row["eval/arithmetic_heldout/accuracy"] for row in rows if row["kind"] == "eval"],
        "largest mismatch": max(row["mismatch/mean"] for row in rows if row["kind"] == "train"),
        **_published(rows, place),
        "memory": _measured(run),
    }


def colocated(place: Place) -> dict[str, Any]:
    """Two steps of a model with the sizes of a 1.5B one, every response at its full length, on one shared GPU."""
    size = QWEN_1_5B if place.cuda else SMALL
    folder = random_model(size, place.folder / "random_model")
    length = size.response_tokens + 64
    arguments = [
        *("recipe=dapo_divweight", "model=local", f"model.path={folder}", *place.cluster, "steps=2"),
        *(
            f"model.max_length={length}",
            "data.max_prompt_tokens=64",
            f"learner.tokens_per_micro_batch={4 * length}",
        ),
        *(f"rollout.max_response_tokens={size.response_tokens}", f"data.prompts_per_step={size.prompts}"),
        *(
            f"rollout.samples_per_prompt={size.samples}",
            "learner.updates_per_step=2",
            "rollout.dynamic_sampling=false",
        ),
        *("data.eval=[{name:arithmetic_heldout,limit:1}]", *QUICK),
        *(() if place.cuda else ("rollout.kv_cache_mb=64", "model.dtype=float32", "reward.overlong_cache=8")),
    ]
    run, rows = _train(place, "colocated", arguments)
    return {**_published(rows, place), "plan": _plan(arguments), "memory": _measured(run)}


def push(place: Place) -> dict[str, Any]:
    """Weights after an update, sent and compared by checksum: CUDA IPC on one GPU, NCCL where there are two."""
    ways = ["ipc"] + (["nccl"] if place.gpus > 1 else []) if place.cuda else ["gloo"]
    found = {way: _pushed(place, way) for way in ways}
    if place.cuda and place.gpus < 2:
        found["nccl"] = {"not measured": "two processes on one GPU cannot use it; this machine shows one GPU"}
    return found


STAGES: dict[str, Callable[[Place], dict[str, Any]]] = {
    "kernels": kernels,
    "quickstart": quickstart,
    "colocated": colocated,
    "push": push,
}


def _pushed(place: Place, way: str) -> dict[str, Any]:
    code, said = _command(sys.executable, "-m", "benchmarks.gpu_suite.push", way, str(place.folder))
    if code:
        raise StageError(said[-2000:])
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    if answer["equal"] is False:
        raise StageError(f"the engine's weights are not the learner's after a push over {way}: {answer}")
    return answer


def _train(place: Place, name: str, arguments: list[str]) -> tuple[Watched, list[dict[str, Any]]]:
    where = [f"run.root={place.folder}", f"run.name={name}"]
    log = place.folder / f"{name}.log"
    run = watch_training([*arguments, *where], deadline_seconds=STAGE_SECONDS, log=log)
    if run.code:
        raise StageError(run.output[-2000:])
    lines = (place.folder / name / "metrics.jsonl").read_text().splitlines()
    return run, [json.loads(line) for line in lines]


def _published(rows: list[dict[str, Any]], place: Place) -> dict[str, Any]:
    """Medians over the steps, by the names under which verl (timing_s, perf) and NeMo-RL publish them."""
    steps = [row for row in rows if row["kind"] == "train"]

    def median(key: str) -> float:
        return statistics.median(row.get(key, 0.0) for row in steps)

    step, tokens = median("seconds/step"), median("tokens/generated")
    return {
        "verl": {
            "timing_s/gen": median("seconds/generate"),
            "timing_s/old_log_prob": median("seconds/score"),
            "timing_s/update_actor": median("seconds/update"),
            "timing_s/update_weights": median("seconds/push"),
            "timing_s/step": step,
            "perf/total_num_tokens": tokens,
            "perf/throughput": tokens / step / max(1, place.gpus and 1),
        },
        "nemo_rl": {
            "Generation time": median("seconds/generate"),
            "Logprob inference time": median("seconds/score"),
            "Policy training time": median("seconds/update"),
            "Weight sync time": median("seconds/push"),
            "Tokens/sec/gpu": tokens / step,
        },
    }


def _plan(arguments: list[str]) -> list[str]:
    code, said = _command(sys.executable, "-m", "rlvr.plan", *arguments)
    if code:
        raise StageError(said[-2000:])
    return said.splitlines()


def _measured(run: Watched) -> dict[str, Any]:
    """Peaks in GB by actor."""
    return {
        "host GB (proportional set size)": {name: round(size / 1e9, 3) for name, size in run.host.items()},
        "device GB": {name: round(size / 1e9, 3) for name, size in run.device.items()},
    }


def _command(*command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STAGE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return 124, f"not done within {error.timeout:g} s"
    return done.returncode, done.stdout
