"""What one trained model came to, from its run's folder: its accuracy, where it moved, cross-sampling in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.tables import TextTable, text_table
from rlvr.reporting.sources import read_cross
from rlvr.runtime.disk.summary import SUMMARY, read_summary
from rlvr.stats.student import interval_text, p_text


@dataclass(frozen=True, slots=True)
class Interval:
    """A share with its 95 % interval; None where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return interval_text(self.value, self.low, self.high, ".1%")


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


def read_shift(folder: Path, name: str | None = None) -> Shift:
    """The shift of a finished and analysed run, called as its recipe unless a name is given."""
    summary, analysis = read_summary(folder / SUMMARY), LoadedAnalysis(folder / "analysis")

    def figure(key: str) -> Interval:
        return Interval(*(analysis.figure(key, "policy") or (None, None, None)))

    return Shift(
        name=name or summary.recipe,
        accuracy=summary.eval_accuracy_after,
        near_zero=figure("share_near_zero"),
        moved=figure("share_moved"),
        moved_within_rank_3=figure("moved_policy_top_within_base_rank_3"),
        moved_new=figure("moved_policy_top_base_prob_below_0.01"),
    )


def read_crossings(run: Path) -> tuple[list[Crossing], dict[str, Interval]]:
    """Every budget of the JS rule beside random positions, and the accuracy of both models alone."""
    cross = read_cross(run / "cross_sampling")
    rows = cross.budgets.to_pylist()
    controls = {(row["direction"], row["level"]): row for row in rows if row["rule"] == "random"}
    paired = [(row, controls[row["direction"], row["level"]]) for row in rows if row["rule"] == "js"]
    crossings = [
        Crossing(
            direction=row["direction"],
            share=row["share"],
            effective=row["effective_share"],
            accuracy=_accuracy(row),
            random=_accuracy(control),
            p_random=control["p_js_holm"],
        )
        for row, control in paired
    ]
    return crossings, {name: _accuracy(end) for name, end in cross.content["endpoints"].items()}


def _accuracy(row: Mapping[str, Any]) -> Interval:
    return Interval(row["accuracy"], row["ci_low"], row["ci_high"])


def shift_table(shifts: Sequence[Shift]) -> TextTable:
    """Trained models side by side; intervals are 95 %, clustered by problem."""
    return text_table(
        "Where each trained model moved from the base, on its own responses to the held-out problems.",
        shifts,
        ("trained with", lambda s: s.name),
        ("accuracy", lambda s: f"{s.accuracy:.3f}"),
        ("JS <= 0.01", lambda s: str(s.near_zero)),
        ("JS > 0.1", lambda s: str(s.moved)),
        ("moved: within base rank 3", lambda s: str(s.moved_within_rank_3)),
        ("moved: base p < 0.01", lambda s: str(s.moved_new)),
    )


def findings_table(
    shifts: Sequence[Shift], crossings: Sequence[Crossing], endpoints: Mapping[str, Interval]
) -> str:
    """The findings of one run and its controls as two markdown tables."""
    crossed = text_table(
        f"Base alone {endpoints['base']}, policy alone {endpoints['policy']}.",
        crossings,
        ("direction", lambda c: c.direction),
        ("switched (effective)", lambda c: f"{c.share:.1%} ({c.effective:.1%})"),
        ("accuracy, JS rule", lambda c: str(c.accuracy)),
        ("accuracy, random positions", lambda c: str(c.random)),
        ("p (Holm)", lambda c: p_text(c.p_random)),
    )
    _, _, *moved = shift_table(shifts).as_markdown()  # without its caption
    return "\n".join([*moved, "", *crossed.as_markdown()]) + "\n"
