"""The killable worker pool: deadlines, memory, replacement, ids, threads, orphans."""

import pytest

from rlvr.reward.pool import GraderPool
from rlvr.reward.verdict import GradeRequest, Outcome


def test_mixed_answers_keep_their_ids():
    with GraderPool(workers=2, deadline_seconds=5, memory_mb=600) as pool:
        verdicts = pool.grade(
            [
                GradeRequest("a", "12", r"\boxed{12}"),
                GradeRequest("b", "12", "no box"),
                GradeRequest("c", r"\frac{1}{2}", r"\boxed{2/4}"),
                GradeRequest("d", r"\frac{1}{2}", r"\boxed{x^2}"),
            ]
        )
        assert list(verdicts) == ["a", "b", "c", "d"]
        assert [v.sample_id for v in verdicts.values()] == list(verdicts)
        assert [v.outcome for v in verdicts.values()] == [
            Outcome.CORRECT,
            Outcome.NO_ANSWER,
            Outcome.CORRECT,
            Outcome.WRONG,
        ]
        with pytest.raises(ValueError, match="duplicate"):
            pool.grade([GradeRequest("a", "1", "x"), GradeRequest("a", "2", "y")])
