"""summary.json comes back as it was written, and what is none is named with the field that is odd."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rlvr.errors import DataError
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.summary import ChangedSetting, read_summary
from tests.helpers.sweep_cases import summary


@pytest.fixture
def written(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path, "mine")
    run.path.mkdir()
    run.write_summary(summary(run, "recipe-dapo", 1, 10, {"aime24": 4}))
    return run


def test_a_summary_comes_back_as_it_was_written(written):
    first = read_summary(written.summary)
    assert first == summary(written, "recipe-dapo", 1, 10, {"aime24": 4})
    changed = replace(
        first,
        changes=(ChangedSetting(3, "steps", 5, 10),),
        resumed_from="checkpoints/step_000003",
        max_logprob_mismatch=None,
        mismatch_compared_steps=7,
        models={"model.path": {"digest": "0a"}},
        eval_accuracy_after=1,  # a whole number is a number
    )
    written.write_summary(changed)
    assert read_summary(written.summary) == changed


def test_a_summary_of_before_the_last_fields_is_one(written):
    content = json.loads(written.summary.read_text())
    later = {"mismatch_compared_steps", "changes", "models"}
    written.summary.write_text(json.dumps({key: v for key, v in content.items() if key not in later}))
    assert read_summary(written.summary) == summary(written, "recipe-dapo", 1, 10, {"aime24": 4})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("steps", "10", "its steps is '10'"),
        ("seed", True, "its seed is True"),
        ("train_seconds", "100", "its train_seconds is '100'"),
        ("tokens_generated", 1.5, "its tokens_generated is 1.5"),
        ("max_logprob_mismatch", "none", "its max_logprob_mismatch is 'none'"),
        ("versions", {"torch": 2}, "its versions is {'torch': 2}"),
        ("eval_sets", [], "its eval_sets is []"),
        ("eval_sets", {"aime24": {"before": 0.1, "after": "0.4"}}, "its eval_sets is"),
        ("eval_sets", {"aime24": {"before": 0.1}}, "its eval_sets lack after, ci_low, ci_high of aime24"),
        ("eval_accuracy_ci95", [0.5], "its eval_accuracy_ci95 is (0.5,)"),
        ("changes", [3], "Change"),
        ("odd", 3, "odd"),
    ],
)
def test_what_is_no_summary_is_named_with_its_field(written, key: str, value: Any, said: str):
    content = json.loads(written.summary.read_text()) | {key: value}
    written.summary.write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"summary\.json: not the summary of a run of this version .*"
    ) as found:
        read_summary(written.summary)
    assert said in str(found.value)
    assert "move it away" in str(found.value)
