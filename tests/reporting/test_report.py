"""Whole reports from small run folders."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlvr.report import ReportOptions, report
from tests.helpers.report_cases import CHECKPOINTS, QUESTION, write_analysis, write_cross, write_training

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect", "circle", "line"}


class Page(HTMLParser):
    """Elements, attributes, and whether every element that was opened was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.texts: dict[str, str] = {}  # of scripts, by id
        self.visible = ""
        self._open: list[str] = []
        self._id = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self._note(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._note(tag, attrs)

    def _note(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._id = dict(attrs).get("id") or ""
        self.ids += [self._id] if self._id else []

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.texts[self._id] = data
        elif self._open[-1:] != ["style"]:
            self.visible += data


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = write_training(tmp_path_factory.mktemp("runs"), "whole")
    write_analysis(folder / "analysis")
    write_cross(folder / "cross_sampling")
    return folder


@pytest.fixture(scope="module")
def html(run) -> str:
    return report(ReportOptions(runs=(run,), divergent=4, random=3)).read_text()


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_nothing_is_loaded_from_elsewhere(html, page):
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"):
            assert value is not None
            assert value.startswith("#"), (tag, name, value)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"https?://", html)
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes
    assert any(value and value.startswith("default-src 'none'") for _, _, value in page.attributes)


def test_ids_are_unique_and_references_resolve(html, page):
    assert len(page.ids) == len(set(page.ids))
    wanted = {value[1:] for _, name, value in page.attributes if name == "href" and value}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert wanted
    assert wanted <= set(page.ids)


def test_every_chosen_response_is_in_the_page(run, page):
    data = json.loads(page.texts["token-data"])
    assert [pair["why"] for pair in data["pairs"]] == ["divergent"] * 4 + ["random"] * 3
    rows = {row["response"]: row for row in pq.read_table(run / "analysis/responses.parquet").to_pylist()}
    tokens = [
        row
        for row in pq.read_table(run / "analysis/tokens").to_pylist()
        if row["checkpoint"] == CHECKPOINTS[-1]
    ]
    fields = data["fields"]
    for shown in data["responses"]:
        row = rows[shown["number"]]
        assert (shown["text"], shown["question"], shown["reward"]) == (row["text"], QUESTION, row["reward"])
        own = [t for t in tokens if t["response"] == shown["number"]]
        assert len(shown["shown"]) == row["tokens"]
        assert shown.get("version_spans") == row["version_spans"]
        for token, expected in zip(shown["shown"], own, strict=True):
            assert data["texts"][token[fields.index("token")]] == expected["token"]
            assert token[fields.index("js")] == pytest.approx(expected["js"], rel=1e-3)
            for side in ("base", "policy"):
                texts = [data["texts"][i] for i in token[fields.index(f"{side}_texts")]]
                assert texts == expected[f"{side}_texts"]
                assert token[fields.index(f"{side}_probs")] == pytest.approx(
                    expected[f"{side}_probs"], rel=1e-3
                )
    for pair in data["pairs"]:
        lead, partner = data["responses"][pair["lead"]], data["responses"][pair["partner"]]
        assert lead["problem_id"] == partner["problem_id"]
        assert (lead["trajectory"], partner["trajectory"]) == ("policy", "base")


ARRIVED = "new weights arrived before this token"


def test_an_analysis_from_before_weight_versions_were_kept(run, page, tmp_path):
    assert any("version_spans" in response for response in json.loads(page.texts["token-data"])["responses"])
    assert ARRIVED in page.visible
    folder = write_training(tmp_path, "earlier")
    index = write_analysis(folder / "analysis") / "responses.parquet"
    pq.write_table(pq.read_table(index).drop_columns(["version_spans"]), index)
    earlier = Page(report(ReportOptions(runs=(folder,), divergent=4, random=3)).read_text())
    shown = json.loads(earlier.texts["token-data"])["responses"]
    assert shown
    assert not any("version_spans" in response for response in shown)
    assert ARRIVED not in earlier.visible


def test_the_page_says_how_its_responses_were_chosen(page):
    assert (
        "4 pairs with the largest mean divergence in either response, and 3 drawn at random" in page.visible
    )


def test_long_responses_are_cut(run, tmp_path):
    options = ReportOptions(runs=(run,), output=tmp_path, tokens=2)
    data = json.loads(Page(report(options).read_text()).texts["token-data"])
    assert {len(r["shown"]) for r in data["responses"]} <= {1, 2}
    assert max(r["tokens"] for r in data["responses"]) > 2


def test_figures_lie_beside_the_page_and_their_data_in_it(run, page):
    figures = run / "report" / "figures"
    numbers = json.loads(page.texts["figure-data"])
    assert {p.stem for p in figures.glob("*.svg")} == set(numbers)
    assert {"eval_held", "train_js", "sparsity", "evolution", "js_entropy", "rank", "cross_forward"} <= set(
        numbers
    )
    for name, text in numbers.items():
        assert (figures / f"{name}.csv").read_text() == text
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(figures / f"{name}.svg")
        lines = list(csv.reader(text.splitlines()))
        assert len(lines) > 1, name
        assert f"figure-{name}" in page.ids


def test_figures_follow_the_theme(html):
    """No colour is left in a drawing: each is a variable that both themes define."""
    drawings = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(drawings) > 15
    for drawing in drawings:
        assert not re.findall(r"#[0-9a-fA-F]{6}", drawing)
    used = set(re.findall(r"var\((--[\w]+)\)", "".join(drawings)))
    for theme in re.findall(r"color-scheme: (?:light|dark); (.*?)}", html):
        assert used <= set(re.findall(r"(--[\w]+):", theme))


def test_cross_figures_hold_the_numbers_of_the_budgets(run, page):
    numbers = json.loads(page.texts["figure-data"])
    drawn = list(csv.DictReader(numbers["cross_reverse"].splitlines()))
    rows = [
        r for r in csv.DictReader((run / "cross_sampling/budgets.csv").open()) if r["direction"] == "reverse"
    ]
    assert [r["accuracy"] for r in drawn] == [r["accuracy"] for r in rows]


def test_configuration_and_versions_are_in_the_page(run, page):
    assert (run / "config.yaml").read_text() in page.visible
    assert "bootstrap: 20" in page.visible
    assert "2.13.0" in page.visible


def test_the_same_folder_gives_the_same_page(run, html, tmp_path):
    options = ReportOptions(runs=(run,), output=tmp_path / "again", divergent=4, random=3)
    assert report(options).read_text() == html


@pytest.fixture(scope="module")
def early(tmp_path_factory) -> Path:
    """A run that is still training, and writing its metrics."""
    folder = write_training(tmp_path_factory.mktemp("runs"), "early", steps=1)
    (folder / "summary.json").unlink()
    (folder / "metrics.jsonl").open("a").write('{"step": 2, "ki')
    return folder


@pytest.fixture(scope="module")
def early_page(early) -> Page:
    return Page(report(ReportOptions(runs=(early,))).read_text())


def test_missing_parts_are_named_with_their_commands(early, early_page):
    assert f"python -m rlvr.analyze run={early}" in early_page.visible
    assert f"python -m rlvr.cross_sample run={early}" in early_page.visible
    assert json.loads(early_page.texts["token-data"]) is None


def test_a_run_that_is_still_training(early_page):
    assert "not finished" in early_page.visible


@pytest.mark.parametrize("trajectory", ["policy", "base"])
def test_an_analysis_alone(tmp_path, trajectory):
    folder = write_analysis(tmp_path / "out", (trajectory,))
    page = Page(report(ReportOptions(runs=(folder,))).read_text())
    data = json.loads(page.texts["token-data"])
    assert {r["trajectory"] for r in data["responses"]} == {trajectory}
    assert all(pair["partner"] is None for pair in data["pairs"])
    assert "rlvr.cross_sample base=BASE policy=POLICY" in page.visible
    assert "12 responses with the largest mean divergence, and 0 drawn" in page.visible


def test_several_runs(run, tmp_path):
    other = write_training(tmp_path, "other", steps=9)
    target = report(ReportOptions(runs=(run, other), output=tmp_path / "both"))
    page = Page(target.read_text())
    numbers = json.loads(page.texts["figure-data"])
    drawn = list(csv.DictReader(numbers["eval_held"].splitlines()))
    assert [r["run"] for r in drawn] == ["whole"] * 3 + ["other"] * 4
    assert {r["line"] for r in csv.DictReader(numbers["train_js"].splitlines())} == {"whole", "other"}
    assert "whole_sparsity" in numbers
    assert f"python -m rlvr.analyze run={other}" in page.visible
