"""The pure parts: colours, levels, escaping, selection."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.tables import TextTable, as_csv
from rlvr.reporting.figures.canvas import as_svg, numbers, slug
from rlvr.reporting.figures.shift import shift_figures
from rlvr.reporting.figures.training import training_figures
from rlvr.reporting.pages import environment
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.tables import visible_token
from rlvr.reporting.theme import (
    LEVEL_EDGES,
    MIN_TEXT_CONTRAST,
    RAMP,
    ROLES,
    SERIES,
    contrast,
    luminance,
    text_on,
)
from rlvr.reporting.tokens import Pair, Score, select
from tests.helpers.colours import oklch_to_hex
from tests.helpers.report_cases import write_analysis

THEMES = ("light", "dark")


def test_contrast_of_known_colours():
    """The examples of WCAG: black on white is 21, #777 on white 4.48."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    assert contrast("#123456", "#123456") == 1.0


def test_oklch_of_known_colours():
    """White, black, and the red primary of sRGB, which Ottosson gives as L 0.628, C 0.258, h 29.23."""
    assert oklch_to_hex(1.0, 0.0, 0.0) == "#ffffff"
    assert oklch_to_hex(0.0, 0.0, 0.0) == "#000000"
    assert [int(oklch_to_hex(0.62796, 0.25768, 29.2339)[i : i + 2], 16) for i in (1, 3, 5)] == pytest.approx(
        [255, 0, 0], abs=2
    )


def test_the_ramp_moves_in_equal_steps_of_lightness():
    for k, role in enumerate(RAMP):
        way = k / (len(RAMP) - 1)
        assert role.light == oklch_to_hex(0.965 - 0.475 * way, 0.012 + 0.145 * way, hue=45.0)
        assert role.dark == oklch_to_hex(0.27 + 0.53 * way, 0.015 + 0.125 * way, hue=45.0)


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_legible_on_every_shade(theme):
    for role in RAMP:
        shade = getattr(role, theme)
        assert contrast(text_on(shade), shade) >= MIN_TEXT_CONTRAST


@pytest.mark.parametrize("theme", THEMES)
def test_text_colours_are_legible_on_page_and_card(theme):
    for name in ("ink", "muted", *SERIES):
        for ground in ("page", "card"):
            found = contrast(getattr(ROLES[name], theme), getattr(ROLES[ground], theme))
            assert found >= MIN_TEXT_CONTRAST, (name, ground)


def test_the_ramp_moves_one_way_and_in_like_steps():
    light = [luminance(role.light) for role in RAMP]
    dark = [luminance(role.dark) for role in RAMP]
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark)
    assert len(RAMP) == len(LEVEL_EDGES) + 1
    for shades in (light, dark):  # cube roots of luminance are close to perceived lightness
        steps = [abs(a ** (1 / 3) - b ** (1 / 3)) for a, b in itertools.pairwise(shades)]
        assert max(steps) < 1.6 * min(steps)


def test_every_drawn_colour_has_a_light_value_of_its_own():
    """Figures are recoloured by value."""
    values = [role.light for role in (*ROLES.values(), *RAMP)]
    assert len(set(values)) == len(values)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def parsed(markup: str) -> _Text:
    parser = _Text()
    parser.feed(str(markup))
    parser.close()
    return parser


@given(st.text())
def test_a_token_becomes_spans_and_text_only(text):
    page = parsed(visible_token(text))
    assert {tag for tag, _ in page.tags} <= {"span"}
    assert all(attrs.keys() == {"class"} for _, attrs in page.tags)


@given(st.text(st.sampled_from("ab<>&\"' \n7é"), min_size=1))
def test_a_readable_token_copies_as_it_is(text):
    assert parsed(visible_token(text)).text == text


def test_what_cannot_be_seen_is_named():
    assert "U+202E" in visible_token("\u202e")
    assert "U+0000" in visible_token("\0")
    assert "\u202e" not in visible_token("\u202e")
    assert "empty" in visible_token("")


def embedded(identity, content):
    return environment().get_template("parts.html").module.embedded(identity, content)


@pytest.mark.slow
@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_embedded_json_comes_back_and_cannot_end_early(content):
    markup = embedded("name", content)
    inside = markup.removeprefix('<script type="application/json" id="name">').removesuffix("</script>")
    assert json.loads(inside) == content
    assert not {"<", ">", "&"} & set(inside)


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded("name", [math.nan])


def test_tables_escape_their_cells():
    shown = TextTable(("<b>", "y"), (("<i>", "&amp;"),), "<u>")
    page = parsed(environment().get_template("parts.html").module.table(shown))
    assert {tag for tag, _ in page.tags} == {"p", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert "&amp;" in page.text
    assert "<i>" in page.text


def test_a_name_that_a_template_needs_and_nobody_gave_is_an_error():
    with pytest.raises(UndefinedError, match="sections"):
        environment().get_template("base.html").render(
            title="t", style="", several=False, heading="", view_data=""
        )


def test_the_numbers_of_a_figure_leave_the_unknown_empty():
    drawn = numbers(("name", "value"), [("a", 0.1), ("b,c", None)])
    assert as_csv(drawn) == 'name,value\na,0.1\n"b,c",\n'
    assert as_csv(numbers(("name", "value"), [])) == "name,value\n"


def score(number: int, trajectory: str, problem: str, mean: float) -> Score:
    return Score(number, trajectory, problem, mean, mean, 0)


def test_selection_pairs_and_ranks_by_either_response():
    scores = [
        score(0, "policy", "a", 0.1),
        score(1, "policy", "a", 0.2),
        score(2, "policy", "b", 0.3),
        score(3, "policy", "c", 0.05),
        score(4, "base", "a", 0.6),
        score(5, "base", "b", 0.0),
    ]
    pairs = select(scores, divergent=3, drawn=5)
    assert pairs == [
        Pair(0, 4, "divergent"),
        Pair(1, 4, "divergent"),  # the base has one response to a, which serves twice
        Pair(2, 5, "divergent"),
        Pair(3, None, "random"),
    ]


def test_selection_is_bounded_and_repeatable():
    scores = [score(i, "policy", f"p{i}", i / 100) for i in range(50)]
    pairs = select(scores, divergent=5, drawn=7, seed=3)
    assert pairs == select(list(reversed(scores)), divergent=5, drawn=7, seed=3)
    assert len(pairs) == len({pair.lead for pair in pairs}) == 12
    assert [pair.lead for pair in pairs[:5]] == [49, 48, 47, 46, 45]
    assert select(scores, 0, 0) == []


def test_the_base_leads_where_the_policy_has_nothing():
    assert select([score(0, "base", "a", 0.1)], 1, 1) == [Pair(0, None, "divergent")]


def test_package_files_are_in_the_package():
    import rlvr.reporting

    folder = Path(rlvr.reporting.__file__).parent / "templates"
    names = {"base.html", "parts.html", "run.html", "sweep.html", "view.html"}
    names |= {"style.css", "page.js", "share.js", "response.js", "filters.js", "tokens.js", "view.js"}
    assert {p.name for p in folder.iterdir()} == names


def test_a_mixture_has_a_line_for_each_source_in_its_own_run_only():
    rows = [
        {"step": step, "accuracy": 0.5, "source/a/accuracy": 0.25 * step, "source/b/accuracy": 0.75}
        for step in (1, 2)
    ]
    run = ReportedRun("one", Path("one"), rows, [], "", None, None, None)
    [figure] = training_figures([run])
    assert {line.label for line in figure.lines} == {"right answers", "a", "b"}
    [figure] = training_figures([run, replace(run, name="two")])
    assert {line.label for line in figure.lines} == {"one", "two"}


@pytest.mark.slow
def test_an_interval_beside_its_value_can_be_drawn(tmp_path):
    """As a single bootstrap draw has it, whose two ends are one number."""
    analysis = LoadedAnalysis(write_analysis(tmp_path, bootstrap=1))
    figures = {figure.name: figure for figure in shift_figures(analysis)}
    rows = figures["overlap"].numbers.to_pylist()
    assert any(row["overlap"] != row["overlap_low"] == row["overlap_high"] for row in rows)
    assert "</svg>" in as_svg(figures["overlap"])


def evaluated(name: str, **samples: int) -> ReportedRun:
    """A run with one evaluation, of so many samples on each set, half of them right."""
    row: dict[str, float] = {"step": 0}
    for one, n in samples.items():
        row |= {f"eval/{one}/accuracy": 0.5, f"eval/{one}/ci_low": 0.4, f"eval/{one}/ci_high": 0.6}
        row |= {f"eval/{one}/outcome/correct": n / 2, f"eval/{one}/outcome/wrong": n / 2}
    return ReportedRun(name, Path(name), [], [row], "", None, None, None)


def test_the_samples_of_a_set_are_those_of_the_runs_that_were_evaluated_on_it():
    runs = [evaluated("one", a=80, b=20), evaluated("two", a=40), evaluated("three", a=60)]
    of_a, of_b = training_figures(runs)
    assert "among 40 to 80 responses" in of_a.caption
    assert "among 20 responses" in of_b.caption
    assert [line.label for line in of_b.lines] == ["one"]


def test_names_that_differ_in_odd_characters_alone_share_no_id():
    odd = ["a/b", "a-b", "a b", "a.b", "ä-b", "a_b", "a/b/", "\udc80"]
    ids = [slug(name) for name in odd]
    assert len(set(ids)) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in ids)
    assert (slug("a-b"), slug("recipe-dapo_seed-1")) == ("a-b", "recipe-dapo_seed-1")
    assert slug("a/b").startswith("a-b-")
