"""What the token pages show by source, class and divergence, in a real browser, against the page's own data."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rlvr.analysis.shift.classes import class_of
from tests.helpers.chromium import Chromium
from tests.helpers.opened_report import opened_report

pytest.importorskip("matplotlib", reason="the report draws with matplotlib, which is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with opened_report(tmp_path_factory) as browser:
        yield browser


def choose(page: Chromium, **wanted: str) -> None:
    """Set the controls with these labels, the others back to their first choice."""
    page.run(
        f"""(() => {{
          const wanted = {json.dumps({name.replace("_", " "): value for name, value in wanted.items()})};
          for (const label of document.querySelectorAll(".controls label")) {{
            const select = label.querySelector("select");
            if (!select || label.firstChild.data === "Sort by") continue;
            if (wanted[label.firstChild.data]) select.value = wanted[label.firstChild.data];
            else select.selectedIndex = 0;
            select.dispatchEvent(new Event("change"));
          }}
        }})()"""
    )


def shown(page: Chromium) -> dict:
    """The pairs that are counted, and the tokens in the page with whether they are dimmed."""
    return page.run(
        """({
          count: document.querySelector(".controls output").textContent,
          tokens: [...document.querySelectorAll(".response")].flatMap((box) => [...box.querySelectorAll(".t[data-i]")]
            .map((t) => [Number(box.dataset.response), Number(t.dataset.i), t.classList.contains("dim")])),
        })"""
    )


@pytest.fixture
def data(page: Chromium) -> dict:
    return json.loads(page.run("document.getElementById('token-data').textContent"))


def js_and_class(data: dict, response: int, i: int) -> tuple[float, str]:
    token = data["responses"][response]["shown"][i]
    at = data["fields"].index
    return token[at("js")], class_of(data["texts"][token[at("token")]])


def pairs_with(data: dict, wanted) -> int:
    """How many pairs have a token, in either response, of which `wanted(js, class)` holds."""

    def has(response: int | None) -> bool:
        if response is None:
            return False
        return any(
            wanted(*js_and_class(data, response, i)) for i in range(len(data["responses"][response]["shown"]))
        )

    return sum(has(pair["lead"]) or has(pair["partner"]) for pair in data["pairs"])


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"Tokens_of_class": "number"}, lambda js, kind: kind == "number"),
        ({"JS_of_a_token": "moved"}, lambda js, kind: js > 0.1),
        ({"JS_of_a_token": "from 0.3", "Tokens_of_class": "number"}, lambda js, kind: js >= 0.3 and kind == "number"),
    ],
)  # fmt: skip
def test_tokens_by_class_and_divergence(page, data, choice, wanted):
    choose(page, **choice)
    found = shown(page)
    count = pairs_with(data, wanted)
    assert 0 < count <= len(data["pairs"])
    assert found["count"] == f"{count} of {len(data['pairs'])}"
    for response, i, dim in found["tokens"]:
        assert dim == (not wanted(*js_and_class(data, response, i)))
    choose(page)
    assert not any(dim for _, _, dim in shown(page)["tokens"])


def test_responses_by_source(page, data):
    assert {response["data"] for response in data["responses"]} == {"sums", "words"}
    choose(page, Source="words")
    own = sum(data["responses"][pair["lead"]]["data"] == "words" for pair in data["pairs"])
    assert shown(page)["count"] == f"{own} of {len(data['pairs'])}"
    assert 0 < own < len(data["pairs"])
    choose(page)


def test_the_arrow_keys_walk_over_the_tokens_chosen(page, data):
    choose(page, Tokens_of_class="number")
    box = "[...document.querySelectorAll('.response')].find((b) => b.querySelector('.t:not(.dim)'))"
    page.run(f"{box}.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'ArrowDown' }}))")
    response, i = page.run(
        f"[Number({box}.dataset.response), Number(document.querySelector('.t.on').dataset.i)]"
    )
    assert js_and_class(data, response, i)[1] == "number"
    choose(page)


def test_the_slider_lists_anew_the_responses_with_such_a_token(page, data):
    """The divergence that is filtered by is that of the checkpoint chosen."""
    earlier, edge = data["checkpoints"][0], 0.6

    def has(response: int | None) -> bool:
        return response is not None and any(
            js >= edge for js in data["responses"][response]["earlier"][earlier]
        )

    def slide(place: int) -> None:
        page.run(
            f"(() => {{ const slider = document.querySelector('input[type=range]'); slider.value = {place};"
            "slider.dispatchEvent(new Event('input')); })()"
        )

    before = pairs_with(data, lambda js, kind: js >= edge)
    then = sum(has(pair["lead"]) or has(pair["partner"]) for pair in data["pairs"])
    assert before != then
    choose(page, JS_of_a_token=f"from {edge}")
    assert shown(page)["count"] == f"{before} of {len(data['pairs'])}"
    slide(0)
    assert shown(page)["count"] == f"{then} of {len(data['pairs'])}"
    slide(len(data["checkpoints"]) - 1)
    choose(page)


def test_a_data_set_may_have_any_name(page, data):
    """`all` is no filter's name, and names of digits stay behind the first entry."""
    renamed = {"sums": "all", "words": "2024"}
    found = page.run(
        f"""(() => {{
          const data = JSON.parse(document.getElementById("token-data").textContent), names = {json.dumps(renamed)};
          for (const response of data.responses) response.data = names[response.data];
          const at = Object.fromEntries(data.fields.map((name, i) => [name, i]));
          const filters = window.tokenFilters(data, at, () => 0, () => {{}});
          const select = filters.controls.find(([label]) => label === "Source")[1];
          return [...select.options].map((option, i) => {{
            select.selectedIndex = i;
            return [option.value, filters.pairs().length];
          }});
        }})()"""
    )
    own = {
        renamed[name]: sum(data["responses"][pair["lead"]]["data"] == name for pair in data["pairs"])
        for name in renamed
    }
    assert found == [["all sources", len(data["pairs"])], ["2024", own["2024"]], ["all", own["all"]]]
