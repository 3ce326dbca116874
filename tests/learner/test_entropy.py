"""The weight of the entropy bonus: fixed, and led by the entropies of the batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr.config import LossConfig
from rlvr.divergence.transform import IDENTITY, OutputTransform
from rlvr.learner.entropy import EntropyControl
from rlvr.learner.model import policy as learner_model
from rlvr.learner.model.policy import LinearLogp, LinearLogpEntropy
from rlvr.types import Batch
from tests.helpers.records import random_batch


def batch_of_entropy(entropy: float) -> Batch:
    """Its mean over the tokens in the loss is `entropy`; one sequence is outside and far from it."""
    batch = random_batch([2, 2, 2], [3, 4, 5])
    values = np.full(batch.tokens, entropy, dtype=np.float32)
    values[:3] = 100.0
    in_loss = np.asarray([False, True, True])
    return replace(batch, in_loss=in_loss, signals=replace(batch.signals, entropy=values))


def test_the_control_follows_the_paper_step_by_step():
    control = EntropyControl.start(LossConfig(entropy_coef=0.01, entropy_target=0.5, entropy_step=0.005))
    seen = []
    for entropy in (0.4, 0.4, 0.6, 0.5, 0.9, 0.9, 0.9, 0.9, 0.1):
        control = control.after(batch_of_entropy(entropy))
        seen.append((control.applied, control.coefficient))
    # Applied: c of the step where the entropy is not above the target. Then c moves by one step, never below 0.
    applied = [0.01, 0.015, 0.0, 0.015, 0.0, 0.0, 0.0, 0.0, 0.0]
    following = [0.015, 0.02, 0.015, 0.015, 0.01, 0.005, 0.0, 0.0, 0.005]
    np.testing.assert_allclose(seen, list(zip(applied, following, strict=True)), atol=1e-12)


def test_without_a_target_the_weight_is_fixed_and_the_configuration_untouched():
    loss = LossConfig(entropy_coef=0.01)
    control = EntropyControl.start(loss)
    assert control.after(batch_of_entropy(0.1)) == control
    assert control.applied_to(loss) is loss
    assert control.logged == 0.01
    assert EntropyControl.start(LossConfig()).logged is None
    led = EntropyControl.start(LossConfig(entropy_target=0.5)).after(batch_of_entropy(0.9))
    assert led.logged == 0  # led to 0 for this step, which is to be seen


def test_a_resumed_control_goes_on_where_it_was():
    loss = LossConfig(entropy_target=0.5)
    whole = EntropyControl.start(loss).after(batch_of_entropy(0.1)).after(batch_of_entropy(0.1))
    half = EntropyControl.start(loss).after(batch_of_entropy(0.1))
    resumed = EntropyControl.start(loss).at(half.coefficient).after(batch_of_entropy(0.1))
    assert resumed == whole
    assert resumed.applied_to(loss).entropy_coef == whole.applied == 0.005


def test_entropies_that_are_all_the_target_are_at_it_however_many_there_are():
    """Of equal numbers the mean is that number: it is rounded nowhere, which in fp32 it would be."""
    value = np.float32(0.1)
    loss = LossConfig(entropy_coef=0.01, entropy_target=float(value), entropy_step=0.005)
    for tokens in range(1, 40):
        batch = random_batch([2], [tokens])
        entropies = np.full(tokens, value)
        control = EntropyControl.start(loss).after(
            replace(batch, signals=replace(batch.signals, entropy=entropies))
        )
        assert (control.applied, control.coefficient) == (0.01, 0.01)


def test_a_batch_without_loss_tokens_says_nothing():
    control = EntropyControl.start(LossConfig(entropy_coef=0.01, entropy_target=0.5))
    batch = batch_of_entropy(0.1)
    assert control.after(replace(batch, in_loss=np.zeros(3, dtype=np.bool_))) == control


def test_a_batch_without_entropies_is_refused():
    with pytest.raises(ValueError, match="entropy_target"):
        EntropyControl.start(LossConfig(entropy_target=0.5)).after(random_batch([1], [2]))


@pytest.mark.parametrize("workspace_mb", [0.01, 1300])  # a few rows at a time, and all
@pytest.mark.parametrize("transform", [IDENTITY, OutputTransform(scale=2.0, cap=5.0)])
def test_entropy_and_its_gradient_equal_float64_autograd(monkeypatch, workspace_mb, transform):
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace_mb)
    generator = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(37, 16, generator=generator), torch.randn(101, 16, generator=generator)
    ids = torch.randint(0, 101, (37,), generator=generator)
    upstream = torch.randn(2, 37, generator=generator)

    exact = [x.double().requires_grad_() for x in (hidden, weight)]
    logits = exact[0] @ exact[1].T * transform.scale
    if transform.cap is not None:
        logits = transform.cap * torch.tanh(logits / transform.cap)
    logp = torch.log_softmax(logits / 0.7, -1)
    outputs = [logp[torch.arange(37), ids], -(logp.exp() * logp).sum(-1)]
    expected = torch.autograd.grad(outputs, exact, [*upstream.double()])

    ours = [x.clone().requires_grad_() for x in (hidden, weight)]
    found = LinearLogpEntropy.apply(*ours, ids, 0.7, "auto", transform)
    for value, reference in zip(found, outputs, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=2e-5, atol=2e-5)
    for value, reference in zip(torch.autograd.grad(found, ours, [*upstream]), expected, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=3e-5, atol=3e-5)
    plain = LinearLogp.apply(*ours, ids, 0.7, "auto", transform)
    torch.testing.assert_close(found[0], plain, rtol=1e-6, atol=1e-6)
