"""Thresholds: as quantiles of scores, and as found by the pilot on mixed responses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.analysis.cross.calibrate import SETTLING_ROUNDS, TOLERANCE, calibrate, settle, threshold_for
from rlvr.analysis.cross.decoder import PURE_PRIMARY, Mixed, MixedDecoder
from rlvr.analysis.cross.records import EFFECTIVE, EFFECTIVE_TOLERANCE, SWITCHED, Calibration
from tests.helpers.cross_cases import SAMPLING, base_model, jobs, policy_model


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.integers(-500, 500), min_size=1, max_size=50, unique=True), st.floats(0, 1))
def test_a_threshold_is_exceeded_by_its_share(scores, share):
    above = np.asarray(scores) / 7 > threshold_for(np.asarray(scores) / 7, share)
    assert abs(above.sum() - share * len(scores)) <= 0.5


def test_scores_that_differ_by_rounding_are_not_split():
    assert threshold_for([1.0, 2.0, 3.0, 4.0], 0.25) == 3.5
    cluster = 0.3 * (1 + 1e-7 * np.arange(6))
    scores = np.asarray([0.9, 0.8, *cluster, 0.1, 0.05])
    for scale in (1e-6, 1.0, 1e6):
        assert threshold_for(scale * scores, 0.4) == pytest.approx(scale * (0.8 + cluster[-1]) / 2)
        assert threshold_for(scale * scores, 0.7) == pytest.approx(scale * (0.3 + 0.1) / 2)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.98])
def test_values_closer_than_rounding_throughout_are_still_cut_at_their_share(share):
    """As the values of a hundred thousand tokens are: neighbours differ by 2e-5 of themselves."""
    values = 0.5 + np.arange(20_000) * 1e-5
    assert np.mean(values > threshold_for(values, share)) == pytest.approx(share, abs=5e-4)
    earliest = -(np.arange(200) + np.random.default_rng(0).random((1000, 1))).ravel()
    assert np.mean(earliest > threshold_for(earliest, share)) == pytest.approx(share, abs=5e-4)


def test_equal_values_among_others_that_are_close_are_not_split():
    single = 0.5 + np.arange(5000) * 2e-5
    values = np.concatenate([single, single * (1 + 1e-7)])
    for place in (1001, 1003, 5001):
        above = int((values > threshold_for(values, place / 10_000)).sum())
        assert above % 2 == 0
        assert abs(above - place) <= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "direction"),
    [("js", "forward"), ("js", "reverse"), ("entropy", "forward"), ("earliest", "reverse")],
)
def test_the_pilot_reaches_the_budget(rule, direction):
    pair = (base_model(), policy_model())
    decoder = MixedDecoder(*(pair if direction == "forward" else pair[::-1]), SAMPLING, 128)
    pilot = jobs(24, 4, PURE_PRIMARY)
    targets = [0.05, 0.15]
    found = calibrate(lambda todo: decoder.run(todo, rule), pilot, targets, rounds=5)
    for target, calibration in zip(targets, found, strict=True):
        assert calibration.target == target
        assert calibration.share == pytest.approx(target, rel=2 * TOLERANCE)
        written = decoder.run(jobs(24, 4, calibration.threshold), rule)
        tokens = sum(len(response.token_ids) for response in written)
        assert calibration.tokens == tokens
        assert sum(len(response.switched) for response in written) == round(calibration.share * tokens)
    assert found[0].threshold > found[1].threshold


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "direction"), [("js", "forward"), ("random", "reverse")])
def test_rules_change_as_many_tokens_as_asked(rule, direction):
    """The pilot is small; the responses themselves correct its threshold until their own share is met."""
    pair = (base_model(), policy_model())
    decoder = MixedDecoder(*(pair if direction == "forward" else pair[::-1]), SAMPLING, 128)

    def decode(todo):
        return decoder.run(todo, rule)

    target = 0.01
    (pilot,) = calibrate(decode, jobs(12, 2, PURE_PRIMARY), [target], 2, EFFECTIVE)
    found, written = settle(decode, jobs(48, 4, PURE_PRIMARY), pilot, EFFECTIVE)
    tokens = sum(len(response.token_ids) for response in written)
    changed = sum(len(response.effective) for response in written)
    assert changed == round(found.share * tokens)
    assert changed / tokens == pytest.approx(target, rel=EFFECTIVE_TOLERANCE)
    again = decoder.run(jobs(48, 4, found.threshold), rule)
    assert [r.token_ids.tolist() for r in again] == [r.token_ids.tolist() for r in written]


def test_a_share_that_jumps_is_met_as_nearly_as_it_can_be():
    """Scores that shift with the threshold itself: the search ends and keeps the best candidate."""
    rng = np.random.default_rng(0)
    tried = []

    def decode(todo):
        threshold = todo[0].threshold
        tried.append(threshold)
        scores = rng.uniform(0, 1, 1000) ** (0.5 if threshold < 0.5 else 2.0)
        empty = np.zeros(0, dtype=np.int64)
        return [Mixed("p", 0, np.zeros(1000, np.int64), empty, empty, scores, False, scores > 2)]

    (found,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.3], rounds=6)
    assert found.threshold in tried
    assert len(tried) <= 8
    assert 0 < found.share < 1


def written_with(values, differs):
    empty = np.zeros(0, dtype=np.int64)
    return [Mixed("p", 0, np.zeros(len(values), np.int64), empty, empty, values, False, differs)]


def shifting(thresholds):
    """Values that grow with the threshold t with which they were written: of 1000 even ones times 1 + min(t, 5)."""

    def decode(todo):
        thresholds.append([job.threshold for job in todo])
        values = (np.arange(1000) + 0.5) / 1000
        return [
            response
            for job in todo
            for response in written_with(values * (1 + min(job.threshold, 5)), values < 2)
        ]

    return decode


def test_each_target_is_searched_for_by_itself_and_the_nearest_try_wins():
    """A share s is exceeded at t = (1 - s) / s; without a further round the first try stands."""
    tried, targets = [], [0.3, 0.6]
    found = calibrate(shifting(tried), jobs(1, 1, PURE_PRIMARY), targets, rounds=15)
    for target, calibration in zip(targets, found, strict=True):
        assert (calibration.target, calibration.tokens) == (target, 1000)
        assert calibration.share == pytest.approx(target, rel=TOLERANCE)
        assert calibration.threshold == pytest.approx((1 - target) / target, rel=0.1)
    open_ = [len(thresholds) for thresholds in tried]
    assert open_ == [1, *[2] * found[1].rounds, *[1] * (found[0].rounds - found[1].rounds)]
    (first,) = calibrate(shifting([]), jobs(1, 1, PURE_PRIMARY), [0.3], rounds=0)
    assert (first.threshold, first.rounds) == (tried[1][0], 1)
    for budget in range(1, 8):  # shares rise to the target from below
        (nearer,) = calibrate(shifting([]), jobs(1, 1, PURE_PRIMARY), [0.3], rounds=budget)
        assert first.share < nearer.share < 0.3
        first = nearer
    settled, written = settle(
        shifting([]), jobs(1, 1, PURE_PRIMARY), replace(found[0], threshold=4.2), SWITCHED
    )
    assert settled.share == np.mean(written[0].values > settled.threshold)
    assert settled.rounds == found[0].rounds + SETTLING_ROUNDS + 1
    assert 0.2 < settled.share < 0.3


def test_quantiles_that_run_away_from_the_target_are_bracketed():
    """Values of 10 - 2 t: the quantile moves by -1.4 times what the threshold does, and would swing ever wider."""
    tried = []

    def decode(todo):
        tried.append(todo[0].threshold)
        values = (np.arange(1000) + 0.5) / 1000 * (10 - 2 * min(todo[0].threshold, 4.9))
        return written_with(values, values < 99)

    (found,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.3], rounds=12)
    assert found.share == pytest.approx(0.3, rel=TOLERANCE)
    assert found.threshold == tried[-1] == pytest.approx(7 / 2.4, rel=0.02)
    assert found.rounds == len(tried) - 1 <= 12


def test_a_later_try_that_falls_farther_below_the_target_does_not_win():
    shares = iter([0.5, 0.4, 0.05])  # of the primary alone, of the first try, of the second

    def decode(todo):
        threshold = todo[0].threshold if np.isfinite(todo[0].threshold) else 0.0
        values = threshold + next(shares) - (np.arange(1000) + 0.5) / 1000
        return written_with(values, values < 99)

    (found,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.3], rounds=1)
    assert (found.share, found.rounds) == (0.4, 2)


def test_models_that_never_draw_differently_have_a_finite_threshold():
    """It goes into a JSON file."""
    tried = []

    def decode(todo):
        tried.append(todo[0].threshold)
        return written_with(np.array([0.0, 0.2, 0.7]), np.zeros(3, dtype=np.bool_))

    (pilot,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.3], 3, EFFECTIVE)
    found, _ = settle(decode, jobs(1, 1, PURE_PRIMARY), pilot, EFFECTIVE)
    assert np.isfinite(found.threshold)
    assert found.threshold < 0
    assert found.share == 0


def test_what_was_tried_is_not_tried_again():
    """A budget above all that can be changed: one try by the pilot, one by the responses."""
    tried = []

    def decode(todo):
        tried.append(todo[0].threshold)
        return written_with(np.array([0.1, 0.2, 0.7, 0.8]), np.array([True, False, True, False]))

    (pilot,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.9], 3, EFFECTIVE)
    found, _ = settle(decode, jobs(1, 1, PURE_PRIMARY), pilot, EFFECTIVE)
    assert found.share == 0.5
    assert tried == [PURE_PRIMARY, found.threshold, found.threshold]


def test_a_step_that_no_threshold_can_split_is_tried_once():
    """Four of ten values are equal and above the others: 0.4 is as near as a share comes to 0.3."""
    tried = []

    def decode(todo):
        tried.append(todo[0].threshold)
        return written_with(np.repeat([0.0, 1.0], [6, 4]), np.ones(10, dtype=np.bool_))

    (found,) = calibrate(decode, jobs(1, 1, PURE_PRIMARY), [0.3], rounds=5)
    assert (found.threshold, found.share, found.rounds) == (0.5, 0.4, 1)
    assert tried == [PURE_PRIMARY, 0.5]


@pytest.mark.parametrize(("share", "tries"), [(0.29, 1), (0.287, 1), (0.284, 2)])
def test_responses_within_5_percent_of_their_effective_budget_are_not_written_again(share, tries):
    tried = []

    def decode(todo):
        tried.append(todo[0].threshold)
        return written_with(share - 0.3 + np.arange(1000, 0, -1) / 1000, np.ones(1000, dtype=np.bool_))

    pilot = Calibration(0.3, threshold=0.70005, share=0.3, tokens=50, rounds=2)
    found, _ = settle(decode, jobs(1, 1, PURE_PRIMARY), pilot, EFFECTIVE)
    assert len(tried) == tries
    assert found.share == (share if tries == 1 else 0.3)
    assert found.rounds == 2 + tries


@pytest.mark.slow
def test_no_round_left_is_one_check():
    decoder = MixedDecoder(base_model(), policy_model(), SAMPLING, 64)
    (found,) = calibrate(lambda todo: decoder.run(todo, "js"), jobs(8, 2, PURE_PRIMARY), [0.001], rounds=0)
    assert found.rounds == 1
