"""The page in a real browser: its scripts run, and nothing is wider than a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.report import ReportOptions, report
from tests.helpers.browser import LAYOUT, seen
from tests.helpers.report_cases import write_analysis, write_cross, write_training

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")
pytestmark = pytest.mark.slow

REPORT = """<script>
addEventListener("load", () => {
  const inside = (node) => node.parentElement.closest(".scroll, pre, nav, svg, .unseen, .response, select, [hidden]");
  for (const node of document.querySelectorAll("details")) node.open = true;
  const width = document.documentElement.clientWidth;
  const first = document.querySelector(".response .t");
  first.click();
  const panel = document.getElementById("panel").getBoundingClientRect();
  const texts = () => [...document.querySelectorAll(".pair")].map((pair) => pair.innerText);
  const select = document.querySelector(".controls select"), before = texts();
  const shown = document.getElementById("panel").innerText;
  first.closest(".response").dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
  const arrived = document.querySelector(".response .v");
  arrived.click();
  const version = document.getElementById("panel").innerText;
  const slider = document.querySelector(".controls input[type=range]");
  const shades = () => document.querySelector(".response").innerHTML;
  const last = shades();
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  const earlier = shades(), step = document.querySelectorAll(".controls output")[1].textContent;
  const told = document.getElementById("panel").innerText;
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  const slid = { step, told, changed: earlier !== last, back: shades() === last };
  const spoken = document.getElementById("spoken").textContent;
  select.value = "divergence: smallest mean";
  select.dispatchEvent(new Event("change"));
  setTimeout(() => parent.postMessage(JSON.stringify({
    LAYOUT
    panel: [panel.left, panel.right], shown, spoken, slid,
    version, facts: arrived.closest(".side").innerText,
    pairs: before.length, changed: before[0] !== texts()[0],
    injected: document.querySelectorAll(".response img, .response script, #panel img").length,
  }), "*"), 100);
});
</script></body>""".replace("LAYOUT", LAYOUT)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = write_training(tmp_path_factory.mktemp("browser"), "whole")
    write_analysis(folder / "analysis")
    write_cross(folder / "cross_sampling")
    return report(ReportOptions(runs=(folder,)))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_and_fits(page, tmp_path, width):
    found = seen(page, REPORT, width, tmp_path)
    assert found["failed"] is None
    assert found["wide"] == []
    assert found["cut"] == []
    assert found["scrollWidth"] <= found["width"] <= width
    assert 0 <= found["panel"][0] < found["panel"][1] <= width
    assert "Base" in found["shown"]
    assert "Policy" in found["shown"]
    assert "divergence" in found["spoken"]
    assert "Sampled by weight version 4." in found["version"]
    assert "weight versions 3, 4" in found["facts"]
    assert found["slid"]["changed"]
    assert found["slid"]["back"]
    assert found["slid"]["step"] == "step_000010"
    assert "Shade and JS: of step_000010." in found["slid"]["told"]
    assert found["pairs"] == 8
    assert found["changed"]
    assert found["injected"] == 0
