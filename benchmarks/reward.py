"""How fast the grading pool is: `python benchmarks/reward.py [--workers 2] [--count 10000]`.

Prints one JSON line per measurement. Ratios are taken between runs of one invocation; seconds are wall time.
- toy_step: one call for 256 short integer answers, median of 20 calls.
- exact: typical answers that our rules decide without algebra, a second of the caller's and of the workers' CPU time.
- programs: responses with a program, run against the row's tests (python_tests), a second of wall time.
- throughput: answers that need math-verify, pool against one process, alternating, median of the ratios;
  utilization is the share of the workers' wall time spent inside the grader, and cpu_efficiency the CPU time
  of one process over the CPU time of pool and workers, which other load on the machine does not move.
- hangs: the same with 1 % of answers that never end, against the bound 1.5 x plain + hangs x deadline / workers.
"""

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlvr.reward.grader import GRADER_VERSION, grade, warm_up
from rlvr.reward.verdict import GradeRequest
from rlvr.reward.workers.pool import GraderPool

HANGS = [
    r"9^{9^{9^{9}}}",
    r"(10^7)!",
    r"10^{10^{10}}",
    r"\binom{10^9}{10^8}",
]  # each runs for minutes or for ever


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the grading pool.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--count", type=int, default=10_000, help="answers in the run with hangs")
    parser.add_argument("--sample", type=int, default=1000, help="answers in each throughput run")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds per answer")
    parser.add_argument("--repeats", type=int, default=3, help="alternations of pool and single process")
    arguments = parser.parse_args()
    warm_up()
    started = time.perf_counter()
    with GraderPool(workers=arguments.workers, deadline_seconds=arguments.deadline, memory_mb=1024) as pool:
        report(
            "start", seconds=time.perf_counter() - started, workers=arguments.workers, grader=GRADER_VERSION
        )
        measure_toy_step(pool)
        measure_exact(pool, 10 * arguments.sample)
        measure_throughput(pool, arguments.workers, arguments.sample, arguments.repeats)
        measure_hangs(pool, arguments.workers, arguments.count, arguments.deadline)
    measure_programs(arguments.workers, arguments.sample // 4)


def report(measurement: str, **values: object) -> None:
    print(json.dumps({"measurement": measurement, **values}), flush=True)


@dataclass(frozen=True, slots=True)
class Timing:
    """One call to `grade`: wall seconds, seconds inside graders summed over workers, and what came out."""

    seconds: float
    grading_seconds: float
    outcomes: Counter[str]


def timed(pool: GraderPool, requests: list[GradeRequest]) -> Timing:
    started = time.perf_counter()
    verdicts = pool.grade(requests).values()
    seconds = time.perf_counter() - started
    outcomes = Counter(str(verdict.outcome) for verdict in verdicts)
    return Timing(seconds, sum(verdict.seconds for verdict in verdicts), outcomes)


def cpu_seconds(worker_pids: Iterable[int]) -> float:
    """CPU time used so far by this process and by the workers."""
    total = time.process_time()
    for pid in worker_pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def measure_toy_step(pool: GraderPool) -> None:
    requests = [
        GradeRequest(str(i), str(i % 90), rf"{i % 40} plus {i % 50} makes \boxed{{{i % 40 + i % 50}}}")
        for i in range(256)
    ]
    seconds = statistics.median(timed(pool, requests).seconds for _ in range(20))
    report("toy_step", answers=len(requests), milliseconds=seconds * 1e3)


def measure_exact(pool: GraderPool, count: int) -> None:
    reasoning = "We add the parts one after the other and take care of the signs. " * 12  # about 200 tokens
    answers = ("{n}", "{n}.0", r"\text{{yes}}", "(B)", r"\$1,{n}", "{n}^\\circ", "-{n}")
    golds = ("{n}", "{n}", "yes", "B", "1{n}", "{n}", "{n}")
    requests = [
        GradeRequest(
            str(i),
            golds[i % 7].format(n=100 + i % 900),
            rf"{reasoning}So \boxed{{{answers[i % 7].format(n=100 + i % 900)}}}.",
        )
        for i in range(count)
    ]
    cpu, started = cpu_seconds(pool.worker_pids), time.perf_counter()
    timing = timed(pool, requests)
    report(
        "exact",
        answers=count,
        per_cpu_second=count / (cpu_seconds(pool.worker_pids) - cpu),
        per_second=count / (time.perf_counter() - started),
        outcomes=timing.outcomes,
    )


def measure_programs(workers: int, count: int) -> None:
    tests = json.dumps([f"assert total([{n}, 1]) == {n + 1}" for n in range(5)])
    right = "```python\ndef total(numbers):\n    return sum(numbers)\n```"
    requests = [
        GradeRequest(str(i), tests, right if i % 2 else right.replace("sum", "max")) for i in range(count)
    ]
    with GraderPool(workers=workers, deadline_seconds=20, memory_mb=1024, verifier="python_tests") as pool:
        timed(pool, requests[: 2 * workers])  # the processes that make jails
        timing = timed(pool, requests)
    report("programs", programs=count, per_second=count / timing.seconds, outcomes=timing.outcomes)


def algebra_requests(count: int, seed: int) -> list[GradeRequest]:
    """Answers of several kinds, all different, so that no cache of math-verify's answers for the work."""
    requests = []
    for i in range(count):
        n = seed + 7 * i
        gold, answer = (
            (rf"\frac{{{n}}}{{{n + 1}}}", f"{2 * n}/{2 * n + 2}"),
            (f"x^2+{2 * n}x+{n * n}", f"(x+{n})^2"),
            (f"({n},{n + 2}]", rf"\left({n}, {n + 2}\right]"),
            (str(n), f"x={n}"),
            (rf"{n}\sqrt{{3}}", rf"\sqrt{{{3 * n * n}}}"),
            (rf"\{{{n},{n + 1}\}}", rf"\{{{n + 1},{n + 3}\}}"),
            (f"{n}", f"{n}.5"),
            (f"y={n}x+1", f"y-{n}x=1"),
        )[i % 8]
        requests.append(GradeRequest(str(i), gold, rf"Adding up, we find \boxed{{{answer}}}."))
    return requests


def measure_throughput(pool: GraderPool, workers: int, count: int, repeats: int) -> None:
    ratios, rates, utilization, efficiency = [], [], [], []
    for repeat in range(repeats):
        requests = algebra_requests(count, 10_000 * (repeat + 1))
        started, cpu_started = time.perf_counter(), time.process_time()
        for request in requests:
            grade(request.gold, request.response, policy=pool.policy)
        single, single_cpu = time.perf_counter() - started, time.process_time() - cpu_started
        cpu_started = cpu_seconds(pool.worker_pids)
        pooled = timed(pool, algebra_requests(count, 10_000 * (repeat + 1) + 3))
        ratios.append(single / pooled.seconds / workers)
        utilization.append(pooled.grading_seconds / (pooled.seconds * workers))
        efficiency.append(single_cpu / (cpu_seconds(pool.worker_pids) - cpu_started))
        rates.append(count / single)
    report(
        "throughput",
        answers=count,
        single_process_per_second=statistics.median(rates),
        pool_over_workers_times_single=statistics.median(ratios),
        ratios=ratios,
        utilization=statistics.median(utilization),
        cpu_efficiency=statistics.median(efficiency),
    )


def measure_hangs(pool: GraderPool, workers: int, count: int, deadline: float) -> None:
    plain_requests = algebra_requests(count, 200_001)
    plain = timed(pool, plain_requests).seconds
    requests = algebra_requests(count, 200_004)
    for i in range(50, count, 100):
        hang = HANGS[i // 100 % len(HANGS)]
        requests[i] = GradeRequest(str(i), "12", rf"\boxed{{{hang}}}")
    hangs = len(range(50, count, 100))
    timing = timed(pool, requests)
    bound = 1.5 * plain + hangs * deadline / workers
    report(
        "hangs",
        answers=count,
        hangs=hangs,
        deadline=deadline,
        plain_seconds=plain,
        seconds=timing.seconds,
        bound_seconds=bound,
        within_bound=timing.seconds <= bound,
        outcomes=timing.outcomes,
        workers_after=len(pool.worker_pids),
    )


if __name__ == "__main__":
    main()
