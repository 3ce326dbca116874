"""Settings of the loss and of rewards by length that contradict each other are refused by name."""

from __future__ import annotations

import re

import pytest

from rlvr.validate import validate
from tests.helpers.validating import config, refusal

ADVISED: dict[str, object] = {
    "loss__distill": "reverse_kl",
    "loss__distill_coef": 1.0,
    "loss__distill_in": "advantage",
    "model__base_path": "teacher",
}
CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("loss.kl=k3 with loss.kl_coef=0", {"loss__kl": "k3"}),
    ("loss.kl=off with loss.kl_coef=0.1", {"loss__kl_coef": 0.1}),
    ("loss.kl_in=reward with loss.kl=off", {"loss__kl_in": "reward"}),
    (
        "loss.kl_in=reward with advantage.estimator=reinforce_pp_global",
        {
            "loss__kl": "k1",
            "loss__kl_coef": 0.1,
            "loss__kl_in": "reward",
            "advantage__estimator": "reinforce_pp_global",
        },
    ),
    (
        "loss.kl_in=reward with advantage.estimator=reinforce_pp_baseline",
        {
            "loss__kl": "k1",
            "loss__kl_coef": 0.1,
            "loss__kl_in": "reward",
            "advantage__estimator": "reinforce_pp_baseline",
        },
    ),
    (
        "loss.kl_in=reward with rollout.answers",
        {
            "loss__kl": "k1",
            "loss__kl_coef": 0.1,
            "loss__kl_in": "reward",
            "loss__objective": "nll",
            "rollout__answers": "step_by_step",
        },
    ),
    (
        "loss.distill with loss.entropy_coef or loss.entropy_target",
        {
            "loss__distill": "js",
            "loss__distill_coef": 1.0,
            "model__base_path": "teacher",
            "loss__entropy_target": 0.5,
        },
    ),
    ("loss.distill=js with loss.distill_coef=0", {"loss__distill": "js"}),
    ("loss.distill=off with loss.distill_coef=1", {"loss__distill_coef": 1.0}),
    ("loss.distill=js: the teacher is the base", {"loss__distill": "js", "loss__distill_coef": 1.0}),
    (
        "loss.distill with loss.entropy_coef",
        {
            "loss__distill": "js",
            "loss__distill_coef": 1.0,
            "model__base_path": "teacher",
            "loss__entropy_coef": 0.1,
        },
    ),
    ("loss.objective=none with loss.distill=off", {"loss__objective": "none"}),
    (
        "loss.distill_in=advantage with loss.distill=js",
        {"loss__distill_in": "advantage", "loss__distill": "js", "loss__distill_coef": 1.0},
    ),
    ("loss.distill_in=advantage with loss.objective=none", ADVISED | {"loss__objective": "none"}),
    (
        "loss.distill_in=advantage with advantage.token=divergence",
        ADVISED | {"advantage__token": "divergence", "advantage__options": {"signal": "kl_old"}},
    ),
    ("advantage.estimator=none: every advantage is 0", {"advantage__estimator": "none"}),
    ("loss.objective=gmpo with loss.ratio=sequence", {"loss__objective": "gmpo", "loss__ratio": "sequence"}),
    ("reward.length=kimi with reward.length_coef=0", {"reward__length": "kimi"}),
    ("reward.length=off with reward.length_coef=0.5", {"reward__length_coef": 0.5}),
    ("reward.length_coef=2", {"reward__length": "efficient", "reward__length_coef": 2.0}),
    ("loss.options: clip has no ceiling", {"loss__options": {"ceiling": 3.0}}),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__kl": "k1", "loss__kl_coef": 0.1, "loss__kl_in": "reward"},
        {"loss__kl": "k3", "loss__kl_coef": 0.1, "advantage__estimator": "reinforce_pp_baseline"},
        ADVISED,
        ADVISED | {"advantage__estimator": "none"},
        ADVISED | {"loss__entropy_coef": 0.1},
        ADVISED | {"loss__distill_in": "loss", "loss__objective": "none"},
        {"loss__entropy_coef": 0.1},
        {"loss__objective": "gmpo"},
        {"loss__ratio": "sequence"},
        {"reward__length": "efficient", "reward__length_coef": 1.0},
        {"reward__length": "kimi", "reward__length_coef": 2.0},
    ],
)
def test_what_does_not_contradict_itself_is_accepted(changes):
    validate(config(**changes))
