"""From a scored batch to token advantages: who has a say, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlvr.advantage.group import group_advantage
from rlvr.advantage.token import LowProbabilityWeight
from rlvr.config import AdvantageConfig, Config, LossConfig
from rlvr.learner.packing import pack
from rlvr.learner.shaping import shaped_advantage
from rlvr.types import TokenSignals
from tests.helpers.records import group


@pytest.mark.parametrize("normalize", [False, True])
def test_the_reward_is_charged_then_tokens_are_weighted_then_the_teacher_is_heard(normalize):
    """Log-ratios 0.5, and 0.5 + 1, cost 0.2 each: rewards 1 - 0.1 and 0 - 0.3, advantages 0.6 and -0.6."""
    cfg = Config(recipe="t", advantage=AdvantageConfig(estimator="dr_grpo", normalize=normalize))
    cfg.loss = LossConfig(kl="k1", kl_coef=0.2, kl_in="reward")
    cfg.loss = replace(cfg.loss, distill="reverse_kl", distill_coef=0.1, distill_in="advantage")
    groups = group_advantage([group("a", [1.0, 0.0], [1, 2])], cfg.advantage)
    old, gap = np.log(np.float32([0.5, 0.25, 0.75])), np.float32([0.5, 0.5, 1.0])
    batch = replace(pack(groups), signals=TokenSignals(old_logp=old, base_logp=old - gap))
    found, shaped = shaped_advantage(groups, batch, cfg, LowProbabilityWeight(0.4), progress=0.0, seed=0)
    assert [s.advantage for s in found[0].samples] == pytest.approx([0.6, -0.6])
    weight = np.asarray([1.2, 1.3, 1.1]) / (1.2 if normalize else 1.0)
    expected = np.asarray([0.6, -0.6, -0.6]) * weight - 0.1 * gap
    np.testing.assert_allclose(shaped.token_advantage, expected, rtol=1e-5)
