"""Matplotlib behind one door: a house style, and figures as SVG, PNG, CSV and SVG that follows the page's theme."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml
from markupsafe import Markup

from rlvr.analysis.tables import as_csv, where
from rlvr.errors import ConfigError
from rlvr.reporting.theme import RAMP, ROLES, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.6, 3.2  # inches; 331 x 230 points, about the width of a phone
PNG_DPI = 200
BAND_ALPHA = 0.16
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
THIN: dict[str, Any] = {"color": ROLES["muted"].light, "lw": 0.9}  # of a line to compare with
SMALL: dict[str, Any] = {"color": ROLES["muted"].light, "fontsize": 10.5}  # of words beside it


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a figure, with a band where two columns have its ends."""

    place: int  # of the series, which gives colour, dashes and marker
    label: str
    rows: pa.Table
    x: str  # column
    y: str  # column
    band: tuple[str, str] | None = None
    alpha: float = BAND_ALPHA
    style: Mapping[str, Any] = field(default_factory=dict)  # matplotlib's, in place of the series' own

    def draw(self, axes: Axes) -> None:
        across = self.rows[self.x].to_numpy()
        if self.band is not None:
            low, high = (self.rows[end].to_numpy() for end in self.band)
            axes.fill_between(across, low, high, color=colour(self.place), alpha=self.alpha, linewidth=0)
        style = {**own_style(self.place), **self.style}
        axes.plot(across, self.rows[self.y].to_numpy(), label=self.label, **style)


@dataclass(frozen=True, slots=True)
class Figure:
    """One panel and the numbers in it."""

    name: str  # of its files
    title: str
    caption: str  # what is measured, in which unit, from how many samples, how to read it
    numbers: pa.Table
    lines: Sequence[Line] = ()
    axes: Mapping[str, Any] = field(default_factory=dict)  # labels, limits and scales, as Axes.set takes them
    more: Callable[[Axes], None] | None = None  # draws what is no line, beneath them
    steps: bool = False  # the x axis is that of training steps
    height: float = HEIGHT  # inches
    legend: int = 2  # columns; there is none for a single line
    digits: int | None = None  # significant digits of the numbers in the file; None: all

    def draw(self, axes: Axes) -> None:
        if self.more is not None:
            self.more(axes)
        for line in self.lines:
            line.draw(axes)
        axes.set(**self.axes)
        if self.steps:  # whole numbers
            from matplotlib.ticker import MaxNLocator

            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
            axes.set_xlabel("step")


TEXTS: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("figures.yaml").read_text())


def described(
    key: str,
    numbers: pa.Table,
    words: Mapping[str, object],
    *,
    name: str | None = None,
    axes: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Figure:
    """The figure of that key in figures.yaml, whose title and caption the `words` fill.

    `name` stands in place of the key, `axes` are besides those of the file; `settings` are of `Figure`.
    """
    text = TEXTS[key]
    return Figure(
        name or key,
        text["title"].format(**words),
        text["caption"].format(**words),
        numbers.select(text["numbers"]) if "numbers" in text else numbers,
        axes={**text["axes"], **(axes or {})},
        **settings,
    )


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


def series(
    rows: pa.Table,
    column: str,
    labels: Mapping[str, str],
    x: str,
    y: str,
    band: tuple[str, str] | None = None,
    **style: Any,
) -> list[Line]:
    """A line for each of the labelled values of a column; `style` as in `Line`."""
    return [
        Line(place, label, where(rows, **{column: value}), x, y, band, style=style)
        for place, (value, label) in enumerate(labels.items())
    ]


def slug(name: str) -> str:
    """The name with only characters that a file name and an HTML id can have; no two names share one."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"  # a/b is not a-b


def colour(place: int) -> str:
    """The light colour of the series at that place; they repeat after six."""
    return ROLES[SERIES[place % len(SERIES)]].light


def own_style(place: int) -> dict[str, Any]:
    """Colour, dashes and marker of the series at that place, so that none is told by colour alone.

    Dashes and markers shift by one with every round of the colours: 36 series are told apart.
    """
    shifted = (place + place // len(SERIES)) % len(DASHES)
    return {"color": colour(place), "ls": DASHES[shifted], "marker": MARKERS[shifted]}


def render(figure: Figure, folder: Path | None = None) -> Drawn:
    """The figure for a page; with a folder it is saved there as `<name>.svg`, `.png` and `.csv` too.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    svg = as_svg(figure, None if folder is None else folder / f"{figure.name}.png")
    text = as_csv(figure.numbers, digits=figure.digits)
    if folder is not None:
        (folder / f"{figure.name}.svg").write_text(svg)
        (folder / f"{figure.name}.csv").write_text(text)
    return Drawn(figure.name, figure.title, figure.caption, inline_svg(svg, figure.name), text)


def as_svg(figure: Figure, png: Path | None = None) -> str:
    """The figure as the text of an SVG file; `png` is a file to save it to as well.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    plt = _pyplot()
    with plt.rc_context(_style()):
        canvas, axes = plt.subplots(figsize=(WIDTH, figure.height))
        figure.draw(axes)
        _add_legend(axes, figure.legend)
        axes.margins(x=0.02)
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        if png is not None:
            canvas.savefig(png, dpi=PNG_DPI, metadata={"Software": None})
        plt.close(canvas)
    return text.getvalue()


def _add_legend(axes: Axes, columns: int) -> None:
    """A legend above the axes where there are several lines, in as many of the columns as the figure is wide for."""
    if len(axes.get_legend_handles_labels()[0]) < 2:
        return
    canvas: Any = axes.figure
    for fewer in range(columns, 0, -1):
        made = axes.legend(ncols=fewer, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2)
        canvas.draw_without_rendering()  # which places it
        if made.get_window_extent().x1 <= canvas.bbox.x1:
            return


def inline_svg(svg: str, name: str) -> Markup:
    """The SVG as part of an HTML page: no prolog, own ids, and colours that follow the theme.

    Every colour of ROLES and of the ramp becomes its CSS variable.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body).replace("xlink:href", "href")
    for size in ("width", "height"):
        body = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for variable, role in {**ROLES, **{f"d{level}": role for level, role in enumerate(RAMP)}}.items():
        body = body.replace(role.light, f"var(--{variable})")
    return Markup(body)


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
    ticks = [f"{x}tick.{of}" for x in "xy" for of in ("color", "labelcolor")]
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "rlvr",
        "font.family": "DejaVu Sans",
        **dict.fromkeys(("font.size", "axes.labelsize"), 11.5),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 11),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), ROLES["card"].light),
        **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", *ticks), ROLES["muted"].light),
        "text.color": ROLES["ink"].light,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "legend.columnspacing": 1.4,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": ROLES["line"].light,
        "grid.linewidth": 0.7,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
    }
