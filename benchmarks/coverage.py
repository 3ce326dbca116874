"""How often the interval of an accuracy holds the truth: `python -m benchmarks.coverage` prints the table of
docs/statistics.md.

A population says how success rates vary over problems. Problems are drawn from it, samples from each problem's rate,
and the interval is asked whether it holds the population's mean: the accuracy on further problems of the kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rlvr.stats.accuracy import accuracy_ci95, wilson_bounds

Rates = Callable[[np.random.Generator, int], np.ndarray]


def beta(mean: float, concentration: float) -> tuple[float, Rates]:
    """Success rates of a Beta distribution."""
    a, b = mean * concentration, (1 - mean) * concentration
    return mean, lambda rng, problems: rng.beta(a, b, problems)


def easy(share: float, rate: float, hopeless: float = 0.0) -> tuple[float, Rates]:
    """A few easy problems, the rest hopeless or nearly so."""
    mean = share * rate + (1 - share) * hopeless
    return mean, lambda rng, problems: np.where(rng.random(problems) < share, rate, hopeless)


# Of case D6: rates near 0 that differ much between problems.
SKEWED = {"Beta(.03, .5)": beta(0.03, 0.5), "Beta(.03, 2)": beta(0.03, 2), "5 % easy": easy(0.05, 0.9)}
SKEWED |= {f"5 % easy, rest {h:g}": easy(0.05, 0.9, h) for h in (0.01, 0.02, 0.05)}
POPULATIONS = SKEWED | {
    "5 % solved": easy(0.05, 1.0),
    "Beta(.1, .5)": beta(0.1, 0.5),
    "Beta(.3, 1)": beta(0.3, 1),
    "Beta(.5, 1)": beta(0.5, 1),
    "Beta(.5, 10)": beta(0.5, 10),
    "Beta(.9, 1)": beta(0.9, 1),
}
SIZES = ((10, 8), (30, 8), (40, 32), (100, 8), (200, 4))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of replicates whose interval held the mean, and mean widths: of ours, and of the plain one."""

    coverage: float
    width: float
    plain_coverage: float  # Wilson's at the effective size of the observed variance, by the normal quantile
    plain_width: float


def plain_interval(correct: np.ndarray) -> tuple[float, float]:
    """Wilson's interval at P n or the effective size that the variance between problems says, whichever is smaller."""
    rates = correct.mean(axis=1)
    mean, problems = float(rates.mean()), len(rates)
    variance = float(rates.var(ddof=1)) / problems
    if mean in (0.0, 1.0):
        size = float(problems)
    else:
        size = min(mean * (1 - mean) / variance, correct.size) if variance > 0 else float(correct.size)
    return wilson_bounds(mean, size, z=1.959963984540054)


def simulate(population: str, problems: int, samples: int, *, replicates: int, seed: int) -> Coverage:
    """Draw evaluations of `problems` x `samples` and count."""
    mean, draw = POPULATIONS[population]
    rng = np.random.default_rng(seed)
    held = plain_held = width = plain_width = 0.0
    for _ in range(replicates):
        correct = rng.random((problems, samples)) < draw(rng, problems)[:, None]
        _, low, high = accuracy_ci95(correct)
        plain_low, plain_high = plain_interval(correct)
        held += low <= mean <= high
        plain_held += plain_low <= mean <= plain_high
        width += high - low
        plain_width += plain_high - plain_low
    return Coverage(held / replicates, width / replicates, plain_held / replicates, plain_width / replicates)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate the coverage of accuracy intervals.")
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| problems x samples | population | coverage | mean width | plain: coverage | mean width |")
    print("| --- | --- | --- | --- | --- | --- |")
    for problems, samples in SIZES:
        for name in POPULATIONS:
            found = simulate(name, problems, samples, replicates=arguments.replicates, seed=arguments.seed)
            print(
                f"| {problems} x {samples} | {name} | {found.coverage:.1%} | {found.width:.4f} | "
                f"{found.plain_coverage:.1%} | {found.plain_width:.4f} |"
            )


if __name__ == "__main__":
    main()
