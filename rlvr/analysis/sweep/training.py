"""What the runs of a condition logged while training: curves over steps, the end of training, cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.analysis.sweep.compare import LEAST_SEEDS
from rlvr.analysis.sweep.runs import FinishedRun
from rlvr.metrics import PERCENTILES, TOP_SHARES, WEIGHT_PERCENTILES
from rlvr.stats.seeds import SeedMean, seed_mean

MARKS = ("mean", *(f"p{p}" for p in PERCENTILES))
DIVERGENCE = tuple(f"js_base/{mark}" for mark in MARKS)
WEIGHT_MARKS = ("mean", *(f"p{p}" for p in WEIGHT_PERCENTILES))
WEIGHT = tuple(f"token_weight/{mark}" for mark in WEIGHT_MARKS)
CONCENTRATION = ("token_weight/gini", "token_weight/effective", *(f"gradient/top{p}" for p in TOP_SHARES))
ENTROPY = "entropy/mean"
LAST_PART = 5  # the end of training is the last fifth of the steps


@dataclass(frozen=True, slots=True)
class Point:
    """A metric after a step, over the seeds that have it."""

    step: int
    mean: float
    low: float  # of the 95 % t-interval over seeds, of the range with fewer than LEAST_SEEDS
    high: float
    seeds: int


Curve = tuple[Point, ...]  # a metric of one condition over the steps


@dataclass(frozen=True, slots=True)
class Trained:
    """What the training of a condition came to and what it took, over its runs."""

    condition: str
    runs: int
    # metric -> mean over seeds of each run's mean over the last fifth of the steps; without what no run logged
    ending: dict[str, SeedMean]
    train_seconds: SeedMean  # the training loop, evaluation and checkpoints included
    setup_seconds: SeedMean
    tokens: SeedMean  # sampled for training
    total_seconds: float  # setup and training of all the runs
    total_tokens: int
    tokens_per_second: float  # all tokens by all seconds of training

    def seeds(self, metric: str) -> int:
        """How many runs logged the metric."""
        return self.ending[metric].seeds if metric in self.ending else 0


def curve(runs: Sequence[FinishedRun], condition: str, metric: str) -> Curve:
    """A metric of a condition over steps; those of evaluations begin with eval/.

    A band over fewer than LEAST_SEEDS values is their range: a t-interval of two says next to nothing.
    """
    own = [run for run in runs if run.condition == condition]
    tables = [run.evals if metric.startswith("eval/") else run.train for run in own]
    points = []
    for step in sorted({step for table in tables for step, row in table.items() if metric in row}):
        values = [table[step][metric] for table in tables if metric in table.get(step, {})]
        found = seed_mean(values)
        low, high = (found.low, found.high) if len(values) >= LEAST_SEEDS else (min(values), max(values))
        points.append(Point(step, found.mean, low, high, len(values)))
    return tuple(points)


def first_step_at(found: Curve, level: float) -> int | None:
    """The first step whose mean over seeds reaches the level, None if none does; 1e-9 is for rounding."""
    return next((point.step for point in found if point.mean >= level - 1e-9), None)


def trained(runs: Sequence[FinishedRun], condition: str) -> Trained:
    """The end of a condition's training, its wall time and tokens."""
    own = [run for run in runs if run.condition == condition]
    late = {
        metric: [mean for run in own if (mean := _late_mean(run, metric)) is not None]
        for metric in (*DIVERGENCE, *WEIGHT, *CONCENTRATION, ENTROPY)
    }
    summaries = [run.summary for run in own]
    seconds, tokens = sum(s.train_seconds for s in summaries), sum(s.tokens_generated for s in summaries)
    return Trained(
        condition=condition,
        runs=len(own),
        ending={metric: seed_mean(means) for metric, means in late.items() if means},
        train_seconds=seed_mean([s.train_seconds for s in summaries]),
        setup_seconds=seed_mean([s.setup_seconds for s in summaries]),
        tokens=seed_mean([s.tokens_generated for s in summaries]),
        total_seconds=seconds + sum(s.setup_seconds for s in summaries),
        total_tokens=tokens,
        tokens_per_second=tokens / seconds if seconds > 0 else math.nan,
    )


def _late_mean(run: FinishedRun, metric: str) -> float | None:
    steps = run.summary.steps
    first = steps - math.ceil(steps / LAST_PART) + 1
    values = [row[metric] for step, row in run.train.items() if step >= first and metric in row]
    return sum(values) / len(values) if values else None
