"""A page in a real browser, in a frame as narrow as a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.helpers.require import skip_or_fail

# A headless window cannot be as narrow as a phone, but a frame can; the page inside reports to it.
FRAME = """<!doctype html><body><iframe src="probed.html" style="border:0;width:{width}px;height:800px"></iframe>
<script>addEventListener("message", (event) => {{ document.body.dataset.found = event.data; }});</script>"""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PROBE = """<script>addEventListener("error", (event) => { window.failed = event.message; });</script>"""

# Fields of a report: an error, how wide the page is, what is wider, and the words that stick out of their figures. The
# script around has `width`, of the window, and `inside`, for what may be wider because it scrolls.
LAYOUT = """failed: window.failed ?? null,
    width,
    scrollWidth: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll("body *")].filter((node) => !inside(node))
      .filter((node) => node.getBoundingClientRect().right > width + 1).map((node) => node.outerHTML.slice(0, 80)),
    cut: [...document.querySelectorAll(".plot svg text")].filter((text) => {
      const own = text.getBoundingClientRect(), drawing = text.closest("svg").getBoundingClientRect();
      return own.width > 0 && (own.left < drawing.left - 1 || own.right > drawing.right + 1);
    }).map((text) => text.textContent),"""


def browser() -> str:
    """The program; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or skip_or_fail("no chromium here: the page is not tried in a browser")


def seen(page: Path, report: str, width: int, folder: Path) -> dict[str, Any]:
    """What `report`, a script, posts to the parent of the page in a frame of `width` pixels; `folder` is for files."""
    program = browser()
    probed = page.read_text().replace("<main>", PROBE + "<main>").replace("</body>", report)
    (folder / "probed.html").write_text(probed)
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width))
    flags = (
        *FLAGS, "--disable-quic",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", f"--window-size={width + 20},820",
    )  # fmt: skip
    done = subprocess.run(
        [program, *flags, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, f"the page reported nothing: {done.stderr[-2000:]}"
    return json.loads(html.unescape(found[1]))
