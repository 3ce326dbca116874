"""Long responses and many of them: what is in the page at a time, in a real browser. The times are printed, no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.reporting.theme import LEVEL_EDGES
from tests.helpers.chromium import Chromium
from tests.helpers.long_pages import write_page

pytestmark = pytest.mark.slow

RESPONSES, CHECKPOINTS, TOKENS = 40, 10, 8000
IN_A_BOX = 4000  # tokens, at most, of a response of 8000: half of it would be no less work than all
FRAMES = """(async () => {
  const box = document.querySelector(".response"), frame = () => new Promise(requestAnimationFrame), times = [];
  let last = await frame(), most = 0;
  for (let at = 0; at < box.scrollHeight; at += 120) {
    box.scrollTop = at;
    const now = await frame();
    times.push(now - last);
    last = now;
    most = Math.max(most, box.querySelectorAll(".t").length);
  }
  times.sort((a, b) => a - b);
  return { most, frames: times.length, median: times[times.length >> 1], p99: times[Math.floor(0.99 * times.length)],
    longest: times.at(-1), atEnd: box.querySelector(".t[data-i='7999']") !== null };
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(browser: Chromium, page: Path) -> dict:
    """Open a page; its size, and what the browser measured from the request to the end of its scripts."""
    browser.open(page.as_uri())
    measured = browser.run(
        "(({ domInteractive, loadEventEnd }) => ({ interactive: domInteractive, loaded: loadEventEnd, "
        "nodes: document.querySelectorAll('*').length }))(performance.getEntriesByType('navigation')[0])"
    )
    return measured | {"megabytes": page.stat().st_size / 1e6}


def test_many_responses_over_many_checkpoints_open(browser: Chromium, tmp_path: Path) -> None:
    page = write_page(tmp_path, responses=RESPONSES, tokens=1000, checkpoints=CHECKPOINTS)
    measured = opened(browser, page)
    print(f"{RESPONSES} responses of 1000 tokens x {CHECKPOINTS} checkpoints: {measured}")
    assert measured["megabytes"] < 12
    assert browser.run("document.querySelectorAll('.response').length") == 8
    browser.run("document.querySelector('.response').scrollIntoView()")
    browser.wait("document.querySelector('.t[data-i]') !== null")
    # Only what is near the window is in the page, of the boxes and of each box.
    assert browser.run("document.querySelectorAll('.t[data-i]').length") < 8 * 1000 / 2
    browser.run(
        "(() => { const slider = document.querySelector('input[type=range]'); slider.value = 0;"
        "slider.dispatchEvent(new Event('input')); })()"
    )
    seen = browser.run(
        "[...document.querySelector('.response').querySelectorAll('.t[data-i]')]"
        ".map((t) => [Number(t.dataset.i), Number(/ l(\\d)/.exec(t.className)[1])])"
    )
    earlier = browser.run(
        "JSON.parse(document.getElementById('token-data').textContent).responses[0].earlier.step_000010"
    )
    assert len(seen) >= 300
    assert seen == [[i, sum(earlier[i] >= edge for edge in LEVEL_EDGES)] for i, _ in seen]


def test_a_response_of_8000_tokens_scrolls(browser: Chromium, tmp_path: Path) -> None:
    page = write_page(tmp_path, responses=2, tokens=TOKENS, checkpoints=2)
    print(f"2 responses of {TOKENS} tokens: {opened(browser, page)}")
    browser.run("document.querySelector('.response').scrollIntoView({ block: 'center' })")
    browser.wait("document.querySelector('.response .t[data-i]') !== null")
    found = browser.run(FRAMES)
    print(f"frames while scrolling, ms: {found}")
    assert 0 < found["most"] < IN_A_BOX
    browser.wait("document.querySelector(\".response .t[data-i='7999']\") !== null")
    # What was scrolled away is there again for the keyboard, for an address, and for what is saved.
    browser.run(
        "document.querySelector('.response').dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }))"
    )
    assert browser.run("document.querySelector('.t.on').dataset.i") == "0"
    browser.run("location.hash = '#token=1.5000'")
    browser.wait("document.querySelector('.t.on')?.dataset.i === '5000'")
    own = "JSON.parse(document.getElementById('token-data').textContent).responses[0].text"
    # In one go, as what saves does it: what is out of view goes again when the browser next looks.
    assert browser.run(
        "(() => { const box = document.querySelector('.response'); box.fill();"
        f" return box.textContent === {own}; }})()"
    )


def test_a_long_response_is_copied_whole(browser: Chromium, tmp_path: Path) -> None:
    """With what is out of view, and without a line end where a chunk ends in the middle of a line."""
    opened(browser, write_page(tmp_path, responses=1, tokens=TOKENS, checkpoints=1))
    browser.run("document.querySelector('.response').scrollIntoView({ block: 'center' })")
    browser.wait("document.querySelector('.response .t[data-i]') !== null")
    copied = browser.run(
        """(() => {
          const box = document.querySelector(".response"), range = document.createRange();
          range.setStart(box.token(2), 0);
          range.setEnd(box.token(7000), 0);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
          const init = { clipboardData: new DataTransfer(), bubbles: true, cancelable: true };
          const event = new ClipboardEvent("copy", init);
          box.dispatchEvent(event);
          return event.clipboardData.getData("text/plain");
        })()"""
    )
    expected = browser.run(
        """(() => {
          const data = JSON.parse(document.getElementById("token-data").textContent), at = data.fields.indexOf("token");
          return data.responses[0].shown.slice(2, 7000).map((token) => data.texts[token[at]]).join("");
        })()"""
    )
    assert copied == expected
