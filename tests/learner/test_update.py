"""One optimiser update's loss and gradient do not depend on micro-batches, ranks or padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlvr.advantage.group import ESTIMATORS, group_advantage
from rlvr.advantage.token import (
    DivergenceWeight,
    LowProbabilityWeight,
    TokenView,
    Uniform,
    token_advantage,
)
from rlvr.config import AdvantageConfig, Config, LossConfig, RewardConfig
from rlvr.errors import PluginError
from rlvr.learner.loss import LossTerms
from rlvr.learner.packing import micro_batch, pack, plan_micro_batches
from rlvr.learner.scoring import merge_scores, needed_signals, needs_base
from rlvr.learner.update import SUMMED, TokenOutputs, UpdateContext, accumulate, over_updates, totals
from rlvr.reward.score import score_samples
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.types import Floats, Group, StepStats
from tests.helpers.records import VOCABULARY, prompt, random_batch, sample
from tests.helpers.updates import CPU, WIDE, Bigram, near_policy, update


@pytest.mark.slow
@settings(max_examples=120)
@given(
    responses=st.lists(st.integers(1, 12), min_size=2, max_size=10),
    aggregation=st.sampled_from(["token_mean", "sequence_mean", "constant_length"]),
    ratio=st.sampled_from(["token", "sequence"]),
    objective=st.sampled_from(["clip", "cispo"]),
    kl=st.sampled_from(["off", "k1", "k2", "k3"]),
    plugin=st.sampled_from([Uniform(), DivergenceWeight(signal="kl_old", alpha=5.0)]),
    ranks=st.integers(1, 4),
    room=st.integers(0, 40),
    filtered=st.integers(0, 9),
)
def test_update_is_the_same_however_it_is_split(
    responses, aggregation, ratio, objective, kl, plugin, ranks, room, filtered
):
    batch = near_policy(random_batch([2] * len(responses), responses), Bigram())
    batch = replace(batch, in_loss=np.arange(batch.size) != filtered)
    rows = np.arange(batch.size)[: max(2, batch.size - 1)]
    loss = LossConfig(
        objective=objective,
        ratio=ratio,
        aggregation=aggregation,
        kl=kl,
        kl_coef=0.0 if kl == "off" else 0.1,
        rollout_correction=1.5,
    )
    whole, expected = update(batch, rows, loss, plugin, ranks=1, budget=WIDE)
    budget = max(responses) + 2 + room
    split, gradient = update(batch, rows, loss, plugin, ranks=ranks, budget=budget)
    assert split == pytest.approx(whole, rel=1e-6, abs=1e-7)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


def test_sequences_outside_the_loss_leave_no_trace():
    batch = near_policy(random_batch([2, 2, 2], [3, 4, 5]), Bigram())
    filtered = replace(batch, in_loss=np.asarray([True, False, True]))
    loss, rows = LossConfig(), np.arange(3)
    found = update(filtered, rows, loss, Uniform(), ranks=1, budget=WIDE)
    without = update(batch, np.asarray([0, 2]), loss, Uniform(), ranks=1, budget=WIDE)
    assert {k: v for k, v in found[0].items() if k != "ratio_max"} == pytest.approx(
        {k: v for k, v in without[0].items() if k != "ratio_max"}
    )
    torch.testing.assert_close(found[1], without[1])
    nothing = update(
        replace(batch, in_loss=np.zeros(3, dtype=np.bool_)), rows, loss, Uniform(), ranks=1, budget=WIDE
    )
    assert nothing[0]["loss"] == 0
    assert not nothing[1].any()


AGGREGATIONS = ("token_mean", "sequence_mean", "constant_length")


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=25)
@given(
    outcomes=st.lists(
        st.lists(
            st.sampled_from([Outcome.CORRECT, Outcome.WRONG, Outcome.FAILED, Outcome.TIMED_OUT]), min_size=1
        ),
        min_size=1,
        max_size=3,
    ),
    overlong=st.sampled_from(["off", "soft"]),
    kl=st.sampled_from(["off", "k3"]),
)
def test_a_batch_with_failed_verdicts_learns_what_it_learns_without_them(
    estimator, aggregation, outcomes, overlong, kl
):
    """From verdicts to gradients: samples on which the verifier failed leave no trace."""
    cfg = Config(recipe="test")
    cfg.reward = RewardConfig(incorrect=-0.5, overlong=overlong, overlong_cache=4)
    cfg.advantage = AdvantageConfig(estimator=estimator)
    cfg.loss = LossConfig(aggregation=aggregation, kl=kl, kl_coef=0.0 if kl == "off" else 0.1)
    rng = np.random.default_rng(len(outcomes))
    groups = []
    for g, own in enumerate(outcomes):
        samples = [
            sample(f"{g}/{i}", rng.integers(1, VOCABULARY, rng.integers(1, 9))) for i in range(len(own))
        ]
        verdicts = {s.id: Verdict(s.id, o, None, "1", 0.0) for s, o in zip(samples, own, strict=True)}
        groups.append(Group(prompt(str(g)), score_samples(samples, verdicts, cfg.reward, 8)))
    # One that is left over of several stands for a group without a baseline, not for a group of one.
    assume(all(len(g.graded) != 1 or len(g.samples) == 1 for g in groups))
    without = [replace(g, samples=g.graded) for g in groups if g.graded]
    assume(without)

    mixed = near_policy(pack(group_advantage(groups, cfg.advantage)), Bigram())
    alone = pack(group_advantage(without, cfg.advantage))
    assert mixed.in_loss.tolist() == [o in (Outcome.CORRECT, Outcome.WRONG) for own in outcomes for o in own]
    same = mixed.select(np.flatnonzero(mixed.in_loss))
    alone = replace(alone, signals=same.signals, rollout_logp=same.rollout_logp)
    np.testing.assert_array_equal(alone.advantage, same.advantage)
    found, expected = (
        update(
            token_advantage(batch, Uniform(), normalize=True, progress=0.0, seed=0),
            np.arange(batch.size),
            cfg.loss,
            Uniform(),
            ranks=1,
            budget=WIDE,
        )
        for batch in (mixed, alone)
    )
    assert np.isfinite(list(found[0].values())).all()
    del found[0]["ratio_max"], expected[0]["ratio_max"]
    assert found[0] == pytest.approx(expected[0], rel=1e-6, abs=1e-9)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-9)


def test_padding_micro_batches_count_nowhere():
    batch = near_policy(random_batch([2, 2], [3, 9]), Bigram())
    one = update(batch, np.asarray([0]), LossConfig(), Uniform(), ranks=1, budget=WIDE)
    four = update(batch, np.asarray([0]), LossConfig(), Uniform(), ranks=4, budget=WIDE)
    assert four[0] == pytest.approx(one[0])
    torch.testing.assert_close(four[1], one[1])


def test_a_late_plug_in_sees_its_own_tokens():
    batch = near_policy(random_batch([2, 4, 3], [3, 5, 2]), Bigram())
    seen: list[TokenView] = []

    class Spy:
        requires = frozenset({"kl_old", "base_logp", "old_logp"})

        def weights(self, view: TokenView) -> torch.Tensor:
            seen.append(view)
            return torch.full_like(view.signals["kl_old"], 2.0)

    rows = np.asarray([2, 1])
    doubled = update(batch, rows, LossConfig(), Spy(), ranks=1, budget=WIDE)
    plain = update(batch, rows, LossConfig(), Uniform(), ranks=1, budget=WIDE)
    torch.testing.assert_close(doubled[1], 2 * plain[1])
    (view,) = seen
    order = np.concatenate([np.arange(3, 8), np.arange(8, 10)])  # the longer sequence comes first
    np.testing.assert_array_equal(view.position, [0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(view.length, [5] * 5 + [2] * 2)
    np.testing.assert_array_equal(view.advantage, batch.advantage[[1] * 5 + [2] * 2])
    np.testing.assert_array_equal(view.signals["base_logp"], batch.signals.base_logp[order])
    assert not view.signals["kl_old"].requires_grad
    gap = Bigram()(micro_batch(batch, rows[::-1])).detach() - view.signals["old_logp"]
    torch.testing.assert_close(view.signals["kl_old"], gap.exp() - 1 - gap)  # k3 of KL(old || current)


def test_weights_of_the_batch_are_not_taken_twice():
    batch, rows = near_policy(random_batch([2, 3], [3, 5]), Bigram()), np.arange(2)
    early = update(batch, rows, LossConfig(), LowProbabilityWeight(5.0), ranks=1, budget=WIDE)
    plain = update(batch, rows, LossConfig(), Uniform(), ranks=1, budget=WIDE)
    assert early[0] == plain[0]
    assert torch.equal(early[1], plain[1])


def test_a_batch_without_a_base_and_a_forward_pass_with_entropies():
    """The bonus's share of the loss is the mean entropy; what is logged weighs as it is told to."""
    batch = near_policy(random_batch([2, 3], [3, 5]), Bigram())
    batch = replace(batch, signals=replace(batch.signals, base_logp=None))
    entropy = torch.arange(8, dtype=torch.float64)

    def loss(coefficient: float, metric_weights: Floats | None = None) -> LossTerms:
        context = UpdateContext(
            LossConfig(entropy_coef=coefficient),
            Uniform(),
            np.full(2, 1 / 8, dtype=np.float32),
            1,
            CPU,
            seed=0,
            progress=0.0,
            metric_weights=metric_weights,
        )
        plans = plan_micro_batches(batch, np.arange(2), ranks=1, rank=0, budget=WIDE)
        (terms,) = accumulate(
            batch, plans, lambda m: TokenOutputs(Bigram()(m), entropy), torch.Tensor.backward, context
        )
        return terms

    plain, other = loss(0.0), loss(0.1, np.full(2, 3 / 8, dtype=np.float32))
    assert (plain.loss - other.loss).item() == pytest.approx(0.1 * entropy.mean().item())
    assert other.kl_old.item() == pytest.approx(3 * plain.kl_old.item())


@pytest.mark.parametrize("ranks", [1, 2])
def test_totals_are_sums_over_micro_batches_and_the_largest_ratio(monkeypatch, ranks):
    """The other rank has the same sums, and a ratio larger by a half; each micro-batch is on two ranks."""

    def all_reduce(values: torch.Tensor, op: object = torch.distributed.ReduceOp.SUM) -> None:
        if op == torch.distributed.ReduceOp.SUM:
            values *= 2
        else:
            assert op == torch.distributed.ReduceOp.MAX
            values += 0.5

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    terms = [
        LossTerms(*torch.tensor([*values])) for values in ([1.0, 2, 3, 4, 5, 0.25], [6.0, 7, 8, 9, 10, 0.125])
    ]
    found = totals(terms, ranks, CPU, copies=2)
    assert [found[name] for name in SUMMED] == [ranks * total / 2 for total in (7, 9, 11, 13, 15)]
    assert found["ratio_max"] == (0.25 if ranks == 1 else 0.75)
    assert totals(terms, ranks, CPU)["loss"] == 2 * found["loss"]  # each on one rank


def test_several_updates_are_told_as_one_step():
    """Means, but the last learning rate, the largest ratio and the counts of all."""
    means = ("loss", "grad_norm", "clip_low", "clip_high", "kl_old", "kl_base")
    first, last = (
        StepStats(
            **{name: 2.0**place * k for place, name in enumerate(means)},
            learning_rate=0.1 * k,
            ratio_max=4.0 / k,
            updates=1,
            micro_batches=k,
        )
        for k in (1, 3)
    )
    found = over_updates([first, last])
    assert [getattr(found, name) for name in means] == [2, 4, 8, 16, 32, 64]
    assert (found.learning_rate, found.ratio_max) == (last.learning_rate, 4.0)
    assert (found.updates, found.micro_batches, found.entropy_coef) == (2, 4, None)


def test_a_late_plug_in_is_checked_too():
    class Scalar:
        requires = frozenset({"kl_old"})

        def weights(self, view: TokenView) -> torch.Tensor:
            return torch.tensor(1.0)

    batch = near_policy(random_batch([2], [3]), Bigram())
    with pytest.raises(PluginError, match=r"Scalar.*expected \(3,\)"):
        update(batch, np.asarray([0]), LossConfig(), Scalar(), ranks=1, budget=WIDE)


def test_an_update_needs_scores_and_token_advantages():
    batch = near_policy(random_batch([2], [3]), Bigram())
    for lacking in ({"token_advantage": None}, {"signals": replace(batch.signals, old_logp=None)}):
        with pytest.raises(ValueError, match="scored and given token advantages"):
            update(replace(batch, **lacking), np.asarray([0]), LossConfig(), Uniform(), ranks=1, budget=WIDE)


# Scoring


def test_only_the_needed_signals_are_computed():
    assert needed_signals(Uniform(), LossConfig()) == {"old_logp", "entropy"}
    assert not needs_base(needed_signals(Uniform(), LossConfig()))
    assert not needs_base(needed_signals(DivergenceWeight(signal="kl_old"), LossConfig()))
    with_kl = needed_signals(Uniform(), LossConfig(kl="k3", kl_coef=0.1))
    assert {"base_logp", "js_base"} <= with_kl
    assert needs_base(with_kl)
    assert "kl_base_policy" in needed_signals(DivergenceWeight(signal="kl_base_policy"), LossConfig())
    assert needed_signals(Uniform(), LossConfig(), ["js_base"]) == {"old_logp", "entropy", "js_base"}


def test_merge_scores_puts_every_token_in_its_place():
    batch = random_batch([1, 1], [3, 2])
    values = np.arange(5, dtype=np.float32)
    order = np.asarray([4, 0, 2, 1, 3])
    parts = [(order[:2], {"old_logp": values[order[:2]]}), (order[2:], {"old_logp": values[order[2:]]})]
    np.testing.assert_array_equal(merge_scores(batch, parts).signals.old_logp, values)
    with pytest.raises(RuntimeError, match="3 of 5 tokens were scored by no rank"):
        merge_scores(batch, parts[:1])
