"""Accuracy after training, condition against baseline: over seeds and over problems. Pure.

Two questions, two units. Would another run of the same training say the same? There the seed is the unit
(`rlvr.stats.seeds`), equal seeds are paired and the verdict rests on it. Would other problems of the same kind say
the same of these very runs? There the problem is the unit (`rlvr.stats.accuracy`): all samples of all common
seeds count for their problem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlvr.analysis.sweep.runs import FinishedRun, Graded
from rlvr.errors import DataError
from rlvr.stats.accuracy import Bools, Doubles, Estimate, compare_correct, correctness, wilson_interval
from rlvr.stats.seeds import PairedDifference, SeedMean, paired_difference, seed_mean
from rlvr.stats.student import LEVEL, holm

LEAST_SEEDS = 3  # fewer give no idea of the spread over seeds, so nothing is ranked
BASELINES = ("recipe-dapo", "recipe-dapo_advantage-uniform")  # tried in this order where none is named
BySeed = dict[int, FinishedRun]


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """One condition on one evaluation set."""

    condition: str
    evaluation: str
    is_baseline: bool
    seeds: SeedMean
    problems: Estimate | None  # over all seeds' samples, clustered by problem; None if samples were not kept
    gain: PairedDifference | None  # over the baseline; None for itself and without a common seed
    # The same difference with the problem as the unit; None as above, or unpaired.
    problem_gain: Estimate | None
    pairs: tuple[tuple[int, float], ...]  # (seed, difference) of the common seeds
    p_holm: float = math.nan  # corrected over all comparisons of the report

    @property
    def verdict(self) -> str:
        """What may be said about the condition against the baseline."""
        if self.is_baseline:
            return "-"
        if self.gain is None or self.gain.seeds < LEAST_SEEDS:
            few = "no seed" if self.gain is None else f"too few seeds: {self.gain.seeds}"
            return f"{few} in common with the baseline, at least {LEAST_SEEDS} needed"
        if self.p_holm < LEVEL:
            return "better" if self.gain.mean > 0 else "worse"
        if self.gain.detectable is None:
            return "not told apart; the seeds do not differ enough to say what they could have shown"
        return f"not told apart; these seeds could have shown a difference of {self.gain.detectable:.4f}"


def choose_baseline(conditions: Sequence[str], named: str | None) -> str:
    """The condition that the others are compared with; the only one where there is one.

    Raises:
        DataError: there is no such condition, or none was named and none is the usual one.
    """
    usual = (*BASELINES, *conditions) if len(conditions) == 1 else BASELINES
    for name in (named,) if named is not None else usual:
        if name in conditions:
            return str(name)
    raise DataError(f"--baseline {named or '(not given)'}: name one of {', '.join(conditions)}")


def compare_conditions(runs: Sequence[FinishedRun], baseline: str) -> list[ConditionResult]:
    """One row for each condition and evaluation set, set by set, the baseline first."""
    conditions = list(dict.fromkeys([baseline, *(run.condition for run in runs)]))
    evaluations = list(dict.fromkeys(name for run in runs for name in run.accuracy))
    rows = [
        _result(condition, own, base, evaluation, is_baseline=condition == baseline)
        for evaluation in evaluations
        for base in [_by_seed(runs, baseline, evaluation)]
        for condition in conditions
        if (own := _by_seed(runs, condition, evaluation))
    ]
    adjusted = holm([math.nan if row.gain is None else row.gain.p_value for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _by_seed(runs: Sequence[FinishedRun], condition: str, evaluation: str) -> BySeed:
    own = (run for run in runs if run.condition == condition and evaluation in run.accuracy)
    return {run.summary.seed: run for run in own}


def _result(
    condition: str, own: BySeed, base: BySeed, evaluation: str, *, is_baseline: bool
) -> ConditionResult:
    common = [] if is_baseline else sorted(own.keys() & base.keys())
    mine, theirs = ([runs[seed] for seed in common] for runs in (own, base))
    first, second = ([run.accuracy[evaluation] for run in found] for found in (mine, theirs))
    graded = pooled([*own.values()], evaluation)
    return ConditionResult(
        condition=condition,
        evaluation=evaluation,
        is_baseline=is_baseline,
        seeds=seed_mean([run.accuracy[evaluation] for run in own.values()]),
        problems=None if graded is None else wilson_interval(as_array(graded)),
        gain=paired_difference(first, second) if common else None,
        problem_gain=_problem_gain(mine, theirs, evaluation) if common else None,
        pairs=tuple((seed, a - b) for seed, a, b in zip(common, first, second, strict=True)),
    )


def pooled(runs: Sequence[FinishedRun], evaluation: str) -> Graded | None:
    """Every problem's graded samples of all the runs; None if a run has none or was given other problems."""
    tables = [run.correct.get(evaluation, {}) for run in runs]
    if not tables or not tables[0] or any(table.keys() != tables[0].keys() for table in tables):
        return None
    return {problem: [c for table in tables for c in table[problem]] for problem in tables[0]}


def as_array(graded: Graded) -> Bools | Doubles:
    """The samples of all problems, as `rlvr.stats.accuracy` takes them."""
    most = max(map(len, graded.values()))  # a problem has fewer where the verifier failed
    return correctness([[*row, *[None] * (most - len(row))] for row in graded.values()])


def _problem_gain(
    runs: Sequence[FinishedRun], baseline: Sequence[FinishedRun], evaluation: str
) -> Estimate | None:
    """The mean over problems of each problem's difference, with the interval of `rlvr.stats.accuracy.compare`."""
    first, second = pooled(runs, evaluation), pooled(baseline, evaluation)
    if first is None or second is None or first.keys() != second.keys() or len(first) < 2:
        return None
    in_order = {problem: second[problem] for problem in first}
    found = compare_correct(as_array(in_order), as_array(first), "the runs and those of the baseline")
    return Estimate(found.difference, found.low, found.high)


def ranking(rows: Sequence[ConditionResult], evaluation: str) -> str:
    """Which conditions differ from the baseline, or why nothing is said about it."""
    compared = [row for row in rows if row.evaluation == evaluation and not row.is_baseline]
    ranked = [row for row in compared if len(row.pairs) >= LEAST_SEEDS]
    short = ", ".join(f"{row.condition} ({len(row.pairs)})" for row in compared if row not in ranked)
    needed = f"at least {LEAST_SEEDS} seeds in common with the baseline are needed"
    if not ranked:
        why = f"; there are fewer for {short}" if short else ", and there is nothing to compare"
        return f"No ranking: {needed}{why}."
    lines = []
    for verdict in ("better", "worse"):
        found = sorted((row for row in ranked if row.verdict == verdict), key=lambda row: -row.seeds.mean)
        names = ", ".join(row.condition for row in found) or "none"
        lines.append(f"{verdict.capitalize()} than the baseline (Holm p < {LEVEL}): {names}.")
    apart = [row.condition for row in ranked if row.verdict not in ("better", "worse")]
    lines.append(f"Not told apart from the baseline: {', '.join(apart) or 'none'}.")
    if short:
        lines.append(f"Not ranked, because {needed}: {short}.")
    return "\n".join(lines)
