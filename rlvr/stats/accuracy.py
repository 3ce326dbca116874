"""Evaluation statistics: avg@k, pass@k, confidence intervals and paired comparisons.

Shapes: `P` problems, `n` samples of each. Samples of one problem resemble each other, so the problem, not the
sample, is the unit of every interval and test here: it answers how the number would move with other problems
of the same kind and other samples. Majority votes are in `rlvr.stats.majority`.

A sample on which the verifier failed is missing, not wrong (`correctness`): a problem's rate is over its other
samples, and a problem without any is left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.stats.student import detectable_by, t_quantile, two_sided

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The graded samples of one model on one evaluation set.

    Raises ValueError if the shapes disagree, if there is no sample, or if an id occurs twice.
    """

    name: str
    problem_ids: tuple[str, ...]  # P
    correct: Bools | Doubles  # [P, n], see `correctness`
    lengths: NDArray[np.int64]  # [P, n] response tokens
    truncated: Bools  # [P, n] hit the response limit before an end token
    answers: tuple[tuple[str | None, ...], ...]  # P x n extracted answers, None where there was none

    def __post_init__(self) -> None:
        as_graded(self.correct)
        shape = self.correct.shape
        shapes = {
            "problem_ids": (len(self.problem_ids), shape[1]),
            "lengths": self.lengths.shape,
            "truncated": self.truncated.shape,
            "answers": (len(self.answers), *{len(row) for row in self.answers}),
        }
        for field, found in shapes.items():
            if found != shape:
                raise ValueError(
                    f"evaluation {self.name!r}: {field} is {found}; expected {shape} as correct is"
                )
        twice = [name for name, count in Counter(self.problem_ids).items() if count > 1]
        if twice:
            raise ValueError(f"evaluation {self.name!r}: problem {twice[0]!r} occurs more than once")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Accuracy of the second model less that of the first, on the same problems."""

    difference: float
    low: float
    high: float
    p_value: float  # two-sided, of no difference on any problem
    problems: int
    differing: int  # problems on which the two are not equally often right
    # The smallest difference that this test finds with 80 % power; of the spread between problems, not of the
    # difference found (`rlvr.stats.seeds.detectable_difference`).
    detectable: float


@dataclass(frozen=True, slots=True)
class LengthStats:
    """Response lengths in tokens; nan where there is no such response."""

    mean: float
    median: float
    p90: float
    longest: int
    mean_correct: float
    mean_wrong: float
    truncated: float  # share of all responses
    truncated_correct: float  # share of the truncated responses that are correct all the same


def avg_at_k(correct: ArrayLike) -> float:
    """Return avg@k, the mean accuracy over problems and their k samples ([P, k])."""
    graded = as_graded(correct)
    return float(graded.mean() if graded.dtype == np.bool_ else rates(graded).mean())


def pass_at_k(correct: ArrayLike) -> Doubles:
    """Return the unbiased pass@k of each problem, [P, n]; column k - 1 is pass@k.

    The chance that k of the n samples ([P, n]), drawn without replacement, hold a correct one:
    1 - C(n - c, k) / C(n, k), as a running product of ratios in [0, 1] (Chen et al. 2021, "Evaluating Large
    Language Models Trained on Code", eq. 1). Where samples are missing n is the number of a problem's others, and
    nan stands for k beyond it.
    """
    graded = as_graded(correct)
    missing = np.isnan(graded)
    n = graded.shape[1] - missing.sum(axis=1, keepdims=True)
    drawn = np.arange(graded.shape[1])
    wrong = n - np.where(missing, 0, graded).astype(np.int64).sum(axis=1, keepdims=True)
    ratios = np.maximum(wrong - drawn, 0) / np.maximum(n - drawn, 1)
    return np.where(drawn < n, 1.0 - np.cumprod(ratios, axis=1), np.nan)


def wilson_interval(correct: ArrayLike) -> Estimate:
    """Return the accuracy of [P, n] samples with Wilson's interval at the effective sample size, by t with P - 1.

    The effective size is that of independent samples with the same variance, P n / (1 + (n - 1) rho). The intraclass
    correlation rho is estimated from the variance between problems, to which half a problem with all samples right and
    half a problem with all wrong are added: few problems tell little of it, and then samples count as all alike.
    (Wilson 1927; Korn and Graubard 1998 for effective size and degrees of freedom; the half problems are ours, see
    docs/statistics.md.)
    """
    graded = as_graded(correct)
    shares, samples = rates(graded), (~np.isnan(graded)).sum(axis=1)
    mean, problems, each = float(shares.mean()), len(shares), float(samples.mean())
    rho = 1.0
    if each > 1:  # over the problems and half a problem all right, half a problem all wrong
        middle = (float(shares.sum()) + 0.5) / (problems + 1)
        spread = (float((shares**2).sum()) + 0.5 - (problems + 1) * middle**2) / problems
        rho = min(1.0, max(0.0, (each * spread / (middle * (1 - middle)) - 1) / (each - 1)))
    size = problems * each / (1 + (each - 1) * rho)
    low, high = wilson_bounds(mean, size, t_quantile(0.975, max(problems - 1, 1)))
    return Estimate(mean, min(mean, low), max(mean, high))


def wilson_bounds(mean: float, size: float, z: float) -> tuple[float, float]:
    """Return Wilson's bounds (1927) of a share `mean` of `size` independent samples, `z` standard errors wide."""
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(mean * (1 - mean) / size + z**2 / (4 * size**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_ci95(correct: ArrayLike) -> tuple[float, float, float]:
    """Return (mean, low, high) of the accuracy of [P, n] samples: `wilson_interval`, the project's default.

    In simulated evaluations it covers the accuracy on further problems at least 93 times in 100, also with 30 problems
    of which most are hopeless (docs/statistics.md); it never leaves [0, 1] and involves no chance.
    """
    estimate = wilson_interval(correct)
    return estimate.mean, estimate.low, estimate.high


def compare(first: EvalResult, second: EvalResult) -> Comparison:
    """Compare two models on the same problems, paired by problem id; the numbers of samples may differ.

    Interval and p-value are those of one test, the paired t-test over problems with P - 1 degrees of freedom. Problems
    that all differ alike, or not at all, say nothing of the spread; it is then at least that of two problems which
    differ by one sample each way. Raises ValueError if the problems are not the same, or fewer than two.
    """
    place = {name: row for row, name in enumerate(second.problem_ids)}
    unpaired = sorted(place.keys() ^ set(first.problem_ids))
    if unpaired:
        raise ValueError(
            f"{first.name!r} and {second.name!r} cannot be paired: {len(unpaired)} problems stand in only "
            f"one of them, such as {unpaired[0]!r}; evaluate both on the same problems"
        )
    other = second.correct[[place[name] for name in first.problem_ids]]
    return compare_correct(first.correct, other, f"{first.name!r} and {second.name!r}")


def compare_correct(first: Bools | Doubles, second: Bools | Doubles, names: str) -> Comparison:
    """The same of graded samples alone, [P, n] and [P, m], whose rows are the same problems in the same order.

    Raises ValueError, which says `names`, if fewer than two problems have a graded sample in both.
    """
    counts = [(~np.isnan(correct)).sum(axis=1) for correct in (first, second)]
    both = (counts[0] > 0) & (counts[1] > 0)
    differences = rates(second[both]) - rates(first[both])
    problems = len(differences)
    if problems < 2:
        raise ValueError(f"{names} have {problems} problem in common; a test needs two")
    least = 2 / max(int(count.max()) for count in counts) ** 2
    squares = max(float(((differences - differences.mean()) ** 2).sum()), least)
    error = math.sqrt(squares / (problems - 1) / problems)
    mean, half = float(differences.mean()), t_quantile(0.975, problems - 1) * error
    return Comparison(
        difference=mean,
        low=mean - half,
        high=mean + half,
        p_value=two_sided(mean / error, problems - 1),
        problems=problems,
        differing=int(np.count_nonzero(differences)),
        detectable=detectable_by(error, problems - 1),
    )


def length_stats(result: EvalResult) -> LengthStats:
    """Return the response-length and truncation statistics of an evaluation."""
    lengths, truncated = result.lengths, result.truncated
    known = ~np.isnan(result.correct)
    correct = known & (result.correct == 1)

    def mean(values: NDArray[np.generic]) -> float:
        return float(values.mean()) if values.size else float("nan")

    return LengthStats(
        mean=mean(lengths),
        median=float(np.median(lengths)),
        p90=float(np.quantile(lengths, 0.9)),
        longest=int(lengths.max()),
        mean_correct=mean(lengths[correct]),
        mean_wrong=mean(lengths[known & ~correct]),
        truncated=mean(truncated),
        truncated_correct=mean(correct[truncated & known]),
    )


def correctness(rows: Sequence[Sequence[bool | int | None]]) -> Bools | Doubles:
    """Return rows of right (true), wrong (false) and missing (None: the verifier failed) samples as an array [P, n].

    Of bools where none is missing, else of 1, 0 and nan.
    """
    if any(value is None for row in rows for value in row):
        return np.asarray([[math.nan if v is None else float(v) for v in row] for row in rows])
    return np.asarray(rows, dtype=np.bool_)


def as_graded(correct: ArrayLike) -> Bools | Doubles:
    """Return the problems of [P, n] samples (as `correctness` gives them) that have a graded one.

    Raises ValueError for anything else, and where no sample is left.
    """
    graded = np.asarray(correct)
    if graded.ndim != 2 or graded.size == 0 or graded.dtype not in (np.bool_, np.float64):
        raise ValueError(
            f"correct is {graded.dtype} {graded.shape}; expected bool [problems, samples], not empty"
        )
    if graded.dtype == np.bool_:
        return graded
    if not np.isin(graded[~np.isnan(graded)], (0.0, 1.0)).all():
        raise ValueError("correct holds numbers other than 0, 1 and nan; expected bool, or those three")
    left: Doubles = graded[~np.isnan(graded).all(axis=1)]
    if not len(left):
        raise ValueError("the verifier failed on every sample; expected a graded one")
    return left


def rates(graded: Bools | Doubles) -> Doubles:
    """Return each problem's share of right answers ([P]) among its graded samples ([P, n])."""
    shares: Doubles = np.nanmean(graded, axis=1)
    return shares
