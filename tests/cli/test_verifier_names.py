"""What grades a run, as `rlvr check` and the model card say it."""

from __future__ import annotations

from rlvr.cli.verifier_names import verifier_names
from tests.helpers.composing import compose

TWICE = "data.eval=[{name:arithmetic,label:short,policy:%s},{name:arithmetic,label:long}]"


def test_one_that_is_the_same_for_all_stands_alone():
    assert verifier_names(compose(TWICE % "null")) == ["math-verify, policy last_box"]


def test_held_out_sets_from_one_source_are_told_apart_by_their_labels():
    assert verifier_names(compose(TWICE % "last_box_or_unboxed")) == [
        "arithmetic: math-verify, policy last_box",
        "short: math-verify, policy last_box_or_unboxed",
        "long: math-verify, policy last_box",
    ]
