"""What a sweep found: `python -m rlvr.sweep_report runs/paper_table [--baseline recipe-dapo]`.

Reads the finished runs of a sweep's folder and writes report.md and report.csv into it. For each condition (a job's
name without its seed) and evaluation set: the mean accuracy over seeds with a t-interval, an interval clustered by
problem, and the difference from the baseline, seed against same seed, with Holm's correction over the conditions.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rlvr.analysis.accuracy import Bools, accuracy_ci95
from rlvr.analysis.seeds import LEVEL, PairedDifference, SeedMean, holm, paired_difference, seed_mean
from rlvr.entry import readable_errors
from rlvr.errors import DataError
from rlvr.run import write_atomically

LEAST_SEEDS = 3  # fewer give no idea of the spread over seeds, so nothing is ranked
BASELINES = ("recipe-dapo", "recipe-dapo_advantage-uniform")  # tried in this order where none is named


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run of a sweep."""

    condition: str  # the job's name without its seed
    seed: int
    accuracy: dict[str, float]  # evaluation set -> accuracy after training
    correct: dict[str, dict[str, list[bool]]]  # evaluation set -> problem id -> graded samples


@dataclass(frozen=True, slots=True)
class Row:
    """One condition on one evaluation set."""

    condition: str
    evaluation: str
    seeds: SeedMean
    problems: tuple[float, float] | None  # interval clustered by problem; None if samples were not kept
    gain: PairedDifference | None  # over the baseline; None for itself and without a common seed
    p_holm: float

    @property
    def verdict(self) -> str:
        """What may be said about the condition against the baseline."""
        if self.gain is None:
            return "-"
        if self.gain.seeds < LEAST_SEEDS:
            return (
                f"too few seeds: {self.gain.seeds} in common with the baseline, at least {LEAST_SEEDS} needed"
            )
        if self.p_holm < LEVEL:
            return "better" if self.gain.mean > 0 else "worse"
        needed = (
            "more than 10000" if self.gain.needed is None else f"about {max(self.gain.needed, LEAST_SEEDS)}"
        )
        return f"not told apart; a difference like this would need {needed} seeds"


def read_sweep(folder: Path) -> tuple[list[Run], list[str]]:
    """The finished runs of a sweep, and the names of the unfinished ones.

    Raises:
        DataError: there is no finished run, or a file of one cannot be read.
    """
    jobs = sorted(p.parent for p in folder.glob("*/config.yaml") if not p.parent.is_symlink())
    finished = [job for job in jobs if (job / "summary.json").exists()]
    if not finished:
        raise DataError(f"{folder}: holds no finished run (no */summary.json); give the folder of a sweep")
    return [_read_run(job) for job in finished], [job.name for job in jobs if job not in finished]


def _read_run(job: Path) -> Run:
    try:
        summary = json.loads((job / "summary.json").read_text())
        seed, sets = int(summary["seed"]), summary["eval_sets"]
        accuracy = {name: float(values["after"]) for name, values in sets.items()}
        samples = job / "samples" / f"eval_{summary['steps']:06d}.jsonl"
        rows = [json.loads(line) for line in samples.read_text().splitlines()] if samples.exists() else []
        sources: dict[str, dict[str, list[bool]]] = {}
        for row in rows:
            problems = sources.setdefault(row["source"], {})
            problems.setdefault(row["problem_id"], []).append(row["verdict"] == "correct")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # files may be damaged
        raise DataError(f"{job}: its results cannot be read ({error!r}); run the job again") from error
    condition = re.sub(rf"(^|_)seed-{seed}(?=_|$)", "", job.name).lstrip("_") or "run"
    # The sets were written one after another; two of the same source cannot be told apart.
    correct = dict(zip(accuracy, sources.values(), strict=True)) if len(sources) == len(accuracy) else {}
    return Run(condition, seed, accuracy, correct)


def choose_baseline(conditions: Sequence[str], named: str | None) -> str:
    """The condition that the others are compared with.

    Raises:
        DataError: there is no such condition, or none was named and none is the usual one.
    """
    for name in (named,) if named is not None else BASELINES:
        if name in conditions:
            return str(name)
    raise DataError(f"--baseline {named or '(not given)'}: name one of {', '.join(conditions)}")


def compare_conditions(runs: Sequence[Run], baseline: str) -> list[Row]:
    """One row for each condition and evaluation set, set by set, the baseline first."""
    conditions = list(dict.fromkeys([baseline, *(run.condition for run in runs)]))
    rows = []
    for evaluation in dict.fromkeys(name for run in runs for name in run.accuracy):
        by_seed = {
            c: {r.seed: r for r in runs if r.condition == c and evaluation in r.accuracy} for c in conditions
        }
        gains = {
            c: gain
            for c in conditions
            if c != baseline and (gain := _gain(by_seed[c], by_seed[baseline], evaluation)) is not None
        }
        adjusted = dict(zip(gains, holm([gain.p_value for gain in gains.values()]), strict=True))
        rows += [
            Row(
                condition=c,
                evaluation=evaluation,
                seeds=seed_mean([run.accuracy[evaluation] for run in found.values()]),
                problems=_problem_interval(list(found.values()), evaluation),
                gain=gains.get(c),
                p_holm=adjusted.get(c, math.nan),
            )
            for c, found in by_seed.items()
            if found
        ]
    return rows


def _gain(runs: dict[int, Run], baseline: dict[int, Run], evaluation: str) -> PairedDifference | None:
    common = sorted(runs.keys() & baseline.keys())
    if not common:
        return None
    return paired_difference(
        [runs[seed].accuracy[evaluation] for seed in common],
        [baseline[seed].accuracy[evaluation] for seed in common],
    )


def _problem_interval(runs: Sequence[Run], evaluation: str) -> tuple[float, float] | None:
    """Of the accuracy over all seeds' samples, with the problem as the unit."""
    tables = [run.correct.get(evaluation, {}) for run in runs]
    if not tables[0] or any(table.keys() != tables[0].keys() for table in tables):
        return None
    graded = [[c for table in tables for c in table[problem]] for problem in tables[0]]
    if len({len(row) for row in graded}) > 1:
        return None
    correct: Bools = np.asarray(graded, dtype=np.bool_)
    _, low, high = accuracy_ci95(correct)
    return low, high


def ranking(rows: Sequence[Row], evaluation: str) -> str:
    """Which conditions differ from the baseline, or why nothing is said about it."""
    compared = [row for row in rows if row.evaluation == evaluation and row.gain is not None]
    short = [
        f"{row.condition} ({row.gain.seeds})" for row in compared if row.gain and row.gain.seeds < LEAST_SEEDS
    ]
    if short or not compared:
        return (
            f"No ranking: at least {LEAST_SEEDS} seeds in common with the baseline are needed for every condition"
            + (
                f"; there are fewer for {', '.join(short)}."
                if short
                else ", and there is nothing to compare."
            )
        )
    lines = []
    for verdict in ("better", "worse"):
        found = sorted((row for row in compared if row.verdict == verdict), key=lambda row: -row.seeds.mean)
        names = ", ".join(row.condition for row in found) or "none"
        lines.append(f"{verdict.capitalize()} than the baseline (Holm p < {LEVEL}): {names}.")
    apart = [row.condition for row in compared if row.verdict not in ("better", "worse")]
    lines.append(f"Not told apart from the baseline: {', '.join(apart) or 'none'}.")
    return "\n".join(lines)


def markdown(rows: Sequence[Row], baseline: str, unfinished: Sequence[str]) -> str:
    """The report as Markdown."""
    lines = [
        f"Baseline: {baseline}. Intervals are 95 %: over seeds Student's t, over problems clustered by problem "
        "(all seeds' samples). Differences pair equal seeds; p is of the paired t-test with Holm's correction "
        "over the conditions of an evaluation set."
    ]
    if unfinished:
        lines += ["", f"Left out, not finished: {', '.join(unfinished)}."]
    for evaluation in dict.fromkeys(row.evaluation for row in rows):
        lines += [
            "",
            f"## {evaluation}",
            "",
            "| condition | seeds | accuracy | over seeds | over problems | difference | 95 % | p (Holm) | verdict |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in rows:
            if row.evaluation == evaluation:
                lines.append("| " + " | ".join(_cells(row)) + " |")
        lines += ["", ranking(rows, evaluation)]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    mean, gain = row.seeds, row.gain
    return [
        row.condition,
        str(mean.seeds),
        f"{mean.mean:.4f}",
        _interval(mean.low, mean.high),
        "-" if row.problems is None else _interval(*row.problems),
        "-" if gain is None else f"{gain.mean:+.4f}",
        "-" if gain is None else _interval(gain.low, gain.high),
        "-" if math.isnan(row.p_holm) else f"{row.p_holm:.3g}",
        row.verdict,
    ]


def _interval(low: float, high: float) -> str:
    return f"{low:.4f}..{high:.4f}" if math.isfinite(low) else "unknown"


def table(rows: Sequence[Row]) -> str:
    """The report as CSV, one line for each row; what is unknown is empty."""
    lines = []
    for row in rows:
        low, high = row.problems or (math.nan, math.nan)
        values: dict[str, object] = {"evaluation": row.evaluation, "condition": row.condition}
        values |= {f"seed_{key}": value for key, value in asdict(row.seeds).items()}
        values |= {"problem_low": low, "problem_high": high}
        values |= {f"gain_{key}": value for key, value in asdict(row.gain or _NO_GAIN).items()}
        lines.append(values | {"p_holm": row.p_holm, "verdict": row.verdict})
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _known(v) for k, v in line.items()} for line in lines)
    return text.getvalue()


_NO_GAIN = PairedDifference(math.nan, math.nan, math.nan, math.nan, 0, None)


def _known(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m rlvr.sweep_report", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of a sweep, such as runs/paper_table")
    parser.add_argument("--baseline", help="the condition to compare with, such as recipe-dapo")
    arguments = parser.parse_args()
    with readable_errors():
        runs, unfinished = read_sweep(arguments.folder)
        baseline = choose_baseline(list(dict.fromkeys(r.condition for r in runs)), arguments.baseline)
        rows = compare_conditions(runs, baseline)
        text = markdown(rows, baseline, unfinished)
        write_atomically(arguments.folder / "report.md", text)
        write_atomically(arguments.folder / "report.csv", table(rows))
        print(text + f"\nwritten to {arguments.folder / 'report.md'} and report.csv")


if __name__ == "__main__":
    main()
