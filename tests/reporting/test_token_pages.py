"""The numbers of the token pages against the parquet files that they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rlvr.analysis.loaded import LoadedAnalysis
from rlvr.analysis.shift.classes import CLASSES, class_of
from rlvr.reporting.tokens import Pair, TokenPages, read_scores, select
from tests.helpers.report_cases import CHECKPOINTS, write_analysis


@pytest.fixture(scope="module")
def analysis(tmp_path_factory) -> LoadedAnalysis:
    return LoadedAnalysis(write_analysis(tmp_path_factory.mktemp("tokens")))


def tokens(analysis: LoadedAnalysis, checkpoint: str) -> dict[int, list[dict[str, Any]]]:
    """Response -> its tokens in order, scored by a checkpoint."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in pq.read_table(analysis.folder / "tokens").to_pylist():
        if row["checkpoint"] == checkpoint:
            found.setdefault(row["response"], []).append(row)
    return {number: sorted(rows, key=lambda row: row["position"]) for number, rows in found.items()}


def test_scores_are_over_all_tokens_under_the_final_policy(analysis):
    scores, own = read_scores(analysis), tokens(analysis, CHECKPOINTS[-1])
    assert [score.response for score in scores] == sorted(own)
    for score in scores:
        js = np.asarray([row["js"] for row in own[score.response]])
        assert score.mean_js == pytest.approx(js.mean(), rel=1e-6)
        assert (score.max_js, score.moved) == (js.max(), (js > 0.1).sum())
        first = own[score.response][0]
        assert (score.trajectory, score.problem_id) == (first["trajectory"], first["problem_id"])
    assert 0 < sum(score.moved for score in scores) < sum(map(len, own.values()))


@pytest.mark.parametrize("limit", [2, 100])
def test_a_response_has_its_whole_score_and_its_first_tokens_under_every_checkpoint(analysis, limit):
    scores, pages = read_scores(analysis), TokenPages()
    pairs = select(scores, 3, 2)
    pages.add("mine", analysis, pairs, scores, limit)
    content, about = pages.content((0.1,)), {score.response: score for score in scores}
    final, earlier = (tokens(analysis, checkpoint) for checkpoint in reversed(CHECKPOINTS))
    assert content["checkpoints"] == list(CHECKPOINTS)
    for shown in content["responses"]:
        score, number = about[shown["number"]], shown["number"]
        assert shown["run"] == "mine"
        assert shown["mean_js"] == pytest.approx(score.mean_js, rel=1e-3)
        assert shown["max_js"] == pytest.approx(score.max_js, rel=1e-3)
        assert (shown["moved"], shown["moved_above"]) == (score.moved, 0.1)
        assert shown["tokens"] == len(final[number])
        js = [row[content["fields"].index("js")] for row in shown["shown"]]
        assert js == pytest.approx([row["js"] for row in final[number]][:limit], rel=1e-3)
        before = [row["js"] for row in earlier[number]][:limit]
        assert shown["earlier"] == {CHECKPOINTS[0]: pytest.approx(before, rel=1e-3)}
    numbers = [response["number"] for response in content["responses"]]
    assert [
        Pair(numbers[pair["lead"]], numbers[pair["partner"]], pair["why"]) for pair in content["pairs"]
    ] == pairs
    assert [CLASSES[k] for k in content["text_classes"]] == [class_of(text) for text in content["texts"]]


def test_a_final_policy_stays_the_last_of_the_checkpoints_of_several_runs(tmp_path: Path, analysis):
    other = LoadedAnalysis(write_analysis(tmp_path, ("base",)))
    pages = TokenPages()
    for name, one in (("first", analysis), ("second", other)):
        scores = read_scores(one)
        pages.add(name, one, select(scores, 1, 1), scores, 10)
    assert pages.checkpoints == list(CHECKPOINTS)
    assert pages.chosen(2) == (
        "2 pairs with the largest mean divergence in either response, and 2 drawn at random from the rest, run by "
        "run. Each pair is a response of the policy and one of the base to the same problem. Both models score every "
        "token after the same prefix; the shade is the divergence of their next-token distributions there."
    )
