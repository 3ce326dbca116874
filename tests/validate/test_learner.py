"""Settings of the learner that contradict each other are refused by name."""

from __future__ import annotations

import re

import pytest

from rlvr.config import Config
from rlvr.validate import validate
from tests.helpers.validating import config, refusal

CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("learner.zero_stage=4: use 0, 1, 2 or 3", {"learner__zero_stage": 4}),
    (
        "learner.offload_optimizer=cpu with learner.zero_stage=0: .*set learner.zero_stage to 1, 2 or 3",
        {"learner__offload_optimizer": "cpu"},
    ),
    (
        "learner.share_prompts=true with learner.sequence_parallel=2",
        {"learner__share_prompts": True, "learner__workers": 2, "learner__sequence_parallel": 2},
    ),
    (
        "learner.share_prompts=true with learner.zero_stage=3: .*use zero_stage=2",
        {"learner__share_prompts": True, "learner__zero_stage": 3},
    ),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_every_stage_of_zero_goes_with_what_it_can(stage: int):
    validate(config(learner__zero_stage=stage, learner__offload_optimizer="cpu"))
    validate(config(learner__zero_stage=stage, learner__share_prompts=stage < 3))


@pytest.mark.parametrize(("warmup", "said"), [(0, False), (240, False), (241, True)])
def test_a_warm_up_that_the_run_ends_in_is_told(caplog, warmup: int, said: bool):
    cfg = Config(recipe="test", steps=60)
    cfg.learner.warmup_updates = warmup
    validate(cfg)
    assert ("never reaches learner.lr=0.0001" in caplog.text) is said
