"""From verdicts to rewards: each to its own sample, and none where the verifier failed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rlvr.config import Config
from rlvr.reward.score import score_samples
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.reward.workers.pool import GraderPool
from rlvr.runtime.disk.dumps import sample_row
from rlvr.types import Group
from tests.helpers.records import prompt, sample


def graded(*outcomes: Outcome) -> dict[str, Verdict]:
    """Verdicts of the samples a/0, a/1, ... in reverse order."""
    pairs = [(f"a/{i}", outcome) for i, outcome in enumerate(outcomes)]
    return {name: Verdict(name, outcome, None, "1", 0.0) for name, outcome in reversed(pairs)}


def test_rewards_go_to_their_own_samples():
    cfg = Config(recipe="test").reward
    cfg.correct, cfg.incorrect = 2.0, -1.0
    samples = [sample(f"a/{i}", range(i + 1), truncated=i == 2) for i in range(4)]
    verdicts = graded(Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT)
    found = score_samples(samples, verdicts, cfg, 8)
    assert [s.reward for s in found] == [2, -1, -1, 2]  # the third is right, but truncated
    assert [s.correct for s in found] == [True, False, False, True]
    assert found[2].verdict.detail == "right, but truncated at the response limit"
    assert all(s.in_loss for s in found)
    cfg.truncated_can_be_correct = True
    assert [s.reward for s in score_samples(samples, verdicts, cfg, 8)] == [2, -1, 2, 2]


def test_raw_rewards_lie_between_wrong_and_right_at_the_score():
    cfg = Config(recipe="test").reward
    cfg.correct, cfg.incorrect, cfg.score = 3.0, -1.0, "raw"
    samples = [sample(f"a/{i}", range(2), truncated=i > 3) for i in range(6)]
    said = [(Outcome.CORRECT, None), (Outcome.WRONG, 0.25), (Outcome.CORRECT, 0.5), (Outcome.WRONG, None)]
    said += [(Outcome.WRONG, 0.25), (Outcome.FAILED, None)]
    verdicts = {f"a/{i}": Verdict(f"a/{i}", o, None, "1", 0.0, "", s) for i, (o, s) in enumerate(said)}
    found = score_samples(samples, verdicts, cfg, 8)
    np.testing.assert_equal([s.reward for s in found], [3.0, 0.0, 1.0, -1.0, -1.0, np.nan])
    assert [s.correct for s in found] == [True, False, True, False, False, False]
    assert [s.verdict.score for s in found] == [None, 0.25, 0.5, None, None, None]
    assert found[4].verdict.detail.startswith("score 0.25, but truncated")
    assert sample_row(Group(prompt("a"), found), 1)["score"] == 0.25
    cfg.score = "binary"
    found = score_samples(samples, verdicts, cfg, 8)
    np.testing.assert_equal([s.reward for s in found], [3.0, -1.0, 3.0, -1.0, -1.0, np.nan])
    cfg.score, cfg.truncated_can_be_correct = "raw", True
    assert score_samples(samples, verdicts, cfg, 8)[4].reward == 0.0


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_where_the_verifier_fails_nothing_is_rewarded_or_punished(outcome):
    cfg = Config(recipe="test").reward
    cfg.overlong, cfg.overlong_cache, cfg.overlong_filter = "soft", 4, True
    samples = [sample("a/0", range(8)), sample("a/1", range(8), truncated=True), sample("a/2", range(2))]
    found = score_samples(samples, graded(outcome, outcome, Outcome.CORRECT), cfg, 8)
    assert np.isnan([s.reward for s in found]).tolist() == [True, True, False]
    assert [s.in_loss for s in found] == [False, False, True]
    assert [s.failed for s in found] == [True, True, False]
    assert [s.verdict.outcome for s in found[:2]] == [outcome] * 2  # also where it was truncated
    assert Group(prompt("a"), found).graded == found[2:]
    row = sample_row(Group(prompt("a"), found), 0)
    assert (row["reward"], row["verdict"], row["in_loss"]) == (None, outcome.value, False)
    json.dumps(row, allow_nan=False)


def test_soft_punishment_and_filter():
    cfg = Config(recipe="test").reward
    cfg.overlong, cfg.overlong_cache, cfg.overlong_filter = "soft", 4, True
    samples = [sample("a/0", range(4)), sample("a/1", range(6)), sample("a/2", range(8), truncated=True)]
    found = score_samples(samples, graded(*[Outcome.CORRECT] * 3), cfg, 8)
    assert [s.reward for s in found] == [1.0, 0.5, -1.0]
    assert [s.in_loss for s in found] == [True, True, False]


def test_a_sample_without_a_verdict_is_an_error():
    with pytest.raises(KeyError, match="a/1"):
        score_samples([sample("a/0"), sample("a/1")], graded(Outcome.CORRECT), Config(recipe="t").reward, 8)


def test_two_samples_of_one_id_are_refused_before_grading():
    requests = [sample("a/0"), sample("a/0")]
    pool = object.__new__(GraderPool)
    with pytest.raises(ValueError, match=r"duplicate sample ids.*a/0"):
        pool.grade([GradeRequest(s.id, "1", s.text) for s in requests])


def test_a_length_reward_is_added_to_what_the_verdict_earns():
    cfg = Config(recipe="test").reward
    cfg.incorrect, cfg.length, cfg.length_coef = -1.0, "kimi", 0.5
    samples = [sample(f"a/{i}", range(n)) for i, n in enumerate((1, 3, 5, 2))]
    verdicts = graded(Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.FAILED)
    # Over 1, 3 and 5 tokens: 0.5 x (0.5, 0, -0.5); the failed one counts nowhere.
    np.testing.assert_allclose(
        [s.reward for s in score_samples(samples, verdicts, cfg, 8)], [1.25, -1.0, 0.75, np.nan]
    )
