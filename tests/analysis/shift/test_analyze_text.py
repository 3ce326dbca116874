"""What the command says of an analysis, from figures that stand here."""

from __future__ import annotations

import math
from dataclasses import replace

from rlvr.analysis.shift.inputs import PolicyToScore
from rlvr.analysis.shift.responses import IndexSummary
from rlvr.analysis.shift.summary import Headline, describe
from rlvr.stats.accuracy import Estimate

UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def test_the_headline_says_its_figures_with_their_intervals_and_none_where_nothing_moved():
    figures = {
        "mean_js": Estimate(0.01234, 0.01, 0.0151),
        "share_moved": Estimate(0.0625, 0.05, 0.075),
        "share_near_zero": Estimate(0.875, math.nan, math.nan),  # of one problem
        "moved_overlap_2": Estimate(0.5, 0.25, 0.75),
        "moved_policy_top_within_base_rank_3": UNKNOWN,
    }
    assert Headline("step_000010", "base", 1200, figures).lines(0.1) == [
        "step_000010 against base on the base's responses: 1200 tokens, mean JS 0.0123 (95% 0.0100..0.0151)",
        "  moved (JS > 0.1) 6.25% (95% 5.00%..7.50%); JS <= 0.01 87.50%",
        "  at moved positions: top-2 overlap 50.0% (95% 25.0%..75.0%), policy's top token within base rank 3 none",
    ]


def test_what_is_about_to_be_scored_is_counted_by_model_with_what_is_left_out():
    index = IndexSummary(
        parts=3,
        responses={"policy": 8, "base": 4},
        problems={"policy": 2, "base": 2},
        tokens={"policy": 100, "base": 70},
        correct={"policy": 6, "base": 1},
        empty=0,
        digest="0a",
    )
    chosen = [PolicyToScore("step_000010", "models/a"), PolicyToScore("policy", "models/b")]
    whole = (
        "8 responses of the policy (2 problems, 100 tokens, 75.0% correct) and 4 responses of the base (2 problems, "
        "70 tokens, 25.0% correct){}; scored with step_000010, policy in 6 parts"
    )
    assert describe(index, chosen) == whole.format("")
    left_out = "; 2 without a token left out; 3 on which the verifier failed left out"
    assert describe(replace(index, empty=2, failed=3), chosen) == whole.format(left_out)
