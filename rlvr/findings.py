"""The paper's findings on one's own run, by one command: `python -m rlvr.findings run=runs/latest`.

Starting from a finished training run it trains two controls from the same base (GRPO with a KL penalty, and
supervised fine-tuning on correct answers), analyses all three against the base, cross-samples the run in both
directions with random positions as the control, writes the report, and puts the numbers side by side:

    <run>/findings/grpo_kl, sft     the controls, with their analyses
    <run>/analysis, cross_sampling  of the run itself
    <run>/findings/findings.md      the table, and findings.json with the same numbers
    <run>/report/report.html

Every part is skipped where it is finished, so an interrupted command goes on where it stopped. A control is the
run's configuration with only what its recipe changes (rlvr.cli.controls). The controls are trained on the
built-in tasks; the supervised one needs their worked answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.records import BUDGET_COLUMNS
from rlvr.analysis.run import read_run
from rlvr.analysis.tables import read_csv
from rlvr.cli.controls import require_same, shared_settings
from rlvr.cli.exits import readable_errors
from rlvr.cli.help import answer_help
from rlvr.cli.shorthand import ShortForm, expand, override
from rlvr.errors import ConfigError, RlvrError
from rlvr.runtime.folder import write_atomically
from rlvr.stats.student import p_text
from rlvr.timing import Stopwatch

FORMS = (ShortForm("run=FOLDER", "a finished training run; runs/latest unless named"),)
CONTROLS = ("grpo_kl", "sft")
BUDGETS = (0.02, 0.04, 0.1)


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its 95 % interval; None where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{self.value:.1%} ({self.low:.1%}..{self.high:.1%})"


@dataclass(frozen=True, slots=True)
class Shift:
    """Where one trained model moved, on its own responses."""

    name: str
    accuracy: float  # on the held-out set, after training
    near_zero: Interval  # positions with JS <= 0.01
    moved: Interval  # positions with JS > 0.1
    moved_within_rank_3: Interval  # of the moved: policy's top token within the base's first three
    moved_new: Interval  # of the moved: policy's top token has base probability below 0.01


@dataclass(frozen=True, slots=True)
class Crossing:
    """One budget of cross-sampling, and random positions at the same share."""

    direction: str
    share: float  # of tokens switched
    effective: float  # of tokens that came out differently
    accuracy: Interval
    random: Interval
    p_random: float  # paired test of random against JS, corrected over all tests of cross-sampling (Holm)


def main() -> None:
    """Run all parts and print the table."""
    answer_help("findings")
    with readable_errors():
        run = _run_folder(sys.argv[1:])
        watch = Stopwatch()
        folders = {"run": run} | {name: run / "findings" / name for name in CONTROLS}
        for name in CONTROLS:
            _train_control(name, run, folders[name])
        for folder in folders.values():
            _part("analysis of " + folder.name, "rlvr.analyze", f"run={folder}")
        budgets = ",".join(str(b) for b in BUDGETS)
        _part("cross-sampling", "rlvr.cross_sample", f"run={run}", "rules=js,random", f"budgets={budgets}")
        _part("report", "rlvr.report", *map(str, folders.values()), f"output={run / 'report'}")
        shifts = [_shift(folder) for folder in folders.values()]
        crossings, endpoints = _crossings(run)
        table = findings_table(shifts, crossings, endpoints)
        write_atomically(run / "findings" / "findings.md", table)
        numbers: dict[str, Any] = {
            "shifts": [asdict(s) for s in shifts],
            "crossings": [asdict(c) for c in crossings],
        }
        ends = {name: asdict(end) for name, end in endpoints.items()}
        numbers |= {"endpoints": ends, "seconds": round(watch.seconds, 1)}
        write_atomically(run / "findings" / "findings.json", json.dumps(numbers, indent=2) + "\n")
        print(f"\n{table}\n{run / 'findings' / 'findings.md'}, {run / 'report' / 'report.html'}")


def _run_folder(arguments: Sequence[str]) -> Path:
    given = expand(arguments, FORMS)
    if given.arguments:
        raise ConfigError(
            f"{' '.join(given.arguments)}: the only argument is run=FOLDER, a finished training run"
        )
    run = Path(given.own.get("run", "runs/latest")).resolve()
    if not (run / "summary.json").exists():
        raise ConfigError(
            f"run={run}: not a finished training run (no summary.json). Train one first, "
            "`make quickstart` for instance."
        )
    return run


def _part(what: str, module: str, *arguments: str) -> None:
    """Run one tool; its own messages go through.

    Raises:
        RlvrError: it failed; what was finished before stays.
    """
    print(f"== {what}: python -m {module} {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", module, *arguments]).returncode
    if code:
        raise RlvrError(f"{what} ended with exit code {code}; mend that and start this command again")


def _train_control(recipe: str, run: Path, folder: Path) -> None:
    shared = shared_settings(read_run(run), recipe)
    if (folder / "summary.json").exists():
        require_same(read_run(folder), shared)
        return
    given = [override(key, value) for key, value in shared.items()]
    own = [
        f"recipe={recipe}",
        override("run.root", str(folder.parent)),
        f"run.name={recipe}",
        "run.resume=auto",
    ]
    _part(f"control {recipe}", "rlvr.train", *own, *given, "tracking.wandb=off")


def _shift(folder: Path) -> Shift:
    summary = json.loads((folder / "summary.json").read_text())
    analysis = json.loads((folder / "analysis" / "analysis.json").read_text())
    [own] = [h for h in analysis["headline"] if h["checkpoint"] == "policy" and h["trajectory"] == "policy"]
    figures = {name: Interval(**interval) for name, interval in own["figures"].items()}
    return Shift(
        name=summary["recipe"],
        accuracy=summary["eval_accuracy_after"],
        near_zero=figures["share_near_zero"],
        moved=figures["share_moved"],
        moved_within_rank_3=figures["moved_policy_top_within_base_rank_3"],
        moved_new=figures["moved_policy_top_base_prob_below_0.01"],
    )


def _crossings(run: Path) -> tuple[list[Crossing], dict[str, Interval]]:
    folder = run / "cross_sampling"
    rows = read_csv(folder / "budgets.csv", BUDGET_COLUMNS).to_pylist()
    by_key = {(row["direction"], row["level"], row["rule"]): row for row in rows}
    crossings = [
        Crossing(
            direction=direction,
            share=row["share"],
            effective=row["effective_share"],
            accuracy=_accuracy(row),
            random=_accuracy(by_key[direction, level, "random"]),
            p_random=by_key[direction, level, "random"]["p_js_holm"],
        )
        for (direction, level, rule), row in by_key.items()
        if rule == "js"
    ]
    ends = json.loads((folder / "cross_sampling.json").read_text())["endpoints"]
    return crossings, {name: _accuracy(end) for name, end in ends.items()}


def _accuracy(row: Mapping[str, Any]) -> Interval:
    return Interval(row["accuracy"], row["ci_low"], row["ci_high"])


def findings_table(
    shifts: Sequence[Shift], crossings: Sequence[Crossing], endpoints: Mapping[str, Interval]
) -> str:
    """The findings as two markdown tables; intervals are 95 %, clustered by problem."""
    lines = [
        "| trained with | accuracy | JS <= 0.01 | JS > 0.1 | moved: within base rank 3 | moved: base p < 0.01 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {s.name} | {s.accuracy:.3f} | {s.near_zero} | {s.moved} | {s.moved_within_rank_3} | {s.moved_new} |"
        for s in shifts
    ]
    lines += [
        "",
        f"Base alone {endpoints['base']}, policy alone {endpoints['policy']}.",
        "",
        "| direction | switched (effective) | accuracy, JS rule | accuracy, random positions | p (Holm) |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {c.direction} | {c.share:.1%} ({c.effective:.1%}) | {c.accuracy} | {c.random} | {p_text(c.p_random)} |"
        for c in crossings
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
