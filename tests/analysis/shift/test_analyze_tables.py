"""Every summary table against loops over the rows of the token table."""

import csv
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.classes import class_of
from rlvr.analysis.shift.columns import TABLES
from rlvr.analysis.shift.summary import write_tables
from rlvr.analyze import analyze
from tests.helpers.analyze_cases import with_everything


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(tables, token rows) of an analysis with a checkpoint and both trajectories; group key -> list."""
    folder = tmp_path_factory.mktemp("tables")
    out = analyze(with_everything(folder))
    rows = {}
    for row in pq.read_table(out / "tokens").to_pylist():
        rows.setdefault((row["checkpoint"], row["trajectory"]), []).append(row)
    assert len(rows) == 4
    tables = {name: list(csv.DictReader((out / "tables" / f"{name}.csv").open())) for name in TABLES}
    return out, tables, rows


def lines(tables, name, rows):
    """(CSV line, token rows it sums up, the moved ones) of a table."""
    for line in tables[name]:
        own = rows[line["checkpoint"], line["trajectory"]]
        yield line, own, [r for r in own if r["js"] > 0.1]


def near(text, expected):
    if expected is None:
        return text == ""
    return math.isclose(float(text), expected, rel_tol=1e-6, abs_tol=1e-12)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


@pytest.mark.slow
def test_every_table_has_its_documented_columns(done):
    out, tables, _ = done
    for name, columns in TABLES.items():
        assert tables[name], name
        header = [column.name for column in columns]
        assert list(tables[name][0]) == header
    documented = {
        (line["table"], line["column"]) for line in csv.DictReader((out / "tables/columns.csv").open())
    }
    assert ("thresholds", "share_above_low") in documented


@pytest.mark.slow
def test_intervals_hold_their_estimates(done):
    """A percentile interval of a bootstrap may miss its estimate only by chance; its ends must be in order."""
    _, tables, _ = done
    for line in tables["thresholds"] + tables["sparsity"]:
        name = "share_above" if "share_above" in line else "share"
        low, value, high = (float(line[key]) for key in (f"{name}_low", name, f"{name}_high"))
        assert 0.0 <= low <= value <= high <= 1.0


def test_sparsity_and_thresholds(done):
    _, tables, rows = done
    for line, own, _ in lines(tables, "sparsity", rows):
        edge = float(line["at_most"])
        inside = [r for r in own if r[line["measure"]] <= edge * (1 + 1e-8)]
        assert near(line["share"], len(inside) / len(own))
    for line, own, _ in lines(tables, "thresholds", rows):
        above = sum(r[line["measure"]] > float(line["threshold"]) for r in own)
        assert int(line["tokens"]) == len(own)
        assert int(line["tokens_above"]) == above
        assert near(line["share_above"], above / len(own))


def test_evolution(done):
    _, tables, rows = done
    for line, own, _ in lines(tables, "evolution", rows):
        values = sorted(r[line["measure"]] for r in own)
        value, statistic = float(line["value"]), line["statistic"]
        if statistic == "mean":
            assert near(line["value"], mean(values))
        elif statistic == "share_moved":
            assert near(line["value"], mean(v > 0.1 for v in values))
        else:
            exact = values[math.ceil(float(statistic[1:]) / 100 * len(values)) - 1]
            assert exact * (1 - 1e-9) <= value <= max(exact * 1.007, 1e-12)


def test_position(done):
    _, tables, rows = done
    covered = {}
    for line, own, _ in lines(tables, "position", rows):
        axis = line["axis"]
        key = (line["checkpoint"], line["trajectory"], axis)
        covered[key] = covered.get(key, 0) + int(line["tokens"])
        if axis == "section":
            inside = [r for r in own if r["section"] == line["bin"]]
        else:
            low, high = float(line["from"]), float(line["to"] or "inf")
            place = {
                "relative": lambda r: (r["position"] + 0.5) / (r["position"] + r["from_end"] + 1),
                "from_start": lambda r: r["position"],
                "from_end": lambda r: r["from_end"],
            }[axis]
            inside = [r for r in own if low <= place(r) + 1e-12 < high]
        assert int(line["tokens"]) == len(inside)
        assert near(line["mean_js"], mean(r["js"] for r in inside))
        assert near(line["share_moved"], mean(r["js"] > 0.1 for r in inside))
        assert near(line["mean_entropy_base"], mean(r["entropy_base"] for r in inside))
    for (checkpoint, trajectory, _), count in covered.items():
        assert count == len(rows[checkpoint, trajectory])
    assert len(covered) == 4 * 4


def test_divergence_against_entropy(done):
    _, tables, rows = done
    total = 0
    for line, own, _ in lines(tables, "js_entropy", rows):
        low, high = float(line["entropy_from"]), float(line["entropy_to"])
        js_low, js_high = float(line["js_from"]) * (1 - 1e-8), float(line["js_to"]) * (1 - 1e-8)
        entropy = f"entropy_{line['entropy_of']}"
        inside = [r for r in own if low <= r[entropy] < high and js_low <= r["js"] < js_high]
        assert int(line["tokens"]) == len(inside)
        assert near(line["share"], len(inside) / len(own))
        total += len(inside)
    assert total == 2 * sum(len(own) for own in rows.values())


def test_outcome(done):
    _, tables, rows = done
    for line, own, _ in lines(tables, "outcome", rows):
        inside = [r for r in own if r["correct"] == (line["outcome"] == "correct")]
        assert int(line["tokens"]) == len(inside)
        assert near(line["mean_js"], mean(r["js"] for r in inside))
        assert near(line["share_moved"], mean(r["js"] > 0.1 for r in inside))


def test_classes(done):
    _, tables, rows = done
    seen = set()
    for line, own, moved in lines(tables, "classes", rows):
        inside = [r for r in own if class_of(r["token"]) == line["class"]]
        assert int(line["tokens"]) == len(inside)
        assert near(line["share"], len(inside) / len(own))
        assert near(line["mean_js"], mean(r["js"] for r in inside))
        assert near(line["share_moved"], mean(r["js"] > 0.1 for r in inside))
        assert near(line["share_of_js"], sum(r["js"] for r in inside) / sum(r["js"] for r in own))
        assert near(line["share_of_moved"], sum(r["js"] > 0.1 for r in inside) / len(moved))
        seen |= {line["class"]} if inside else set()
    assert {"ending", "number", "format"} <= seen


def test_overlap(done):
    _, tables, rows = done
    for line, own, moved in lines(tables, "overlap", rows):
        group, k = (moved if line["group"] == "moved" else own), int(line["k"])
        assert int(line["tokens"]) == len(group)
        assert near(line["overlap"], mean(r[f"overlap_{k}"] / k for r in group))
        assert near(line["identical"], mean(r[f"overlap_{k}"] == k for r in group))


def test_rank_and_mass(done):
    _, tables, rows = done
    names = {"policy_in_base": ("top_policy", "base"), "base_in_policy": ("top_base", "policy")}
    for name, column in (("rank", "{}_rank_{}"), ("mass", "{}_prob_{}")):
        for line, own, moved in lines(tables, name, rows):
            group = moved if line["group"] == "moved" else own
            values = [r[column.format(*names[line["direction"]])] for r in group]
            if name == "rank":
                low, high = float(line["rank_from"]), float(line["rank_to"] or "inf") + 0.5
                below = line["share_within"]
            else:
                low, high = float(line["prob_from"]), float(line["prob_to"])
                below = line["share_below"]
            assert int(line["tokens"]) == sum(low <= v < high for v in values)
            assert near(line["share"], mean(low <= v < high for v in values))
            assert near(below, mean(v < high for v in values))


def test_truncation(done):
    _, tables, rows = done
    for line, own, _ in lines(tables, "truncation", rows):
        inside = [r for r in own if float(line["js_from"]) <= r["js"] < float(line["js_to"])]
        assert int(line["tokens"]) == len(inside)
        assert near(line["mean_js"], mean(r["js"] for r in inside))
        assert near(line["mean_js_top_p"], mean(r["js_top_p"] for r in inside))
        assert near(line["mean_difference"], mean(r["js_top_p"] - r["js"] for r in inside))
        assert near(line["mean_abs_difference"], mean(abs(r["js_top_p"] - r["js"]) for r in inside))
    for line, own, _ in lines(tables, "truncation_agreement", rows):
        edge = float(line["threshold"])
        pairs = [(r["js"] > edge, r["js_top_p"] > edge) for r in own]
        assert int(line["tokens"]) == len(own)
        for name, pair in (
            ("both", (True, True)),
            ("only_exact", (True, False)),
            ("only_top_p", (False, True)),
            ("neither", (False, False)),
        ):
            assert int(line[name]) == pairs.count(pair)
        assert near(line["agreement"], mean(a == b for a, b in pairs))
        assert near(line["recall"], mean(b for a, b in pairs if a))


def test_token_identities_and_context(done):
    _, tables, rows = done
    for (checkpoint, trajectory), own in rows.items():
        by_token = {}
        for r in own:
            by_token.setdefault(r["token_id"], []).append(r)
        listed = [
            line
            for line in tables["tokens"]
            if (line["checkpoint"], line["trajectory"]) == (checkpoint, trajectory)
        ]
        assert {int(line["token_id"]) for line in listed} == {t for t, rs in by_token.items() if len(rs) >= 2}
        means = [float(line["mean_js"]) for line in listed]
        assert means == sorted(means, reverse=True)
        for line in listed:
            js = [r["js"] for r in by_token[int(line["token_id"])]]
            assert json.loads(line["token"]) == by_token[int(line["token_id"])][0]["token"]
            assert int(line["count"]) == len(js)
            assert near(line["mean_js"], mean(js))
            assert math.isclose(float(line["std_js"]), float(np.std(js)), rel_tol=1e-4, abs_tol=1e-7)
            assert near(line["max_js"], max(js))
            assert near(line["share_moved"], mean(v > 0.1 for v in js))
        for line in tables["context"]:
            if (line["checkpoint"], line["trajectory"]) != (checkpoint, trajectory):
                continue
            value = {"js": lambda r: r["js"], "moved": lambda r: float(r["js"] > 0.1)}[line["of"]]
            everything = np.asarray([value(r) for r in own])
            within = sum(
                ((np.asarray(g) - np.mean(g)) ** 2).sum()
                for g in ([value(r) for r in rs] for rs in by_token.values())
            )
            total = ((everything - everything.mean()) ** 2).sum()
            assert (int(line["tokens"]), int(line["identities"])) == (len(own), len(by_token))
            assert near(line["variance"], everything.var())
            if total > 0:
                n, k = len(own), len(by_token)
                assert math.isclose(float(line["explained"]), 1 - within / total, rel_tol=1e-6)
                adjusted = 1 - (within / (n - k)) / (total / (n - 1))
                assert math.isclose(float(line["explained_adjusted"]), adjusted, rel_tol=1e-5, abs_tol=1e-9)


def test_headline_figures_agree_with_the_tables(done):
    out, tables, rows = done
    content = json.loads((out / "analysis.json").read_text())
    assert content["config"]["score"]["top_p"] == 0.7
    assert sum(p["tokens"] for p in content["token_files"]) == sum(h["tokens"] for h in content["headline"])
    for headline in content["headline"]:
        (line,) = (
            line
            for line in tables["thresholds"]
            if (line["checkpoint"], line["trajectory"]) == (headline["checkpoint"], headline["trajectory"])
            and (line["measure"], line["threshold"]) == ("js", "0.1")
        )
        figure = headline["figures"]["share_moved"]
        for name, key in (("value", "share_above"), ("low", "share_above_low"), ("high", "share_above_high")):
            assert math.isclose(figure[name], float(line[key]), rel_tol=1e-8, abs_tol=1e-12)
        own = rows[headline["checkpoint"], headline["trajectory"]]
        moved = [r for r in own if r["js"] > 0.1]
        assert headline["tokens"] == len(own)
        expected = {
            "mean_js": mean(r["js"] for r in own),
            "share_moved": mean(r["js"] > 0.1 for r in own),
            "mean_js_top_p": mean(r["js_top_p"] for r in own),
            "share_moved_top_p": mean(r["js_top_p"] > 0.1 for r in own),
            "share_near_zero": mean(r["js"] <= 0.01 for r in own),
            "moved_overlap_2": mean(r["overlap_2"] / 2 for r in moved),
            "moved_policy_top_is_base_top": mean(r["top_policy_rank_base"] == 1 for r in moved),
            "moved_policy_top_within_base_rank_3": mean(r["top_policy_rank_base"] <= 3 for r in moved),
            "moved_policy_top_base_prob_below_0.01": mean(r["top_policy_prob_base"] < 0.01 for r in moved),
        }
        found = {name: figure["value"] for name, figure in headline["figures"].items()}
        assert found == {name: pytest.approx(value, rel=1e-6) for name, value in expected.items()}


@pytest.mark.slow
def test_tables_can_be_written_again_with_other_thresholds(done, tmp_path):
    out, _, rows = done
    parts = sorted((out / "tokens").glob("*.parquet"))
    write_tables(tmp_path, parts, TablesConfig(thresholds=[0.05], moved_above=0.2, unit="response"), str)
    lines_ = list(csv.DictReader((tmp_path / "tables" / "thresholds.csv").open()))
    assert {line["threshold"] for line in lines_} == {"0.05", "0.2"}
    for line in lines_:
        own = rows[line["checkpoint"], line["trajectory"]]
        assert int(line["tokens_above"]) == sum(r[line["measure"]] > float(line["threshold"]) for r in own)
