"""What the tables are summed up from: bins, replicates and percentiles, against the tokens and the plain bootstrap."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.analysis.config import TablesConfig
from rlvr.analysis.shift.binned import Evolution
from rlvr.analysis.shift.identities import Identities
from rlvr.analysis.shift.tally import BinSums, TokenPart, at_most_bins, from_bins, poisson_weights, ratio


def part(values, units, weights):
    return TokenPart("policy", "policy", {"js": np.asarray(values)}, np.asarray(units), weights)


def test_replicates_do_not_depend_on_how_tokens_are_cut_into_parts():
    rng = np.random.default_rng(0)
    values, units = rng.random(200), rng.integers(0, 7, 200)
    names = [f"p{u}" for u in range(7)]
    whole, split = (BinSums(3) for _ in range(2))
    weights = poisson_weights(names, 50, seed=1)
    whole.add(part(values, units, weights), np.floor(values * 3), values)
    for chunk in np.array_split(np.arange(200), 9):
        present, index = np.unique(units[chunk], return_inverse=True)
        some = poisson_weights([names[u] for u in present], 50, seed=1)
        split.add(part(values[chunk], index, some), np.floor(values[chunk] * 3), values[chunk])
    np.testing.assert_allclose(whole.total, split.total)
    np.testing.assert_allclose(whole.replicates, split.replicates)


def test_the_interval_is_that_of_resampled_problems():
    """Against the ordinary bootstrap: problems drawn with replacement, the share taken over their tokens."""
    rng = np.random.default_rng(1)
    problems = 60
    chances = rng.beta(1, 4, problems)
    units = rng.integers(0, problems, 6000)
    moved = (rng.random(6000) < chances[units]).astype(int)
    tally = BinSums(2)
    tally.add(part(moved, units, poisson_weights([str(u) for u in range(problems)], 4000, seed=2)), moved)
    estimate = ratio(tally, 1, tally, slice(None))
    counts = np.bincount(units, minlength=problems)
    hits = np.bincount(units, moved, minlength=problems)
    drawn = rng.multinomial(problems, np.full(problems, 1 / problems), 4000)
    low, high = np.quantile(drawn @ hits / (drawn @ counts), [0.025, 0.975])
    assert estimate.mean == pytest.approx(moved.mean())
    assert estimate.low == pytest.approx(low, abs=0.1 * (high - low))
    assert estimate.high == pytest.approx(high, abs=0.1 * (high - low))


EDGES = np.asarray([0.0, 0.01, 0.1, 0.5, math.inf])


@given(st.lists(st.one_of(st.sampled_from(EDGES.tolist()[:-1]), st.floats(0.0, 2.0)), min_size=1))
def test_values_on_an_edge_fall_on_the_documented_side(values):
    for value, place in zip(values, from_bins(EDGES, np.asarray(values)), strict=True):
        assert EDGES[place] <= value < EDGES[place + 1]
    for value, place in zip(values, at_most_bins(EDGES[:-1], np.asarray(values)), strict=True):
        assert place == len(EDGES) - 1 or value <= EDGES[place]
        assert place == 0 or value > EDGES[place - 1]


def test_percentiles_of_a_thousand_tokens_are_those_of_their_ranks():
    values = np.random.default_rng(3).permutation(np.geomspace(1e-5, 0.6, 1000))
    evolution = Evolution(TablesConfig())
    columns = {"js": values, "js_top_p": values}
    evolution.add(
        TokenPart("policy", "policy", columns, np.zeros(1000, dtype=np.int64), np.full((1, 3), 2.0))
    )
    found = {row[1]: row[2:] for row in evolution.rows() if row[0] == "js"}
    for percent in (50.0, 75.0, 90.0, 95.0, 99.0, 99.9):
        exact = np.sort(values)[round(10 * percent) - 1]
        for value in found[f"p{percent:g}"]:  # all replicates are the tokens themselves
            assert exact <= value < exact * 1.007


def test_the_most_shifted_of_the_frequent_tokens_are_listed():
    found = Identities(TablesConfig(min_count=2, shown_tokens=2))
    ids, js = np.asarray([7, 7, 3, 3, 5, 5, 9]), np.asarray([0.1, 0.2, 0.5, 0.3, 0.2, 0.2, 0.6])
    for chosen in ([0, 2, 4], [1, 3, 5, 6]):  # the vocabulary grows
        columns = {"token_id": ids[chosen], "js": js[chosen]}
        units = np.zeros(len(chosen), dtype=np.int64)
        found.add(TokenPart("policy", "policy", columns, units, np.ones((1, 3))))
    assert found.shown().tolist() == [3, 5]
    assert found.largest[[3, 5, 7, 9]].tolist() == [0.5, 0.2, 0.2, 0.6]


def test_a_divergence_that_is_the_same_everywhere_has_no_variance_to_explain():
    found = Identities(TablesConfig())
    columns = {"token_id": np.asarray([1, 1, 2, 4]), "js": np.full(4, 0.25)}
    found.add(TokenPart("policy", "policy", columns, np.zeros(4, dtype=np.int64), np.ones((1, 3))))
    for of, tokens, identities, variance, *explained in found.rows():
        assert (tokens, identities, variance) == (4, 3, 0.0), of
        assert all(map(math.isnan, explained)), of


def test_one_problem_gives_no_interval():
    for problems, known in ((1, False), (2, True)):
        names = [f"p{u}" for u in range(problems)]
        tally = BinSums(2)
        bins = np.arange(20) % 3 % 2
        tally.add(part(bins, np.arange(20) % problems, poisson_weights(names, 200, seed=0)), bins)
        estimate = ratio(tally, 1, tally, slice(None))
        assert estimate.mean == pytest.approx(bins.mean())
        assert (estimate.low == estimate.low) == known


def test_one_problem_gives_a_percentile_no_interval():
    """Replicates that leave it out have no tokens, so no percentile, rather than one of 0."""
    for problems, known in ((1, False), (2, True)):
        weights = poisson_weights([f"p{u}" for u in range(problems)], 200, seed=0)
        values = np.linspace(0.1, 0.5, 20)
        evolution = Evolution(TablesConfig())
        columns = {"js": values, "js_top_p": values}
        evolution.add(TokenPart("policy", "policy", columns, np.arange(20) % problems, weights))
        found = {row[1]: row[2:] for row in evolution.rows() if row[0] == "js"}
        value, low, high = found["p50"]
        assert values[9] <= value < values[9] * 1.007
        assert (0.1 <= low <= value <= high) == (not math.isnan(low + high)) == known
