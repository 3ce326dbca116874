"""The pictures of the pages: small, and drawn from a report's own data and colours."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.helpers.pages import DOCS

SVG = "{http://www.w3.org/2000/svg}"
FIELDS = ["token", "js", "base_texts", "base_probs", "policy_texts", "policy_probs"]
TEXTS = ["so", "first", " 8", "<|endoftext|>"]
COLOURS = {"card": "#ffffff", "ink": "#111111", "muted": "#222222", "policy": "#0000aa", "base": "#aa5500"}
LEVELS = {f"{kind}{n}": f"#{kind}0000{n}".replace("t", "e") for kind in "dt" for n in range(3)}


@pytest.fixture(scope="module")
def images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_images", DOCS / "build_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_images"] = module  # where its dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def response(trajectory: str, correct: bool, tokens: list[tuple[int, float]]) -> dict[str, Any]:
    shown = [
        [token, js, [0, 1, 2], [0.6, 0.39, 0.0001], [1, 0, 2], [0.99, 0.01, 0.0]] for token, js in tokens
    ]
    return {
        "trajectory": trajectory,
        "question": "5+3=?",
        "correct": correct,
        "moved": sum(js > 0.1 for _, js in tokens),
        "moved_above": 0.1,
        "tokens": len(tokens),
        "shown": shown,
    }


def report(folder: Path, responses: list[dict[str, Any]]) -> Path:
    """A report.html with nothing but what the pictures are drawn from."""
    pairs = [{"lead": lead, "partner": lead + 1, "why": "divergent"} for lead in range(0, len(responses), 2)]
    data = {"edges": [0.1, 0.3], "fields": FIELDS, "texts": TEXTS, "responses": responses, "pairs": pairs}
    light = " ".join(f"--{name}: {colour};" for name, colour in (COLOURS | LEVELS).items())
    dark = " ".join(f"--{name}: #ffffff;" for name in COLOURS | LEVELS)
    file = folder / "report.html"
    file.write_text(
        f"<style>:root {{ {light} }} dark {{ {dark} }}</style>"
        f'<script type="application/json" id="token-data">{json.dumps(data)}</script>'
    )
    return file


def test_the_committed_pictures_are_small_and_whole() -> None:
    for name in ("tokens.svg", "accuracy.svg", "smollm.svg"):
        file = DOCS / "images" / name
        assert file.stat().st_size < 30_000
        assert ElementTree.parse(file).getroot().tag == f"{SVG}svg"


def test_a_pair_is_drawn_with_the_colours_of_its_divergences(images: ModuleType, tmp_path: Path) -> None:
    policy = response("policy", True, [(1, 0.35), (2, 0.2), (3, 0.0)])
    base = response("base", False, [(0, 0.0), (3, 0.1)])
    page = images.read_page(report(tmp_path, [policy, base]))
    root = ElementTree.fromstring(images.picture(page))
    boxes = [node.get("fill") for node in root.iter(f"{SVG}rect") if node.get("height") == "24"]
    level = {n: LEVELS[f"d{n}"] for n in range(3)}
    assert boxes == [level[0], level[1], level[2], level[1], level[0]]
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert texts[0] == "5+3=?"
    assert {"first", "·8", "end", "right, 2 of 3 tokens with JS above 0.1", "99.0 %", "< 0.1 %"} <= set(texts)
    assert "at “first”: JS 0.35 nats. The next token according to" in texts


def test_without_a_short_pair_that_the_policy_alone_has_right_it_says_so(
    images: ModuleType, tmp_path: Path
) -> None:
    long = [(1, 0.0)] * 40
    pairs = [
        response("policy", True, long),
        response("base", False, long),
        response("policy", True, [(1, 0.0)]),
        response("base", True, [(1, 0.0)]),
    ]
    page = images.read_page(report(tmp_path, pairs))
    with pytest.raises(SystemExit, match="no short pair"):
        images.picture(page)


def test_a_report_without_token_pages_is_refused(images: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>curves only</p>")
    with pytest.raises(SystemExit, match="it has no token pages"):
        images.read_page(tmp_path / "report.html")
