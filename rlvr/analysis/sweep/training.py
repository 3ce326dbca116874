"""What the runs of a condition logged while training: curves over steps, the end of training, cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
NO_MEAN = SeedMean(math.nan, math.nan, math.nan, 0)
LAST_PART = 5  # the end of training is the last fifth of the steps
# A metric of one condition: step -> mean over the seeds that have it, and its band.
Curve = dict[int, SeedMean]


@dataclass(frozen=True, slots=True)
class Trained:
    """What the training of a condition came to and what it took, over its runs."""

    condition: str
    runs: int
    # metric -> mean over seeds of each run's mean over the last fifth of the steps; of no seed where no run logged it
    ending: dict[str, SeedMean]
    train_seconds: SeedMean  # the training loop, evaluation and checkpoints included
    setup_seconds: SeedMean
    tokens: SeedMean  # sampled for training
    total_seconds: float  # setup and training of all the runs
    total_tokens: int
    tokens_per_second: float  # all tokens by all seconds of training


def curve(runs: Sequence[FinishedRun], metric: str) -> Curve:
    """A metric over the steps of a condition's runs; those of evaluations begin with eval/.

    A band over fewer than LEAST_SEEDS values is their range: a t-interval of two says next to nothing.
    """
    values: dict[int, list[float]] = {}
    for run in runs:
        for step, row in (run.evals if metric.startswith("eval/") else run.train).items():
            if metric in row:
                values.setdefault(step, []).append(row[metric])
    return {step: _with_band(values[step]) for step in sorted(values)}


def _with_band(values: Sequence[float]) -> SeedMean:
    found = seed_mean(values)
    return found if len(values) >= LEAST_SEEDS else replace(found, low=min(values), high=max(values))


def first_step_at(found: Curve, level: float) -> int | None:
    """The first step whose mean over seeds reaches the level, None if none does; 1e-9 is for rounding."""
    return next((step for step, over_seeds in found.items() if over_seeds.mean >= level - 1e-9), None)


def trained(runs: Sequence[FinishedRun]) -> Trained:
    """The end of the training of a condition's runs, its wall time and tokens."""
    late = {
        metric: [mean for run in runs if (mean := _late_mean(run, metric)) is not None]
        for metric in (*DIVERGENCE, *WEIGHT, *CONCENTRATION, ENTROPY)
    }
    summaries = [run.summary for run in runs]
    seconds, tokens = sum(s.train_seconds for s in summaries), sum(s.tokens_generated for s in summaries)
    return Trained(
        condition=runs[0].condition,
        runs=len(runs),
        ending={metric: seed_mean(means) if means else NO_MEAN for metric, means in late.items()},
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
