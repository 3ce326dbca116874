"""Corrections that correct nothing, or leave nothing to learn from, are refused by name."""

from __future__ import annotations

import re

import pytest

from rlvr.validate import validate
from tests.helpers.validating import config, refusal

CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("loss.rollout_correction: .*top_p", {"loss__rollout_correction": 2.0, "rollout__top_p": 0.9}),
    (
        "loss.rollout_correction_mode=mask: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_mode": "mask"},
    ),
    (
        "loss.rollout_correction_level=sequence: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_level": "sequence"},
    ),
    (
        "loss.rollout_correction_floor=0.5: .*set loss.rollout_correction=2",
        {"loss__rollout_correction_floor": 0.5},
    ),
    (
        "loss.rollout_correction_floor=0.5 with loss.rollout_correction_mode=truncate",
        {"loss__rollout_correction": 2.0, "loss__rollout_correction_floor": 0.5},
    ),
    (
        "loss.rollout_correction_floor=3: above the cap loss.rollout_correction=2",
        {
            "loss__rollout_correction": 2.0,
            "loss__rollout_correction_mode": "mask",
            "loss__rollout_correction_floor": 3.0,
        },
    ),
    ("loss.rollout_correction: .*min_tokens", {"loss__rollout_correction": 2.0, "rollout__min_tokens": 1}),
    ("loss.rollout_correction: .*top_k", {"loss__rollout_correction": 2.0, "rollout__top_k": 50}),
    (
        "loss.rollout_correction: given answers",
        {
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
            "loss__rollout_correction": 2.0,
        },
    ),
]


@pytest.mark.parametrize("mode", ["mask", "reject"])
def test_a_band_of_any_width_is_a_correction(mode):
    for floor in (0.0, 0.5, 2.0):
        validate(
            config(
                loss__rollout_correction=2.0,
                loss__rollout_correction_mode=mode,
                loss__rollout_correction_floor=floor,
            )
        )


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))
