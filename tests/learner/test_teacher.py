"""The teacher in the advantage: its policy gradient is, in expectation, that of the reverse KL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr.advantage.token import build_plugin
from rlvr.config import LossConfig
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.scoring import needed_signals
from rlvr.learner.teacher import advised_advantage
from rlvr.types import TokenSignals
from tests.helpers.records import random_batch

ADVISED = LossConfig(distill="reverse_kl", distill_coef=0.5, distill_in="advantage")


def test_the_advantage_is_the_teachers_log_prob_less_the_policys():
    batch = random_batch([2, 3], [1, 2])
    signals = TokenSignals(
        old_logp=np.asarray([-1.0, -2.0, -0.5], dtype=np.float32),
        base_logp=np.asarray([-3.0, -1.0, -0.5], dtype=np.float32),
    )
    batch = replace(batch, signals=signals, token_advantage=np.asarray([1.0, -1.0, 0.0], dtype=np.float32))
    assert advised_advantage(batch, ADVISED).token_advantage.tolist() == [0.0, -0.5, 0.0]
    for other in (LossConfig(), replace(ADVISED, distill_in="loss")):
        assert advised_advantage(batch, other) is batch
    with pytest.raises(ValueError, match="log-probs of policy and base"):
        advised_advantage(replace(batch, signals=TokenSignals()), ADVISED)


def test_scoring_has_the_teachers_log_probs():
    plain = build_plugin("uniform", {})
    assert {"base_logp", "kl_policy_base"} <= needed_signals(plain, ADVISED)
    assert "base_logp" not in needed_signals(plain, replace(ADVISED, distill_in="loss"))


@pytest.mark.parametrize("objective", ["clip", "gpg", "cispo"])
def test_over_all_tokens_the_gradient_is_that_of_the_reverse_kl_by_finite_differences(objective):
    """Every token of a vocabulary once, weighted with its probability, in place of sampling."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    logq = teacher.log_softmax(-1)
    policy = logits.clone().requires_grad_()
    logp = policy.log_softmax(-1)
    old, batch = logp.detach(), random_batch([1], [9])
    signals = TokenSignals(old_logp=old.numpy(), base_logp=logq.numpy())
    ready = advised_advantage(replace(batch, signals=signals, token_advantage=np.zeros(9)), ADVISED)
    tokens = LossInput(
        logp=logp,
        old_logp=old,
        advantage=torch.from_numpy(ready.token_advantage),
        loss_weight=old.exp(),
        sequence=torch.arange(9),
    )
    policy_loss(tokens, replace(ADVISED, objective=objective)).loss.backward()

    def kl(values: torch.Tensor) -> float:
        log = values.log_softmax(-1)
        return float((log.exp() * (log - logq)).sum())

    for i in range(9):
        nudge = torch.zeros(9, dtype=torch.float64)
        nudge[i] = 1e-6
        slope = (kl(logits + nudge) - kl(logits - nudge)) / 2e-6
        assert policy.grad[i].item() == pytest.approx(0.5 * slope, abs=1e-8)
