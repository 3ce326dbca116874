"""What a scoring pass computes, against the logits of whole models of transformers in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlvr.advantage.token import Uniform
from rlvr.config import LossConfig
from rlvr.learner.model.policy import PolicyModel
from rlvr.learner.packing import micro_batch
from rlvr.learner.scoring import STATISTIC, needed_signals, needs_base, score_micro_batch
from tests.helpers.models import random_model
from tests.helpers.records import VOCABULARY, random_batch

OF_POLICY = {"old_logp", "entropy"}
OF_BASE = {"base_logp", "base_entropy", "js_base", "kl_policy_base", "kl_base_policy"}


def test_every_signal_is_that_of_the_models_own_logits():
    micro = micro_batch(random_batch([3, 1, 4], [5, 7, 2]), np.asarray([2, 0, 1]))
    keys = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.3}
    models = [random_model("llama", seed=seed, **keys) for seed in (1, 2)]
    policy, base = (PolicyModel(lm, 0.8) for lm in models)
    with torch.no_grad():
        found = score_micro_batch(STATISTIC, micro, 0.8, policy, base, "auto")
        alone = score_micro_batch(OF_POLICY, micro, 0.8, policy, None, "auto")
        logits = [lm(input_ids=micro.input_ids).logits[micro.row, micro.column].double() for lm in models]
    logp, logq = ((values / 0.8).log_softmax(-1) for values in logits)
    p, q, sampled = logp.exp(), logq.exp(), torch.arange(len(micro.target))
    logm = torch.logaddexp(logp, logq) - math.log(2)
    expected = {
        "old_logp": logp[sampled, micro.target],
        "base_logp": logq[sampled, micro.target],
        "entropy": -(p * logp).sum(-1),
        "base_entropy": -(q * logq).sum(-1),
        "kl_policy_base": (p * (logp - logq)).sum(-1),
        "kl_base_policy": (q * (logq - logp)).sum(-1),
        "js_base": ((p * (logp - logm)).sum(-1) + (q * (logq - logm)).sum(-1)) / 2,
    }
    assert found.keys() == expected.keys() == OF_POLICY | OF_BASE
    for name, values in expected.items():
        torch.testing.assert_close(found[name].double(), values, rtol=1e-4, atol=1e-4)
    for name in OF_POLICY:
        torch.testing.assert_close(alone[name], found[name], rtol=0, atol=1e-6)
    assert alone.keys() == OF_POLICY


@pytest.mark.parametrize("signal", sorted(OF_BASE))
def test_who_reads_a_signal_of_the_base_has_it_and_the_divergence_beside_it(signal):
    found = needed_signals(Uniform(), LossConfig(), [signal])
    assert found == OF_POLICY | {signal, "js_base"}
    assert needs_base({signal})
    assert needs_base(found)
    assert not needs_base(OF_POLICY)
