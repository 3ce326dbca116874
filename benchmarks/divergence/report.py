"""The rows of a run, the targets they are held against, and the files they go to."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.divergence.measure import Measurement


@dataclass(frozen=True, slots=True)
class Row:
    """One measured configuration."""

    item: str
    kind: str  # "dense" or "linear"
    n_tokens: int
    vocab: int
    hidden: int  # 0 for dense rows
    logits: str  # how they were drawn: "normal" or "peaked"
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that a run reaches or not; `reached` is None where this run could not measure it."""

    item: str
    must: float
    stretch: float
    reached: float | None
    smaller_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.reached is None:
            return f"not measured: {self.note}"
        sign = -1 if self.smaller_is_better else 1
        if sign * self.reached >= sign * self.stretch:
            return "stretch reached"
        return "must reached" if sign * self.reached >= sign * self.must else "MISSED"


def print_targets(targets: list[Target]) -> None:
    """Prints one line for each target: reached, must, stretch, verdict."""
    print(f"\n{'target':72s} {'reached':>9s} {'must':>7s} {'stretch':>8s}  verdict")
    for target in targets:
        reached = "-" if target.reached is None else f"{target.reached:.3g}"
        print(f"{target.item:72s} {reached:>9s} {target.must:7.3g} {target.stretch:8.3g}  {target.verdict}")


def print_rows(rows: list[Row]) -> None:
    """Prints the measured times and peaks."""
    print(f"\n{'item':34s} {'kind':7s} {'T':>6s} {'V':>7s} {'H':>5s} logits  {'p50 ms':>10s} {'peak MB':>9s}")
    for row in rows:
        m = row.measurement
        where = f"{row.kind:7s} {row.n_tokens:6d} {row.vocab:7d} {row.hidden:5d} {row.logits:7s}"
        print(f"{row.item:34s} {where} {m.p50_ms:10.3f} {m.peak_mb:9.1f}")


def write_files(rows: list[Row], targets: list[Target], machine: dict[str, str], stem: Path) -> None:
    """Writes <stem>.csv, <stem>_targets.csv and, where matplotlib is installed, <stem>.png."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    flat = [
        {key: value for key, value in asdict(row).items() if key != "measurement"}
        | asdict(row.measurement)
        | machine
        for row in rows
    ]
    _write_csv(stem.with_suffix(".csv"), flat)
    _write_csv(
        stem.with_name(stem.name + "_targets.csv"),
        [asdict(target) | {"verdict": target.verdict} | machine for target in targets],
    )
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot")
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.4 * len(rows) + 1.5))
    labels = [f"{row.item}, {row.kind} T={row.n_tokens} H={row.hidden} {row.logits}" for row in rows]
    middle = [row.measurement.p50_ms / row.n_tokens * 1e3 for row in rows]
    axes.barh(labels, middle)
    axes.set(xscale="log", xlabel="microseconds a token position (median)", title=machine["device"])
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".png"), dpi=150)


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}")
