"""How long a start takes and how long it is silent: `python -m benchmarks.start [--against CHECKOUT]`.

From the command to the first step's line of the quickstart, caches warm: seconds, CPU seconds of all processes (which
a busy machine leaves alone, as it does not the clock), and the longest time without a line: start-<date>.json. With
--against it starts another checkout's code in turns with this one's and adds ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.about import about, load_average, write_result

HERE = Path(__file__).parents[1]
ARGUMENTS = (
    "recipe=dapo_divweight",
    "steps=1",
    "run.export=false",
    "tracking.wandb=off",
    "tracking.console=plain",
)
SAMPLE_SECONDS = 0.2


def start(checkout: Path, cores: int) -> dict[str, float]:
    """Start the quickstart of a checkout once.

    Raises:
        RuntimeError: it ended before its first step.
    """
    spent: dict[int, float] = {}
    reached = threading.Event()
    with tempfile.TemporaryDirectory() as root:
        command = [
            sys.executable,
            "-u",
            "-m",
            "rlvr.train",
            *ARGUMENTS,
            f"run.root={root}",
            f"cluster.cpus={cores}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        began = time.perf_counter()
        run = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=_count, args=(run.pid, reached, spent), daemon=True).start()
        lines: list[tuple[float, str]] = []
        assert run.stdout is not None
        for line in run.stdout:
            lines.append((time.perf_counter() - began, line))
            if line.startswith("step "):
                break
        seconds = time.perf_counter() - began
        reached.set()
        run.stdout.read()
        run.wait()
    if not lines or not lines[-1][1].startswith("step "):
        raise RuntimeError("".join(text for _, text in lines)[-2000:])
    times = [0.0, *(at for at, _ in lines)]
    silence = max(after - before for before, after in pairwise(times))
    return {"seconds": seconds, "cpu seconds": sum(spent.values()), "longest silence": silence}


def _count(pid: int, reached: threading.Event, spent: dict[int, float]) -> None:
    """CPU seconds of each process of the run, until its first step."""
    while not reached.wait(SAMPLE_SECONDS):
        try:
            root = psutil.Process(pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        for process in processes:
            try:
                taken = process.cpu_times()
            except psutil.Error:
                continue
            spent[process.pid] = taken.user + taken.system


def medians(starts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of every number."""
    return {key: round(statistics.median(one[key] for one in starts), 2) for key in starts[0]}


def main() -> None:
    """Start in turns, print every start as JSON and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, with the same environment")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load_before = load_average()
    checkouts = {"here": HERE, **({"there": options.against} if options.against else {})}
    starts: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(options.rounds):
        for name, checkout in checkouts.items():
            starts[name].append(start(checkout.resolve(), options.cores))
            print(json.dumps({name: starts[name][-1]}), flush=True)
    found = {name: medians(ones) for name, ones in starts.items()}
    ratios = {}
    if "there" in found:
        ratios = {key: round(value / found["there"][key], 3) for key, value in found["here"].items()}
    content = {"medians": found, "here over there": ratios, "starts": starts}
    print(json.dumps(content))
    print(write_result(options.out, "start", content | {"about": about(load_before)}))


if __name__ == "__main__":
    main()
