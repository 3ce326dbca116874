"""A plug-in's penalty on leaving the old policy: its gradient, its splitting, and combinations without sense."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from rlvr.advantage.token import PLUGINS, KLCov, TokenView, Uniform, build_plugin, token_advantage
from rlvr.advantage.token.contract import has_penalty
from rlvr.config import Config, LossConfig
from rlvr.errors import ConfigError, PluginError
from rlvr.learner.loss import LossInput, old_policy_penalty
from rlvr.types import Batch
from rlvr.validate import validate
from tests.helpers.records import random_batch
from tests.helpers.updates import WIDE, Bigram, near_policy, update


@dataclass(frozen=True)
class Penalty:
    """Returns whatever it was built with."""

    answer: object
    requires: frozenset[str] = frozenset()

    def weights(self, view: TokenView) -> torch.Tensor:
        return torch.ones_like(view.advantage)

    def penalty(self, view: TokenView) -> object:
        return self.answer


def scored(responses: list[int], plugin: object) -> Batch:
    """A batch a few updates old, after stage 7."""
    batch = near_policy(random_batch([2] * len(responses), responses), Bigram())
    return token_advantage(batch, plugin, normalize=False, progress=0.0, seed=0)


def test_penalty_by_hand():
    logp = torch.tensor([-1.0, -2.0, -0.5, -1.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-1.5, -1.0, -0.5, -3.0], dtype=torch.float64)
    weight = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
    tokens = LossInput(logp, old, torch.zeros(4), weight, torch.zeros(4, dtype=torch.int64))
    penalty = old_policy_penalty(tokens, torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    assert penalty.item() == pytest.approx(2 * 0.5 * 0.5 + 0.25 * 1.0)
    penalty.backward()
    np.testing.assert_allclose(logp.grad, [1.0, -0.25, 0.0, 0.0])  # back towards the old policy


def test_rounding_is_no_distance_from_the_old_policy():
    """The first update of a step computes the old policy's log-probs again, and rounds them otherwise."""
    old = torch.tensor([-1.0, -2.0, -3.0, -4.0])
    rounded = old + torch.tensor([1e-5, -1e-5, 2e-3, -2e-3])
    logp = rounded.clone().requires_grad_()
    tokens = LossInput(logp, old, torch.zeros(4), torch.ones(4), torch.zeros(4, dtype=torch.int64))
    penalty = old_policy_penalty(tokens, torch.ones(4))
    assert penalty.item() == pytest.approx(4e-3, rel=1e-3)
    penalty.backward()
    np.testing.assert_array_equal(logp.grad, [0.0, 0.0, 1.0, -1.0])


def test_the_penalty_reaches_loss_and_gradient():
    batch, rows = scored([5, 7, 3], KLCov(share=0.4, coefficient=2.0)), np.arange(3)
    with_it, gradient = update(batch, rows, LossConfig(), KLCov(), ranks=1, budget=WIDE)
    without, plain = update(
        replace(batch, token_penalty=None), rows, LossConfig(), Uniform(), ranks=1, budget=WIDE
    )
    policy = Bigram()
    logp = np.concatenate(
        [
            torch.log_softmax(policy.table[torch.from_numpy(ids[p - 1 : -1])], -1)
            .detach()
            .numpy()[np.arange(len(ids) - p), ids[p:]]
            for ids, p in zip(batch.input_ids, batch.prompt_lengths, strict=True)
        ]
    )
    expected = (batch.token_penalty * np.abs(logp - batch.signals.old_logp)).sum() / batch.tokens
    assert with_it["loss"] - without["loss"] == pytest.approx(expected, rel=1e-5)
    assert {k: v for k, v in with_it.items() if k != "loss"} == {
        k: v for k, v in without.items() if k != "loss"
    }
    assert not torch.equal(gradient, plain)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant_length"])
@pytest.mark.parametrize("objective", ["clip", "cispo"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_penalty_is_the_same_however_it_is_split(aggregation, objective, ranks):
    batch, rows = scored([5, 7, 3, 9, 2], KLCov(share=0.3)), np.arange(4)
    loss = LossConfig(objective=objective, aggregation=aggregation)
    whole, expected = update(batch, rows, loss, KLCov(), ranks=1, budget=WIDE)
    split, gradient = update(batch, rows, loss, KLCov(), ranks=ranks, budget=12)
    assert split == pytest.approx(whole, rel=1e-6, abs=1e-7)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


def test_the_penalty_travels_with_selected_sequences():
    batch = scored([2, 3], Penalty(torch.arange(5.0)))
    np.testing.assert_array_equal(batch.select(np.asarray([1, 0])).token_penalty, [2, 3, 4, 0, 1])
    assert scored([2, 3], Uniform()).token_penalty is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.ones(3), r"penalty of shape \(3,\), expected \(5,\)"),
        (torch.full((5,), torch.nan), "5 of 5 penalty are NaN or infinite"),
        (0.5, r"penalty\(view\) returned a float"),
        (torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0]), "1 of 5 penalty coefficients are negative"),
    ],
)
def test_a_bad_penalty_names_the_plug_in(answer, said):
    with pytest.raises(PluginError, match=f"plug-in Penalty: {said}"):
        scored([2, 3], Penalty(answer))


class Late:
    """Asks for a penalty and for a signal of the update."""

    requires = frozenset({"kl_old"})

    def weights(self, view: TokenView) -> torch.Tensor:
        return torch.ones_like(view.advantage)

    penalty = weights


class OptionOfThatName:
    """Has an option called penalty, not a method."""

    requires: frozenset[str] = frozenset()
    penalty = 0.5

    def weights(self, view: TokenView) -> torch.Tensor:
        return torch.ones_like(view.advantage)


def test_a_penalty_cannot_wait_for_the_update():
    with pytest.raises(ConfigError, match="once for the whole batch, but it requires kl_old"):
        build_plugin(f"{__name__}:Late", {})
    assert not has_penalty(build_plugin(f"{__name__}:OptionOfThatName", {}))
    assert [name for name in PLUGINS if has_penalty(build_plugin(name, {}))] == ["kl_cov"]


def config(token: str, **loss: object) -> Config:
    """The defaults with this plug-in and loss."""
    cfg = Config(recipe="test", loss=LossConfig(**loss))
    cfg.advantage.token = token
    return cfg


@pytest.mark.parametrize("name", sorted(PLUGINS))
@pytest.mark.parametrize(
    "loss", [{}, {"objective": "cispo"}, {"ratio": "sequence"}, {"kl": "k3", "kl_coef": 0.1}]
)
def test_every_plug_in_goes_with_every_loss(name, loss):
    validate(config(name, **loss))


@pytest.mark.parametrize("name", sorted(set(PLUGINS) - {"uniform"}))
def test_weights_that_the_loss_ignores_are_refused(name):
    cfg = config(name, objective="nll")
    cfg.rollout.answers = "rlvr.data.tasks.arithmetic.step_by_step"
    with pytest.raises(ConfigError, match=f"advantage.token={name}: loss.objective=nll ignores advantages"):
        validate(cfg)


@pytest.mark.parametrize(("name", "options"), [("kl_cov", {}), ("divergence", {"signal": "kl_old"})])
def test_comparing_with_the_old_policy_needs_a_second_update(name, options):
    cfg = config(name)
    cfg.advantage.options, cfg.learner.updates_per_step = options, 1
    with pytest.raises(ConfigError, match=f"advantage.token={name} with learner.updates_per_step=1"):
        validate(cfg)
