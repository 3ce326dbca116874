"""The page about a sweep: self-contained, every figure with its numbers, and no wider than a phone."""

from __future__ import annotations

import html
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from rlvr.analysis.sweep.runs import SweepFolder
from rlvr.analysis.sweep.tables import sweep_result
from rlvr.reporting.figures.canvas import as_svg, slug
from rlvr.reporting.figures.sweep import differences
from rlvr.sweep_report import sweep_report
from tests.helpers.browser import LAYOUT, seen
from tests.helpers.sweep_cases import make_run, make_sweep, run_record

pytestmark = pytest.mark.slow
pytest.importorskip("matplotlib", reason="the page draws with matplotlib, which is not installed")

REPORT = """<script>
addEventListener("load", () => {
  const inside = (node) => node.parentElement.closest(".scroll, pre, nav, svg, .unseen, [hidden]");
  for (const node of document.querySelectorAll("details")) node.open = true;
  const width = document.documentElement.clientWidth;
  const ground = () => getComputedStyle(document.body).backgroundColor, before = ground();
  document.getElementById("theme").click();
  setTimeout(() => parent.postMessage(JSON.stringify({
    LAYOUT
    changed: before !== ground(),
    empty: [...document.querySelectorAll(".save .scroll")].filter((node) => !node.querySelector("td")).length,
  }), "*"), 200);
});
</script></body>""".replace("LAYOUT", LAYOUT)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = make_sweep(tmp_path_factory.mktemp("sweep"))
    for seed in (1, 2):  # too few, without a divergence, and with a name that a page must not trust
        make_run(folder, "recipe-<b>&x", seed, {"aime24": 4}, js=None)
    _, files = sweep_report(folder, "recipe-dapo")
    return next(file for file in files if file.suffix == ".html")


def test_the_page_is_one_file_with_every_figure(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<b>&x" not in text
    found = set(re.findall(r'<figure id="figure-([^"]+)"', text))
    training = {"accuracy", "reward", "length", "entropy", "weight"}
    others = {"recipe-dapo_high", "recipe-dapo_other", slug("recipe-<b>&x")}
    assert found == (
        {"difference_aime24", "eval_aime24", "divergence_recipe-dapo"}
        | training
        | {f"{kind}_{name}" for kind in ("eval_aime24", "accuracy") for name in others}
        | {f"divergence_{name}" for name in others if "b" not in name.split("-")}
    )
    numbers = json.loads(re.search(r'id="figure-data">(.*?)</script>', text, flags=re.S)[1])
    assert numbers.keys() == found
    difference = numbers["difference_aime24"].splitlines()
    assert difference[0] == "condition,what,difference,low,high"
    assert sum(line.startswith("recipe-dapo_high,seed ") for line in difference) == 4
    assert any(line.startswith("recipe-dapo_high,over problems,0.225") for line in difference)


def test_the_page_says_what_the_markdown_says(page: Path) -> None:
    text = html.unescape(page.read_text())
    assert "with the baseline are needed: recipe-<b>&x (2)." in text
    assert "recipe-<b>&x (0 of 2 runs): tracking.signals=[js_base] records it" in text
    assert "10 problems, 2 samples of each" in text
    assert "from the smallest to the largest run" in text


def test_the_same_folder_gives_the_same_page(page: Path) -> None:
    before = page.read_bytes()
    sweep_report(page.parent, "recipe-dapo")
    assert page.read_bytes() == before


def test_one_run_alone_has_a_page(tmp_path: Path) -> None:
    job = make_run(tmp_path, "recipe-dapo", 1, {"amc": 3}, js=None)
    (job / "metrics.jsonl").unlink()
    text, files = sweep_report(tmp_path)
    assert "there is nothing to compare" in text
    page = next(file for file in files if file.suffix == ".html").read_text()
    assert "There is no condition to set against the baseline" in page
    assert "no metrics.jsonl" in page


def test_the_legend_of_differences_names_a_mark_that_the_first_condition_lacks() -> None:
    """It was given other problems than the baseline, so it has no interval over problems."""
    known, other = {"p0": [True], "p1": [False]}, {"p2": [True], "p3": [False]}
    sets = (("recipe-dapo", known), ("recipe-a", other), ("recipe-b", known))
    runs = [run_record(condition, seed, amc=own) for condition, own in sets for seed in (1, 2)]
    found = sweep_result(SweepFolder("made_up", tuple(runs), (), (), ()), "recipe-dapo")
    assert [row.problem_gain is None for row in found.rows] == [True, True, False]
    (figure,) = differences(found, "amc")
    drawn = as_svg(figure)
    assert [drawn.count(f">{text}<") for text in ("a seed", "over seeds", "over problems")] == [1, 1, 1]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_and_fits(page: Path, tmp_path: Path, width: int) -> None:
    found = seen(page, REPORT, width, tmp_path)
    assert found["failed"] is None
    assert found["wide"] == []
    assert found["cut"] == []
    assert found["scrollWidth"] <= found["width"] <= width
    assert found["changed"]
    assert found["empty"] == 0


def test_the_page_has_every_table_of_the_text(page: Path) -> None:
    """By its first column's head and all others."""
    shown = [
        [html.unescape(cell) for cell in re.findall(r"<th[^>]*>(.*?)</th>", head)]
        for head in re.findall(r"<thead><tr>(.*?)</tr></thead>", page.read_text(), flags=re.S)
    ]
    lines = page.with_suffix(".md").read_text().splitlines()
    heads = [above for above, rule in pairwise(lines) if rule.startswith("| ---")]
    assert len(heads) > 5
    for head in heads:
        assert head.strip("| ").split(" | ") in shown
