"""The page in a real browser: its scripts run, and nothing is wider than a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rlvr.report import ReportOptions, report
from tests.helpers.report_cases import write_analysis, write_cross, write_training

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here: the page is not tried in a browser"),
]

# A headless window cannot be as narrow as a phone, but a frame can; the page inside reports to it.
FRAME = """<!doctype html><body><iframe src="probed.html" style="border:0;width:{width}px;height:800px"></iframe>
<script>addEventListener("message", (event) => {{ document.body.dataset.found = event.data; }});</script>"""
PROBE = """<script>addEventListener("error", (event) => { window.failed = event.message; });</script>"""
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
  first.parentNode.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
  const spoken = document.getElementById("spoken").textContent;
  select.value = "divergence: smallest mean";
  select.dispatchEvent(new Event("change"));
  setTimeout(() => parent.postMessage(JSON.stringify({
    failed: window.failed ?? null,
    width,
    scrollWidth: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll("body *")].filter((node) => !inside(node))
      .filter((node) => node.getBoundingClientRect().right > width + 1).map((node) => node.outerHTML.slice(0, 80)),
    panel: [panel.left, panel.right], shown, spoken,
    pairs: before.length, changed: before[0] !== texts()[0],
    injected: document.querySelectorAll(".response img, .response script, #panel img").length,
  }), "*"), 100);
});
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = write_training(tmp_path_factory.mktemp("browser"), "whole")
    write_analysis(folder / "analysis")
    write_cross(folder / "cross_sampling")
    target = report(ReportOptions(runs=(folder,)))
    text = target.read_text().replace("<main>", PROBE + "<main>").replace("</body>", REPORT)
    target.with_name("probed.html").write_text(text)
    return target


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_and_fits(page, tmp_path, width):
    frame = page.with_name(f"frame{width}.html")
    frame.write_text(FRAME.format(width=width))
    flags = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", f"--window-size={width + 20},820",
    )  # fmt: skip
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, f"the page reported nothing: {done.stderr[-2000:]}"
    seen = json.loads(html.unescape(found[1]))
    assert seen["failed"] is None
    assert seen["wide"] == []
    assert seen["scrollWidth"] <= seen["width"] <= width
    assert 0 <= seen["panel"][0] < seen["panel"][1] <= width
    assert "Base" in seen["shown"]
    assert "Policy" in seen["shown"]
    assert "divergence" in seen["spoken"]
    assert seen["pairs"] == 8
    assert seen["changed"]
    assert seen["injected"] == 0
