"""Draw the pictures of the pages from a report that the project's own commands have written.

    python -m rlvr.train recipe=dapo_divweight run.name=pictures
    python -m rlvr.analyze run=runs/pictures
    python -m rlvr.report runs/pictures
    python docs/build_images.py runs/pictures/report
    python -m rlvr.train -m +sweep=staleness
    python docs/build_images.py --staleness runs/staleness
    make demo-llm && python docs/build_images.py --smollm2 runs/demo-llm/report

docs/images/accuracy.svg is the report's figure of held-out accuracy as it stands. docs/images/tokens.svg is one pair
of the report's token pages, drawn from the data and the colours inside report.html, since a page is no picture.
docs/images/staleness.svg is held-out accuracy of that sweep's conditions. docs/images/smollm.svg is a pair of the
token pages of a real model; docs/runs/smollm2.html is that report, whole, with paths from the checkout on.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent / "images"
RUNS = IMAGES.parent / "runs"
CURVE = "eval_arithmetic_heldout.svg"
WIDTH, MARGIN, LINE, CHARACTER = 820, 20, 30, 9.0  # pixels
MOST_TOKENS = 32  # of a response that fits on the picture


@dataclass(frozen=True, slots=True)
class Page:
    """What report.html holds about its token pages."""

    data: dict[str, Any]
    colours: dict[str, str]  # name of a CSS variable of the light theme -> #rrggbb

    def text(self, token: list[Any]) -> str:
        """The text of a token, spaces and the end made visible."""
        return self.shown(token[self.data["fields"].index("token")])

    def shown(self, index: int) -> str:
        text = self.data["texts"][index]
        return "end" if text.startswith("<|") else text.replace(" ", "·")

    def value(self, token: list[Any], name: str) -> Any:
        return token[self.data["fields"].index(name)]

    def level(self, js: float) -> int:
        """The level of a divergence, as the page's script finds it."""
        return sum(js >= edge for edge in self.data["edges"])


def read_page(report: Path) -> Page:
    """Read the token pages' data and colours out of a report.

    Raises:
        SystemExit: the report has no token pages.
    """
    html = report.read_text()
    found = re.search(r'id="token-data">(.*?)</script>', html, flags=re.DOTALL)
    if found is None:
        sys.exit(f"{report}: it has no token pages; run rlvr.analyze on the run, then rlvr.report again")
    # The light theme comes first; the dark one repeats the names.
    colours: dict[str, str] = {}
    for name, colour in re.findall(r"--(\w+): (#[0-9a-f]{6})", html):
        colours.setdefault(name, colour)
    return Page(json.loads(found[1]), colours)


def choose(page: Page) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first pair, base and policy, in which the policy alone is right and that fits on the picture.

    Raises:
        SystemExit: there is none.
    """
    responses = page.data["responses"]
    for pair in page.data["pairs"]:
        policy = responses[pair["lead"]]
        base = None if pair["partner"] is None else responses[pair["partner"]]
        fits = policy["tokens"] <= MOST_TOKENS and base is not None and base["tokens"] <= MOST_TOKENS
        if fits and policy["correct"] and not base["correct"]:
            return base, policy
    sys.exit("no short pair in which the policy alone is right; raise divergent= and random= of rlvr.report")


def words(
    x: float,
    y: float,
    text: str,
    colour: str,
    size: int = 14,
    *,
    weight: str = "normal",
    family: str = "sans-serif",
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="{family}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def row_of_tokens(page: Page, response: dict[str, Any], y: float) -> tuple[list[str], float]:
    """The tokens of a response as coloured boxes from `y` on, and where the next line begins."""
    parts, x = [], float(MARGIN)
    for token in response["shown"]:
        text, level = page.text(token), page.level(page.value(token, "js"))
        width = CHARACTER * len(text) + 6
        if x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LINE
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="24" rx="3" fill="{page.colours[f"d{level}"]}"/>'
            f'<text x="{x + 3:.1f}" y="{y + 17:.1f}" font-family="monospace" font-size="15" '
            f'textLength="{CHARACTER * len(text):.1f}" lengthAdjust="spacingAndGlyphs" '
            f'fill="{page.colours[f"t{level}"]}">{escape(text)}</text>'
        )
        x += width + 2
    return parts, y + LINE


def candidates(page: Page, token: list[Any], y: float) -> tuple[list[str], float]:
    """The three most likely tokens of both models at one position, as bars, and where the next line begins."""
    ink, parts = page.colours["ink"], []
    title = f"at “{page.text(token)}”: JS {page.value(token, 'js'):.2f} nats. The next token according to"
    parts.append(words(MARGIN, y, title, page.colours["muted"], 13))
    for column, who in enumerate(("base", "policy")):
        left = MARGIN + column * (WIDTH - 2 * MARGIN) / 2
        parts.append(words(left, y + 24, f"the {who}", page.colours[who], 13, weight="bold"))
        texts, shares = page.value(token, f"{who}_texts")[:3], page.value(token, f"{who}_probs")[:3]
        for place, (index, share) in enumerate(zip(texts, shares, strict=True)):
            top = y + 34 + 22 * place
            parts.append(words(left, top + 13, page.shown(index), ink, 14, family="monospace"))
            parts.append(
                f'<rect x="{left + 70:.1f}" y="{top + 2:.1f}" width="{max(200 * share, 1):.1f}" height="13" '
                f'fill="{page.colours[who]}"/>'
            )
            percent = f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
            parts.append(words(left + 280, top + 13, percent, ink, 13))
    return parts, y + 34 + 22 * 3


def picture(page: Page) -> str:
    """One pair of the token pages as an SVG."""
    base, policy = choose(page)
    ink, muted = page.colours["ink"], page.colours["muted"]
    parts, y = [words(MARGIN, 32, f"{base['question']}", ink, 18, weight="bold", family="monospace")], 62.0
    for response in (base, policy):
        who = response["trajectory"]
        verdict = "right" if response["correct"] else "wrong"
        moved = f"{response['moved']} of {response['tokens']} tokens"
        about = f"{verdict}, {moved} with JS above {response['moved_above']:g}"
        parts += [
            words(MARGIN, y, who, page.colours[who], 15, weight="bold"),
            words(MARGIN + 70, y, about, muted, 13),
        ]
        drawn, y = row_of_tokens(page, response, y + 10)
        parts += drawn
        y += 18
    most = max(policy["shown"], key=lambda token: page.value(token, "js"))
    drawn, y = candidates(page, most, y + 6)
    parts += drawn
    edges = ["0", *(f"{edge:g}" for edge in page.data["edges"])]
    y += 20
    parts.append(words(MARGIN, y + 13, "JS from", muted, 12))
    for level, edge in enumerate(edges):
        x = MARGIN + 60 + 56 * level
        parts.append(
            f'<rect x="{x}" y="{y}" width="54" height="18" rx="3" fill="{page.colours[f"d{level}"]}"/>'
        )
        parts.append(words(x + 8, y + 13, edge, page.colours[f"t{level}"], 12))
    parts.append(words(MARGIN + 60 + 56 * len(edges) + 6, y + 13, "nats", muted, 12))
    height = y + 36
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="6" fill="{page.colours["card"]}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def draw_staleness(folder: Path) -> Path:
    """Draw held-out accuracy of the conditions of `+sweep=staleness`, under short names; the file."""
    from rlvr.analysis.sweep.runs import read_sweep
    from rlvr.analysis.sweep.tables import sweep_result
    from rlvr.reporting.figures.canvas import render
    from rlvr.reporting.figures.sweep import held_out, overview

    sweep = read_sweep(folder)
    found = sweep_result(sweep, sweep.runs[0].condition)
    [figure] = overview(found, [held_out(found.evaluations[0])])
    lines = [replace(line, label=short_name(line.label)) for line in figure.lines]
    with tempfile.TemporaryDirectory() as drawn:
        render(replace(figure, lines=lines, legend=1, height=4.4), Path(drawn))
        return Path(shutil.copy(Path(drawn) / f"{figure.name}.svg", IMAGES / "staleness.svg"))


def short_name(condition: str) -> str:
    """`dapo_staleness-4_rollout_correction-2.0` as `staleness 4, corrected`."""
    found = re.search(r"staleness-(\d+)_rollout_correction-(\S+)", condition)
    assert found is not None, condition
    bound, cap = found.groups()
    return f"staleness {bound}" + ("" if cap == "null" else ", corrected")


def page_of(folder: str) -> Path:
    """The page of a report."""
    page = Path(folder) / "report.html"
    if not page.is_file():
        sys.exit(
            f"{page}: there is no such file; give the folder of a report, which `rlvr report RUN` writes"
        )
    return page


def main(arguments: list[str]) -> None:
    """Write both pictures from the folder of a report, or those of the sweep over staleness or of the real model."""
    if len(arguments) == 2 and arguments[0] == "--staleness":
        print(f"wrote {draw_staleness(Path(arguments[1]))}")
        return
    if len(arguments) == 2 and arguments[0] == "--smollm2":
        report = page_of(arguments[1])
        (IMAGES / "smollm.svg").write_text(picture(read_page(report)))
        RUNS.mkdir(exist_ok=True)
        (RUNS / "smollm2.html").write_text(report.read_text().replace(f"{Path.cwd()}/", ""))
        print(f"wrote {IMAGES / 'smollm.svg'} and {RUNS / 'smollm2.html'}")
        return
    if len(arguments) != 1:
        sys.exit("give the folder of a report, such as runs/latest/report")
    report = page_of(arguments[0])
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "tokens.svg").write_text(picture(read_page(report)))
    shutil.copy(report.parent / "figures" / CURVE, IMAGES / "accuracy.svg")
    print(f"wrote {IMAGES / 'tokens.svg'} and {IMAGES / 'accuracy.svg'}")


if __name__ == "__main__":
    main(sys.argv[1:])
