"""Matplotlib behind one door: a house style, and figures as SVG, PNG, CSV and SVG that follows the page's theme."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import ConfigError
from rlvr.reporting.colours import ROLES, SERIES, ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.6, 3.2  # inches; 331 x 230 points, about the width of a phone
PNG_DPI = 200
BAND_ALPHA = 0.16
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Figure:
    """One panel and the numbers in it."""

    name: str  # of its files
    title: str
    caption: str  # what is measured, in which unit, from how many samples, how to read it
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    draw: Callable[[Axes], None]
    height: float = HEIGHT  # inches

    def as_csv(self) -> str:
        """The numbers drawn."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


def slug(name: str) -> str:
    """The name with only characters that a file name and an HTML id can have."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def whole_steps(axes: Axes) -> None:
    """Label the x axis with training steps, which are whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("step")


def colour(index: int) -> str:
    """The light colour of the series of that number; they repeat after six."""
    return ROLES[SERIES[index % len(SERIES)]].light


def dash(index: int) -> Any:
    """The dashes of the series of that number, so that no series is told by colour alone.

    They shift by one with every round of the colours: 36 series are told apart.
    """
    return DASHES[(index + index // len(SERIES)) % len(DASHES)]


def marker(index: int) -> str:
    """The marker of the series of that number; they shift as the dashes do."""
    return MARKERS[(index + index // len(SERIES)) % len(MARKERS)]


def render(figure: Figure, folder: Path) -> str:
    """Write `<name>.svg`, `.png` and `.csv` into the folder and return the SVG for the page.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    png = folder / f"{figure.name}.png"
    svg = _drawn(figure, png)
    (folder / f"{figure.name}.svg").write_text(svg)
    (folder / f"{figure.name}.csv").write_text(figure.as_csv())
    return inline_svg(svg, figure.name)


def render_inline(figure: Figure) -> str:
    """The SVG for the page alone, without files.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    return inline_svg(_drawn(figure), figure.name)


def _drawn(figure: Figure, png: Path | None = None) -> str:
    plt = _pyplot()
    with plt.rc_context(_style()):
        canvas, axes = plt.subplots(figsize=(WIDTH, figure.height))
        figure.draw(axes)
        _headroom(axes)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        if png is not None:
            canvas.savefig(png, dpi=PNG_DPI, metadata={"Software": None})
        plt.close(canvas)
    return text.getvalue()


def inline_svg(svg: str, name: str) -> str:
    """The SVG as part of an HTML page: no prolog, own ids, and colours that follow the theme.

    Every colour of ROLES and of the ramp becomes its CSS variable.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for variable, value in _variables():
        body = body.replace(value, f"var(--{variable})")
    return body


def legend(axes: Axes, columns: int = 2) -> None:
    """A legend above the axes, without a frame."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=columns,
            borderaxespad=0.2,
            handlelength=2.2,
            columnspacing=1.4,
        )


def band(
    axes: Axes,
    x: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    index: int,
    alpha: float = BAND_ALPHA,
) -> None:
    """A 95 % band in the colour of a series."""
    axes.fill_between(x, low, high, color=colour(index), alpha=alpha, linewidth=0)


def _headroom(axes: Axes) -> None:
    axes.margins(x=0.02)
    axes.spines[["top", "right"]].set_visible(False)


def _variables() -> list[tuple[str, str]]:
    shades = [(f"d{level}", role.light) for level, role in enumerate(ramp())]
    return [(name, role.light) for name, role in ROLES.items()] + shades


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:  # an optional package
        raise ConfigError(
            "the report draws its figures with matplotlib, which is not installed: pip install matplotlib"
        ) from error
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


def _style() -> dict[str, Any]:
    ink, muted, line = ROLES["ink"].light, ROLES["muted"].light, ROLES["line"].light
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "rlvr",
        "font.family": "DejaVu Sans",
        "font.size": 11.5,
        "axes.labelsize": 11.5,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
        "legend.frameon": False,
        "figure.facecolor": ROLES["card"].light,
        "figure.constrained_layout.use": True,
        "axes.facecolor": ROLES["card"].light,
        "axes.edgecolor": muted,
        "axes.labelcolor": muted,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.7,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": muted,
        "text.color": ink,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
    }
