"""Distillation: divergences and their gradients against float64 autograd, finite differences, and through a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import distillation
from benchmarks.allocated import peak_bytes
from rlvr.advantage.token import build_plugin
from rlvr.config import LossConfig, ModelConfig
from rlvr.divergence.transform import IDENTITY, OutputTransform
from rlvr.learner.distill import DIVERGENCES, LinearLogpDivergence, with_teacher
from rlvr.learner.loss import policy_loss
from rlvr.learner.model import policy as learner_model
from rlvr.learner.model.policy import Head, LinearLogp, load_policy
from rlvr.learner.packing import micro_batch
from rlvr.learner.scoring import needed_signals, score_micro_batch
from tests.helpers.models import tied_model
from tests.helpers.records import random_batch, random_tokens


def exact(kind: str, logp: torch.Tensor, logq: torch.Tensor) -> torch.Tensor:
    """The divergence [t] of log-distributions [t, V], as it is defined."""
    p, q = logp.exp(), logq.exp()
    if kind == "reverse_kl":
        return (p * (logp - logq)).sum(-1)
    if kind == "forward_kl":
        return (q * (logq - logp)).sum(-1)
    m = (p + q) / 2
    return ((p * (logp - m.log())).sum(-1) + (q * (logq - m.log())).sum(-1)) / 2


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_the_slope_equals_finite_differences_in_float64(kind):
    generator = torch.Generator().manual_seed(1)
    logits, teacher = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    logq = teacher.log_softmax(-1)
    found = DIVERGENCES[kind].slope(logits.log_softmax(-1), logq.clone())
    step = 1e-6
    for index in np.ndindex(3, 7):
        nudge = torch.zeros(3, 7, dtype=torch.float64)
        nudge[index] = step
        high, low = (exact(kind, (logits + sign * nudge).log_softmax(-1), logq).sum() for sign in (1, -1))
        assert found[index].item() == pytest.approx(((high - low) / (2 * step)).item(), abs=1e-8)


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("workspace_mb", [0.02, 1300])  # a few rows at a time, and all
@pytest.mark.parametrize("transform", [IDENTITY, OutputTransform(scale=2.0, cap=5.0)])
def test_value_and_gradient_equal_float64_autograd(monkeypatch, kind, workspace_mb, transform):
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace_mb)
    generator = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(37, 16, generator=generator), torch.randn(101, 16, generator=generator)
    teacher_hidden = torch.randn(37, 24, generator=generator)
    teacher = Head(torch.randn(101, 24, generator=generator) / 2, OutputTransform(scale=0.5))
    ids = torch.randint(0, 101, (37,), generator=generator)
    upstream = torch.randn(2, 37, generator=generator)

    reference = [x.double().requires_grad_() for x in (hidden, weight)]
    logits = reference[0] @ reference[1].T * transform.scale
    if transform.cap is not None:
        logits = transform.cap * torch.tanh(logits / transform.cap)
    logp = torch.log_softmax(logits / 0.7, -1)
    logq = torch.log_softmax(teacher_hidden.double() @ teacher.weight.double().T * 0.5 / 0.7, -1)
    outputs = [logp[torch.arange(37), ids], exact(kind, logp, logq)]
    expected = torch.autograd.grad(outputs, reference, [*upstream.double()])

    ours = [x.clone().requires_grad_() for x in (hidden, weight)]
    head = Head(ours[1], transform)
    found = LinearLogpDivergence.apply(*ours, ids, 0.7, "auto", head, teacher_hidden, teacher, kind)
    for value, wanted in zip(found, outputs, strict=True):
        torch.testing.assert_close(value.double(), wanted.detach(), rtol=2e-5, atol=2e-5)
    for value, wanted in zip(torch.autograd.grad(found, ours, [*upstream]), expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=5e-5, atol=5e-5)
    plain = LinearLogp.apply(*ours, ids, 0.7, "auto", transform)
    torch.testing.assert_close(found[0], plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_the_head_alone_is_trained_as_well(kind):
    """Where everything below the head is frozen."""
    generator = torch.Generator().manual_seed(4)
    hidden, weight, other = (torch.randn(n, 8, generator=generator) for n in (5, 11, 11))
    weight.requires_grad_()
    ids, teacher = torch.arange(5), Head(other, IDENTITY)
    found = LinearLogpDivergence.apply(
        hidden, weight, ids, 1.0, "auto", Head(weight, IDENTITY), hidden, teacher, kind
    )
    logp, logq = ((hidden @ w.T).double().log_softmax(-1) for w in (weight, other))
    expected = logp[torch.arange(5), ids] + exact(kind, logp, logq)
    gradients = (torch.autograd.grad(value.sum(), weight)[0] for value in (found[0] + found[1], expected))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


SIGNALS = {"reverse_kl": "kl_policy_base", "forward_kl": "kl_base_policy", "js": "js_base"}


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_the_scoring_pass_has_the_divergence_that_is_trained(tmp_path, kind):
    folder = tied_model(tmp_path, "qwen2")
    student, teacher = (load_policy(ModelConfig(path=folder), folder, 0.9) for _ in range(2))
    teacher.lm.lm_head.weight = torch.nn.Parameter(student.head.weight.detach().flip(0))
    micro = micro_batch(random_batch([3, 2], [5, 4]), np.arange(2))
    signals = needed_signals(build_plugin("uniform", {}), LossConfig(distill=kind, distill_coef=0.5))
    with torch.no_grad():
        found = score_micro_batch(signals, micro, 0.9, student, teacher, "auto")
        trained = student(micro, with_teacher(student, teacher, micro, kind))[1]
        logp, logq = (
            model.lm(input_ids=micro.input_ids)
            .logits[micro.row, micro.column]
            .double()
            .div(0.9)
            .log_softmax(-1)
            for model in (student, teacher)
        )
    expected = exact(kind, logp, logq)
    assert expected.min() > 1e-3
    for value in (found[SIGNALS[kind]], trained):
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_descent_brings_a_model_to_its_teacher_and_none_at_it(tmp_path, kind):
    """Two whole models: the teacher gets no gradient, and where the two are equal the student gets none either."""
    folder = tied_model(tmp_path, "qwen2")
    student, teacher = (load_policy(ModelConfig(path=folder), folder, 0.9) for _ in range(2))
    teacher.requires_grad_(False)
    micro = micro_batch(random_batch([3, 2], [5, 4]), np.arange(2))

    def divergence() -> torch.Tensor:
        return student(micro, with_teacher(student, teacher, micro, kind))[1]

    divergence().sum().backward()
    assert divergence().abs().max() < 1e-5
    assert max(p.grad.abs().max() for p in student.parameters()) < 1e-4
    generator = torch.Generator().manual_seed(5)
    for parameter in teacher.parameters():
        parameter += torch.randn(parameter.shape, generator=generator) / 20
    optimizer, before = torch.optim.AdamW(student.parameters(), lr=2e-3), divergence().mean().item()
    for _ in range(30):
        optimizer.zero_grad()
        divergence().mean().backward()
        optimizer.step()
    assert divergence().mean().item() < 0.2 * before
    assert all(p.grad is None for p in teacher.parameters())


def test_the_loss_by_hand():
    divergence = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    tokens = replace(random_tokens([2, 1], seed=9), divergence=divergence)
    alone = LossConfig(objective="none", distill="js", distill_coef=0.3)
    terms = policy_loss(tokens, alone)
    assert terms.loss.item() == pytest.approx(0.3 * 3.5 / 3)
    assert (terms.clip_low, terms.clip_high) == (0, 0)
    (found,) = torch.autograd.grad(terms.loss, divergence)
    torch.testing.assert_close(found, torch.full((3,), 0.1, dtype=torch.float64))
    both = policy_loss(tokens, LossConfig(distill="js", distill_coef=0.3)).loss
    assert both.item() == pytest.approx(policy_loss(tokens, LossConfig()).loss.item() + 0.3 * 3.5 / 3)
    with pytest.raises(ValueError, match=r"loss\.distill"):
        policy_loss(replace(tokens, divergence=None), alone)


@pytest.mark.slow
@pytest.mark.parametrize("workspace_mb", [20, 1300])
def test_the_loss_takes_no_more_memory_than_the_log_prob(monkeypatch, workspace_mb):
    """Both peak at the same, where the logits, 32 MB, do not fit the workspace and where they fit."""
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace_mb)
    monkeypatch.setattr(distillation, "HIDDEN", 16)
    monkeypatch.setattr(distillation, "VOCABULARY", 8000)
    peaks = {name: peak_bytes(run) for name, run in distillation.ways(1000).items()}
    for kind in DIVERGENCES:
        assert peaks[kind] < 1.1 * peaks[distillation.LOGP], kind
