"""Correction for the policy that sampled: by hand, against peers' formulas, and what holds for every batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config import Config, LossConfig
from rlvr.learner.correction import (
    CORRECTIONS,
    LEVELS,
    MAX_LOG_WEIGHT,
    correction_metrics,
    correction_weights,
)
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.types import TokenSignals
from tests.helpers.loss_cases import OBJECTIVES, gradient
from tests.helpers.records import random_batch, random_tokens

EVERY_CORRECTION = list(itertools.product(LEVELS, CORRECTIONS))


def settings(level: str, mode: str, cap: float = 1.3, floor: float = 0.0) -> LossConfig:
    return LossConfig(
        rollout_correction=cap,
        rollout_correction_mode=mode,
        rollout_correction_level=level,
        rollout_correction_floor=floor,
    )


# Sequence 7: log-ratios 0.5 and -0.1, weights 1.65 and 0.90, their product e^0.4 = 1.49, geometric mean e^0.2 = 1.22.
# Sequence 3: -1.0 alone, 0.37 at every level.
@pytest.mark.parametrize(
    ("level", "mode", "floor", "expected"),
    [
        ("token", "truncate", 0.0, [1.3, math.exp(-0.1), math.exp(-1)]),
        ("token", "mask", 0.0, [0, math.exp(-0.1), math.exp(-1)]),
        ("token", "mask", 0.5, [0, math.exp(-0.1), 0]),
        ("token", "reject", 0.5, [0, 1, 0]),
        ("sequence", "truncate", 0.0, [1.3, 1.3, math.exp(-1)]),
        ("sequence", "mask", 0.0, [0, 0, math.exp(-1)]),
        ("sequence", "reject", 0.0, [0, 0, 1]),
        ("geometric", "truncate", 0.0, [math.exp(0.2), math.exp(0.2), math.exp(-1)]),
        ("geometric", "mask", 0.5, [math.exp(0.2), math.exp(0.2), 0]),
        ("geometric", "reject", 0.5, [1, 1, 0]),
    ],
)
def test_weights_by_hand(level, mode, floor, expected):
    log_ratio = torch.tensor([0.5, -0.1, -1.0], dtype=torch.float64)
    found = correction_weights(log_ratio, torch.tensor([7, 7, 3]), settings(level, mode, floor=floor))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("mode", CORRECTIONS)
def test_a_weight_on_a_bound_is_kept(mode):
    """Where old policy and rollout engine agree, weights are 1 exactly."""
    found = correction_weights(
        torch.zeros(2), torch.tensor([0, 1]), settings("token", mode, cap=1.0, floor=1.0)
    )
    assert found is not None
    assert found.tolist() == [1, 1]


def dense(values: torch.Tensor, lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """[B, L] padded with noise, and the mask of its tokens: what peers compute on."""
    mask = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
    out = np.random.default_rng(0).normal(scale=5, size=mask.shape)
    out[mask] = values.detach().numpy()
    return out, mask


def verl_is(log_ratio: np.ndarray, mask: np.ndarray, level: str, threshold: str) -> np.ndarray:
    """verl's `rollout_is` in its decoupled mode: exp of the (summed) log-ratio, cut above, or IcePop "lower_upper"."""
    if level == "sequence":
        log_ratio = np.broadcast_to((log_ratio * mask).sum(-1, keepdims=True), mask.shape)
    weight = np.exp(np.clip(log_ratio, -20, 20)) * mask
    if "_" not in threshold:
        return np.minimum(weight, float(threshold))
    low, high = map(float, threshold.split("_"))
    return np.where((weight >= low) & (weight <= high), weight, 0)


def verl_rs(log_ratio: np.ndarray, mask: np.ndarray, option: str, upper: float) -> np.ndarray:
    """verl's `rollout_rs` for a k1 option: the mask of what stays, log 1/upper <= k1 <= log upper."""
    k1 = -log_ratio * mask
    if option != "token_k1":
        k1 = k1.sum(-1, keepdims=True) / (mask.sum(-1, keepdims=True) if option == "seq_mean_k1" else 1)
    return mask & (np.abs(k1) <= math.log(upper))


def trl_is(log_ratio: np.ndarray, mask: np.ndarray, mode: str, cap: float) -> np.ndarray:
    """TRL's `vllm_importance_sampling_mode`: the ratio per token or per sequence, clipped from above or set to 0."""
    level, constraint = mode.split("_")
    diff = log_ratio * mask
    ratio = np.exp(diff if level == "token" else diff.sum(-1, keepdims=True))
    ratio = np.minimum(ratio, cap) if constraint == "truncate" else np.where(ratio > cap, 0, ratio)
    return ratio * mask


LENGTHS = [4, 1, 6, 3]


@pytest.mark.parametrize(
    ("cfg", "theirs"),
    [
        (settings("token", "truncate", 1.2), lambda x, m: verl_is(x, m, "token", "1.2")),
        (settings("sequence", "truncate", 1.2), lambda x, m: verl_is(x, m, "sequence", "1.2")),
        (settings("token", "mask", 1.2, 0.8), lambda x, m: verl_is(x, m, "token", "0.8_1.2")),
        (settings("sequence", "mask", 1.2, 0.8), lambda x, m: verl_is(x, m, "sequence", "0.8_1.2")),
        (settings("token", "reject", 1.25, 0.8), lambda x, m: verl_rs(x, m, "token_k1", 1.25)),
        (settings("sequence", "reject", 1.25, 0.8), lambda x, m: verl_rs(x, m, "seq_sum_k1", 1.25)),
        (settings("geometric", "reject", 1.1, 1 / 1.1), lambda x, m: verl_rs(x, m, "seq_mean_k1", 1.1)),
        (settings("token", "mask", 1.2), lambda x, m: trl_is(x, m, "token_mask", 1.2)),
        (settings("sequence", "mask", 1.2), lambda x, m: trl_is(x, m, "sequence_mask", 1.2)),
        (settings("sequence", "truncate", 1.2), lambda x, m: trl_is(x, m, "sequence_truncate", 1.2)),
    ],
)
def test_weights_equal_the_formulas_of_verl_and_trl(cfg, theirs):
    tokens = random_tokens(LENGTHS, seed=3)
    log_ratio = tokens.old_logp - tokens.rollout_logp
    expected, mask = theirs(*dense(log_ratio, LENGTHS)), dense(log_ratio, LENGTHS)[1]
    found = correction_weights(log_ratio, tokens.sequence, cfg).numpy()
    np.testing.assert_allclose(found, expected[mask], rtol=1e-12)
    assert 0 < (found != found.max()).sum() < len(found), "the bounds hold some tokens and not others"


def test_the_objective_is_areals_decoupled_one():
    """pi_prox / pi_behav x min(r A, clip(r) A), r = pi / pi_prox, tokens whose behaviour weight is above the cap left
    out (AReaL, arXiv 2505.24298, and its behav_imp_weight_cap), over the number of tokens."""
    tokens, cap = random_tokens(LENGTHS, seed=4), 1.2
    logp, prox, behav, advantage = (
        x.detach().numpy() for x in (tokens.logp, tokens.old_logp, tokens.rollout_logp, tokens.advantage)
    )
    ratio, weight = np.exp(logp - prox), np.exp(prox - behav)
    surrogate = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.28) * advantage)
    expected = -np.where(weight <= cap, weight * surrogate, 0).mean()
    cfg = replace(settings("token", "mask", cap), clip_high=0.28)
    assert policy_loss(tokens, cfg).loss.item() == pytest.approx(expected, rel=1e-12)
    assert 0 < (weight > cap).sum() < len(weight)


ON_POLICY = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(lengths=ON_POLICY, which=st.sampled_from(EVERY_CORRECTION), seed=st.integers(0, 1000))
def test_on_policy_nothing_changes(lengths, which, seed):
    tokens = random_tokens(lengths, seed=seed, dtype=torch.float32)
    tokens = replace(tokens, rollout_logp=tokens.old_logp.clone())
    weights = correction_weights(
        tokens.old_logp - tokens.rollout_logp, tokens.sequence, settings(*which, floor=0.5)
    )
    assert (weights == 1).all()
    plain = policy_loss(tokens, LossConfig())
    assert torch.equal(policy_loss(tokens, settings(*which)).loss, plain.loss)


@pytest.mark.slow
@given(
    lengths=ON_POLICY,
    which=st.sampled_from([w for w in EVERY_CORRECTION if w[1] != "truncate"]),
    objective=st.sampled_from(OBJECTIVES),
    seed=st.integers(0, 1000),
)
def test_what_is_masked_has_no_gradient(lengths, which, objective, seed):
    tokens, cfg = random_tokens(lengths, seed=seed), replace(settings(*which, 1.1, 0.9), objective=objective)
    weights = correction_weights(tokens.old_logp - tokens.rollout_logp, tokens.sequence, cfg)
    found = gradient(tokens, cfg)
    assert (found[weights == 0] == 0).all()
    free = gradient(tokens, LossConfig(objective=objective))
    torch.testing.assert_close(found, weights * free)


@given(
    lengths=ON_POLICY,
    which=st.sampled_from(EVERY_CORRECTION),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_the_order_of_packing_does_not_matter(lengths, which, seed, data):
    tokens, cfg = random_tokens(lengths, seed=seed), settings(*which, floor=0.7)
    log_ratio, total = tokens.old_logp - tokens.rollout_logp, len(tokens.logp)
    order = torch.tensor(data.draw(st.permutations(range(total))), dtype=torch.int64)
    found = correction_weights(log_ratio[order], tokens.sequence[order], cfg)
    torch.testing.assert_close(found, correction_weights(log_ratio, tokens.sequence, cfg)[order])


@pytest.mark.parametrize(("level", "mode"), EVERY_CORRECTION)
def test_single_precision_agrees_with_double(level, mode):
    """Bounds that no weight of these comes near, so that rounding cannot move one across."""
    double, single = (random_tokens([40, 9, 1], seed=6, dtype=d) for d in (torch.float64, torch.float32))
    cfg = settings(level, mode, 50.0, 0.01)
    exact, found = (
        correction_weights(t.old_logp - t.rollout_logp, t.sequence, cfg) for t in (double, single)
    )
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("level", "mode"), EVERY_CORRECTION)
@pytest.mark.parametrize("log_ratio", [-400.0, 400.0])
def test_far_apart_policies_give_finite_weights(level, mode, log_ratio):
    weights = correction_weights(torch.full((3,), log_ratio), torch.tensor([0, 0, 1]), settings(level, mode))
    assert torch.isfinite(weights).all()
    if mode == "truncate":
        assert weights.tolist() == pytest.approx([1.3 if log_ratio > 0 else 0.0] * 3)


def scored(log_ratio: list[float], lengths: list[int], in_loss: list[bool]):
    batch = random_batch([2] * len(lengths), lengths)
    rollout = np.full(len(log_ratio), -2.0, dtype=np.float32)
    return replace(
        batch,
        in_loss=np.asarray(in_loss),
        rollout_logp=rollout,
        signals=TokenSignals(old_logp=rollout + np.asarray(log_ratio, dtype=np.float32)),
    )


def test_statistics_are_those_before_the_bounds():
    two, four = math.log(2), math.log(4)
    batch = scored([two, four, 0.0, -two, 9.0], [3, 1, 1], [True, True, False])  # the last is out of the loss
    found = correction_metrics(batch, Config(recipe="x", loss=settings("geometric", "mask", 2.5, 0.8)))
    expected = {
        # weights 2 4 1 0.5: sum 7.5, of squares 21.25
        "token": (7.5 / 4, 4, 1 / 4, 1 / 4, 7.5**2 / (4 * 21.25)),
        # 8 and 0.5
        "sequence": (4.25, 8, 1 / 2, 1 / 2, 8.5**2 / (2 * 64.25)),
        # 2 and 0.5
        "geometric": (1.25, 2, 0, 1 / 2, 2.5**2 / (2 * 4.25)),
    }
    names = ("mean", "max", "above", "below", "ess")
    for level, values in expected.items():
        ours = [found[f"correction/{level}/{name}"] for name in names]
        assert ours == pytest.approx(values, rel=1e-6), level
    assert found["correction/factor"] == pytest.approx(3 * 2 / 4)
    assert found["correction/left_out"] == 1 / 4
    kept = correction_metrics(batch, Config(recipe="x", loss=settings("token", "truncate", 2.5)))
    assert kept["correction/factor"] == pytest.approx((2 + 2.5 + 1 + 0.5) / 4)
    assert kept["correction/left_out"] == 0
    assert len(kept) == 3 * len(names) + 2


def test_a_sequence_far_off_has_a_finite_statistic():
    found = correction_metrics(
        scored([300.0, 300.0], [2], [True]), Config(recipe="x", loss=settings("token", "mask"))
    )
    assert found["correction/sequence/max"] == pytest.approx(math.exp(MAX_LOG_WEIGHT))
    assert all(math.isfinite(value) for value in found.values())


def test_no_statistics_where_nothing_is_corrected_or_learned_from():
    batch, cfg = scored([0.1, 0.2], [2], [True]), Config(recipe="x", loss=settings("token", "mask"))
    assert correction_metrics(batch, cfg)
    assert correction_metrics(batch, Config(recipe="x")) == {}
    assert correction_metrics(replace(batch, signals=TokenSignals()), cfg) == {}
    assert correction_metrics(replace(batch, in_loss=np.asarray([False])), cfg) == {}


def test_statistics_leave_out_the_first_sequence_as_any_other_and_a_weight_on_a_bound_is_within():
    """Of sequences of weights 8, 1 and 1, the first outside the loss."""
    batch = scored([math.log(8), 0.0, 0.0], [1, 1, 1], [False, True, True])
    found = correction_metrics(batch, Config(recipe="x", loss=settings("token", "mask", cap=1.0, floor=1.0)))
    for level in LEVELS:
        names = ("mean", "max", "above", "below", "ess")
        assert [found[f"correction/{level}/{name}"] for name in names] == [1, 1, 0, 0, 1], level
    one = scored([math.log(8), 0.0, math.log(4)], [1, 1, 1], [False, True, True])
    found = correction_metrics(one, Config(recipe="x", loss=settings("token", "mask")))
    assert [found[f"correction/{level}/mean"] for level in LEVELS] == pytest.approx([2.5] * 3)


def test_the_loss_multiplies_by_the_weights():
    tokens: LossInput = random_tokens(LENGTHS, seed=9)
    for which in EVERY_CORRECTION:
        cfg = settings(*which)
        weights = correction_weights(tokens.old_logp - tokens.rollout_logp, tokens.sequence, cfg)
        torch.testing.assert_close(gradient(tokens, cfg), weights * gradient(tokens, LossConfig()))
