"""Given answers beside what only sampled ones have a use for are refused by name."""

from __future__ import annotations

import re

import pytest

from tests.helpers.validating import config, refusal

CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("loss.objective=nll with rollout.answers=None", {"loss__objective": "nll"}),
    (
        "loss.objective=clip with rollout.answers=step_by_step",
        {"rollout__answers": "step_by_step"},
    ),
    (
        "rollout.answers: .*rollout.dynamic_sampling",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "rollout__dynamic_sampling": True,
        },
    ),
    (
        "rollout.answers: .*rollout.staleness",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "rollout__staleness": 1,
        },
    ),
    (
        "rollout.answers with rollout.replay",
        {"loss__objective": "nll", "rollout__answers": "step_by_step", "rollout__replay": "runs/x"},
    ),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))
