"""What the figures of the shift and of cross-sampling draw, against the tables that they are read from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.reporting.figures.canvas import Figure
from rlvr.reporting.figures.cross import cross_figures
from rlvr.reporting.figures.shift import shift_figures
from rlvr.reporting.sources import read_cross
from rlvr.reporting.theme import RAMP
from tests.helpers.report_cases import write_analysis, write_cross

canvas = pytest.importorskip(
    "matplotlib.figure", reason="the figures are drawn by matplotlib, which is not installed"
)
to_hex = pytest.importorskip("matplotlib.colors").to_hex


@pytest.fixture(scope="module")
def analysis(tmp_path_factory) -> LoadedAnalysis:
    return LoadedAnalysis(write_analysis(tmp_path_factory.mktemp("shift")))


@pytest.fixture(scope="module")
def figures(analysis) -> dict[str, Figure]:
    return {figure.name: figure for figure in shift_figures(analysis)}


def drawn(figure: Figure) -> Any:
    """The axes of a figure after drawing."""
    axes = canvas.Figure().subplots()
    figure.draw(axes)
    return axes


def lines(file: Path, **wanted: str) -> list[dict[str, str]]:
    """The lines of a CSV file with these values."""
    return [
        line for line in csv.DictReader(file.open()) if all(line[k] == value for k, value in wanted.items())
    ]


def favourites(analysis: LoadedAnalysis, table: str) -> list[dict[str, str]]:
    about = {"direction": "policy_in_base", "group": "moved", "trajectory": "policy"}
    return lines(analysis.folder / "tables" / f"{table}.csv", checkpoint="policy", **about)


def test_a_bar_of_ranks_is_the_share_of_its_bin(analysis, figures):
    rows = [line for line in favourites(analysis, "rank") if float(line["rank_from"]) <= 21]
    axes = drawn(figures["rank"])
    heights = [bar.get_height() for bar in axes.patches]
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert heights == pytest.approx([float(line["share"]) for line in rows])
    assert ticks == ["1", "2", "3", "4", "5", "6-10", "11-20", "21-50"]
    moved = sum(int(line["tokens"]) for line in favourites(analysis, "rank"))
    assert moved > 0
    assert f"{moved:,} moved positions (JS > 0.1) of the policy's responses." in figures["rank"].caption


def test_the_first_bar_of_probabilities_is_all_below_a_hundredth(analysis, figures):
    rows = favourites(analysis, "mass")
    (below,) = [line["share_below"] for line in rows if float(line["prob_to"]) == 0.01]
    above = [line for line in rows if float(line["prob_from"]) >= 0.01]
    axes = drawn(figures["mass"])
    heights = [bar.get_height() for bar in axes.patches]
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert heights == pytest.approx([float(below), *(float(line["share"]) for line in above)])
    assert sum(heights) == pytest.approx(1.0)
    assert ticks[:3] == ["<.01", ".01", ".05"]
    assert len(ticks) == len(heights)


def test_a_position_is_drawn_in_the_middle_of_its_bin_or_at_its_token(analysis, figures):
    for axis, middle in (("relative", 0.5), ("from_start", 0.0)):
        found = figures[f"position_{axis}"]
        for line in found.lines:
            whose = line.label.removeprefix("by the ")
            rows = lines(
                analysis.folder / "tables" / "position.csv", checkpoint="policy", axis=axis, trajectory=whose
            )
            starts, stops = ([float(row[end] or "inf") for row in rows] for end in ("from", "to"))
            places = [a + middle * (b - a) if middle else a for a, b in zip(starts, stops, strict=True)]
            assert line.rows["place"].to_pylist() == pytest.approx(places)
            assert line.rows["mean_js"].to_pylist() == pytest.approx([float(r["mean_js"]) for r in rows])
        assert [line.label for line in found.lines] == ["by the policy", "by the base"]


def test_the_checkpoints_stand_in_their_order(analysis, figures):
    found = figures["evolution"]
    axes = drawn(found)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "policy"]
    for line, statistic in zip(found.lines, ("mean", "p90", "p95", "p99"), strict=True):
        values = [
            float(row["value"])
            for checkpoint in analysis.checkpoints
            for row in lines(
                analysis.folder / "tables" / "evolution.csv",
                checkpoint=checkpoint,
                trajectory="policy",
                measure="js",
                statistic=statistic,
            )
        ]
        assert line.rows["place"].to_pylist() == [0, 1]
        assert line.rows["value"].to_pylist() == pytest.approx(values)


def test_every_cell_of_the_grid_has_tokens_and_the_moved_ones_are_counted(analysis, figures):
    grid = lines(
        analysis.folder / "tables" / "js_entropy.csv",
        checkpoint="policy",
        trajectory="policy",
        entropy_of="base",
    )
    assert all(int(line["tokens"]) > 0 for line in grid)
    axes = drawn(figures["js_entropy"])
    assert (axes.get_xscale(), axes.get_yscale(), len(axes.patches)) == ("log", "log", len(grid))
    for cell, line in zip(axes.patches, grid, strict=True):
        assert cell.get_width() > 0 < cell.get_height()
        # The shades that the caption names, in per cent of all tokens.
        reached = sum(100 * float(line["share"]) >= percent for percent in (0.01, 0.1, 0.3, 1, 3, 10))
        assert to_hex(cell.get_facecolor()) == RAMP[1 + reached].light
    both = " and ".join(f"{analysis.scored(t):,} tokens of the {t}'s responses" for t in ("policy", "base"))
    assert both in figures["sparsity"].caption
    (group,) = {
        line["tokens"]
        for line in lines(
            analysis.folder / "tables" / "overlap.csv",
            checkpoint="policy",
            trajectory="policy",
            group="moved",
        )
    }
    assert f"in common: {group} moved positions (JS > 0.1) against all" in figures["overlap"].caption


def test_a_rule_begins_at_the_primary_alone_and_goes_on_by_share(tmp_path):
    cross = read_cross(write_cross(tmp_path))
    forward, reverse = cross_figures(cross)
    assert (forward.name, reverse.name) == ("cross_forward", "cross_reverse")
    assert [line.label for line in (*forward.lines, *reverse.lines)] == ["JS", "random"] * 2
    for figure, primary in ((forward, "base"), (reverse, "policy")):
        direction = figure.name.removeprefix("cross_")
        start = cross.content["endpoints"][primary]["accuracy"]
        for line, rule in zip(figure.lines, ("js", "random"), strict=True):
            rows = sorted(
                lines(tmp_path / "budgets.csv", direction=direction, rule=rule),
                key=lambda row: float(row["share"]),
            )
            shares = [0.0, *(100 * float(row["share"]) for row in rows)]
            assert line.rows["switched"].to_pylist() == pytest.approx(shares)
            accuracy = [start, *(float(row["accuracy"]) for row in rows)]
            assert line.rows["accuracy"].to_pylist() == pytest.approx(accuracy)
        assert "20 problems x 3 responses a point" in figure.caption
        axes = drawn(figure)
        assert {text.get_text() for text in axes.texts} == {"base alone ", "policy alone "}
        right = max(100 * share for share in figure.numbers["share"].to_pylist())
        assert axes.get_xlim() == pytest.approx((0, 1.04 * right))
