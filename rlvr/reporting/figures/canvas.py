"""Matplotlib behind one door: a house style, and figures as SVG, PNG, CSV and SVG that follows the page's theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from markupsafe import Markup

from rlvr.analysis.tables import as_csv
from rlvr.errors import ConfigError
from rlvr.reporting.theme import ROLES, SERIES, ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.6, 3.2  # inches; 331 x 230 points, about the width of a phone
PNG_DPI = 200
BAND_ALPHA = 0.16
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
THIN = {"color": ROLES["muted"].light, "lw": 0.9}  # of a line to compare with
SMALL = {"color": ROLES["muted"].light, "fontsize": 10.5}  # of words beside it


@dataclass(frozen=True, slots=True)
class Figure:
    """One panel and the numbers in it."""

    name: str  # of its files
    title: str
    caption: str  # what is measured, in which unit, from how many samples, how to read it
    numbers: pa.Table
    draw: Callable[[Axes], None]
    height: float = HEIGHT  # inches
    digits: int | None = None  # significant digits of the numbers in the file; None: all


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as a page shows it."""

    name: str
    title: str
    caption: str
    svg: Markup  # follows the theme
    csv: str  # the numbers drawn


def numbers(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> pa.Table:
    """The numbers of a figure, row by row; None where there is none."""
    kept = [*rows]
    return pa.table(dict(zip(columns, zip(*kept, strict=True) if kept else [()] * len(columns), strict=True)))


def draw_line(
    axes: Axes,
    place: int,
    points: pa.Table,
    x: str,
    y: str,
    label: str,
    *,
    band: tuple[str, str] | None = None,
    alpha: float = BAND_ALPHA,
    **style: Any,
) -> None:
    """The line of the series at that place: column y over column x, and a band between the two columns of its ends.

    Colour and dashes are the series' own; `style` is matplotlib's and may replace the dashes.
    """
    across = points[x].to_numpy()
    if band is not None:
        low, high = (points[end].to_numpy() for end in band)
        axes.fill_between(across, low, high, color=colour(place), alpha=alpha, linewidth=0)
    own = {"color": colour(place), "ls": dash(place), "label": label}
    axes.plot(across, points[y].to_numpy(), **(own | style))


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


def render(figure: Figure, folder: Path | None = None) -> Drawn:
    """The figure for a page; with a folder it is saved there as `<name>.svg`, `.png` and `.csv` too.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    svg = _drawn(figure, None if folder is None else folder / f"{figure.name}.png")
    text = as_csv(figure.numbers, digits=figure.digits)
    if folder is not None:
        (folder / f"{figure.name}.svg").write_text(svg)
        (folder / f"{figure.name}.csv").write_text(text)
    return Drawn(figure.name, figure.title, figure.caption, inline_svg(svg, figure.name), text)


def _drawn(figure: Figure, png: Path | None = None) -> str:
    plt = _pyplot()
    with plt.rc_context(_style()):
        canvas, axes = plt.subplots(figsize=(WIDTH, figure.height))
        figure.draw(axes)
        axes.margins(x=0.02)
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        if png is not None:
            canvas.savefig(png, dpi=PNG_DPI, metadata={"Software": None})
        plt.close(canvas)
    return text.getvalue()


def inline_svg(svg: str, name: str) -> Markup:
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
    return Markup(body)


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
