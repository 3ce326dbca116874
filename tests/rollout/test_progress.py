"""The bar that vLLM draws into: what it reports of a call, as vLLM uses it."""

from __future__ import annotations

import pytest

from rlvr.cluster.board import READY, Doing
from rlvr.rollout import progress
from rlvr.rollout.progress import FinishedResponses


def test_a_call_reports_how_many_responses_are_done(monkeypatch: pytest.MonkeyPatch, capfd):
    told: list[Doing] = []
    monkeypatch.setattr(progress, "report", told.append)
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    # First over the requests while they are taken in, then over what comes out.
    assert list(FinishedResponses([1, 2, 3], of=6, desc="Adding requests")) == [1, 2, 3]
    assert set(told) == {Doing("generates", 0, 6, "responses")}
    bar = FinishedResponses(of=6, total=3, desc="Processed prompts", dynamic_ncols=True, postfix="est. speed")
    assert bar.format_dict["elapsed"] > 0  # vLLM divides by it
    for _ in range(3):
        bar.postfix = "est. speed input: 1.0 toks/s"
        bar.update(2)
    bar.refresh()
    bar.close()
    counts = [doing.done for doing in told if doing.total and doing != told[0]]
    assert counts == sorted(counts)
    assert counts[-1] == 6
    assert told[-1] == READY
    assert capfd.readouterr() == ("", "")


def test_a_count_is_words_with_two_numbers():
    assert str(Doing("generates", 12, 64, "responses")) == "generates 12 of 64 responses"
    assert str(Doing("generates", 1234, 4096, "responses")) == "generates 1,234 of 4,096 responses"
    assert str(Doing("loads the model")) == "loads the model"
    assert str(Doing("fetches owner/model,", 1.25, 3.1, "GB")) == "fetches owner/model, 1.25 of 3.1 GB"
