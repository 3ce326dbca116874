"""What leaves a token page: the address of a token, a response as SVG, PNG and LaTeX; in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from tests.helpers.chromium import Chromium
from tests.helpers.opened_report import opened_report

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")
pytestmark = pytest.mark.slow

# Keep what the page would save instead of saving it.
KEEP = """(() => {
  window.kept = {};
  let last = null;
  URL.createObjectURL = (blob) => { last = blob; return "#kept"; };
  HTMLAnchorElement.prototype.click = function () { window.kept[this.download] = last; };
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with opened_report(tmp_path_factory, at="#token=3.0") as browser:
        yield browser


def test_an_address_opens_at_its_token(page: Chromium) -> None:
    shown = "!document.getElementById('panel').hidden && document.querySelector('.t.on')"
    assert page.run(f"({shown}).closest('.response').dataset.response") == "3"
    assert page.run("document.querySelector('.t.on').dataset.i") == "0"
    other = page.run(
        "JSON.parse(document.getElementById('token-data').textContent).responses.findIndex((r) => r.tokens > 2)"
    )
    page.run(f"location.hash = '#token={other}.2'")
    page.wait(
        f"document.querySelector('.t.on')?.dataset.i === '2'"
        f" && ({shown}).closest('.response').dataset.response === '{other}'"
    )
    assert page.run("document.querySelector('#panel h4 a').getAttribute('href')") == f"#token={other}.2"


def test_a_response_is_saved_as_svg_png_and_latex(page: Chromium) -> None:
    page.run(KEEP)
    count = page.run("document.querySelectorAll('.response').length")
    assert count > 1
    for k in range(count):
        body = f"document.querySelectorAll('.response')[{k}]"
        page.run(f"for (const b of {body}.parentNode.querySelectorAll('.share button')) b.click()")
        names = page.wait("Object.keys(window.kept).length === 3 && Object.keys(window.kept)")
        svg, png, tex = (next(n for n in names if n.endswith(kind)) for kind in (".svg", ".png", ".tex"))
        drawn = ElementTree.fromstring(page.run(f"window.kept[{json.dumps(svg)}].text()"))
        shown = page.run(f"{body}.innerText")
        letters = "".join(node.text or "" for node in drawn.iter() if node.tag.endswith("text"))
        assert set(letters) <= set(shown) | {"↵", "⇥"}
        assert letters or not shown.strip()
        assert page.run(f"window.kept[{json.dumps(png)}].type") == "image/png"
        assert page.run(f"window.kept[{json.dumps(png)}].size") > 100
        latex = page.run(f"window.kept[{json.dumps(tex)}].text()")
        bare = re.sub(r"\\[\\{}]", "", latex)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"(?<!\\)[&#_$]", latex)  # nothing of a text is a command
        page.run("window.kept = {}")


def test_latex_keeps_every_character_of_a_hostile_text(page: Chromium) -> None:
    text = "a\\b{c}_%$#&~^<>|\"`' x\ny"
    latex = page.run(
        "(() => { const body = document.createElement('div'), t = document.createElement('span');"
        f"t.className = 't'; body.append(t); return window.responseLatex(body, [{json.dumps(text)}]); }})()"
    )
    line = latex.splitlines()[2:-1]
    assert line == [
        "a\\textbackslash{}b\\{c\\}\\_\\%\\$\\#\\&\\textasciitilde{}\\textasciicircum{}\\textless{}\\textgreater{}"
        "\\textbar{}\\textquotedbl{}\\textasciigrave{}\\textquotesingle{}\\ x\\\\%",
        "y%",
    ]
