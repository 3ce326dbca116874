"""The published token weightings, by hand: which tokens they keep, boost or penalise, and what they refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.advantage.token import (
    ClipCov,
    DeltaLogpMask,
    HighEntropyMask,
    KLCov,
    LowProbabilityWeight,
    TokenView,
    build_plugin,
    token_advantage,
)
from rlvr.advantage.token.covariance import covariance
from rlvr.errors import ConfigError
from rlvr.types import TokenSignals
from tests.helpers.records import random_batch


def view(advantage: list[float], *, seed: int = 0, in_loss: list[bool] | None = None, **signals: list[float]):
    """Tokens of one sequence with these signals."""
    n = len(advantage)
    return TokenView(
        signals={name: torch.tensor(values) for name, values in signals.items()},
        token_ids=torch.arange(n),
        advantage=torch.tensor(advantage),
        sequence=torch.zeros(n, dtype=torch.int64),
        position=torch.arange(n),
        length=torch.full((n,), n),
        progress=0.0,
        seed=seed,
        in_loss=None if in_loss is None else torch.tensor(in_loss),
    )


# High entropy


def test_the_top_fifth_by_entropy_keeps_its_gradient():
    entropy = [0.1, 2.0, 0.3, 0.0, 0.2, 1.5, 0.4, 0.6, 0.5, 0.7]
    weights = HighEntropyMask(0.2).weights(view([1.0] * 10, entropy=entropy))
    assert weights.tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    assert HighEntropyMask(0.5).weights(view([1.0] * 10, entropy=entropy)).sum() == 5
    assert HighEntropyMask(1.0).weights(view([1.0] * 10, entropy=entropy)).sum() == 10


def test_the_threshold_is_taken_over_the_tokens_in_the_loss():
    entropy, inside = [9.0, 9.0, 1.0, 2.0, 3.0, 0.5, 0.0], [False, False] + [True] * 5
    weights = HighEntropyMask(0.2).weights(view([1.0] * 7, entropy=entropy, in_loss=inside))
    assert weights[2:].tolist() == [0, 0, 1, 0, 0]  # one of five, not one of seven
    nothing = view([1.0] * 2, entropy=[1.0, 2.0], in_loss=[False, False])
    assert torch.isfinite(HighEntropyMask().weights(nothing)).all()


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_share_is_kept_and_never_the_lower_ones(entropy, share):
    weights = HighEntropyMask(share).weights(view([1.0] * len(entropy), entropy=entropy)).numpy()
    assert set(weights) <= {0, 1}
    kept, dropped = np.asarray(entropy)[weights == 1], np.asarray(entropy)[weights == 0]
    assert len(kept) >= max(1, round(share * len(entropy)))
    if len(dropped):
        assert dropped.max() < kept.min()


# Signed difference to the base


def test_the_signed_difference_keeps_what_rose_most():
    old, base = [-1.0, -1.0, -1.0, -1.0, -1.0], [-1.0, -3.0, -0.5, -1.5, -0.1]  # d = 0, 2, -0.5, 0.5, -0.9
    tokens = view([1.0] * 5, old_logp=old, base_logp=base)
    assert DeltaLogpMask(0.2).weights(tokens).tolist() == [0, 1, 0, 0, 0]
    assert DeltaLogpMask(0.4).weights(tokens).tolist() == [0, 1, 0, 1, 0]
    assert DeltaLogpMask(0.4, rising=False).weights(tokens).tolist() == [0, 0, 1, 0, 1]


def test_before_the_policy_has_moved_every_token_stays():
    tokens = view([1.0] * 3, old_logp=[-1.0, -2.0, -0.5], base_logp=[-1.0, -2.0, -0.5])
    assert DeltaLogpMask(0.2).weights(tokens).tolist() == [1, 1, 1]


# Low probability


def test_low_probability_by_hand():
    tokens = view([1.0] * 3, old_logp=[0.0, math.log(0.25), -math.inf])
    np.testing.assert_allclose(LowProbabilityWeight(0.2).weights(tokens), [1, 1.15, 1.2], rtol=1e-6)
    # arXiv 2505.12929 with alpha' = 0.3: 0.3 pi + 0.7
    np.testing.assert_allclose(LowProbabilityWeight(-0.3).weights(tokens), [1, 0.775, 0.7], rtol=1e-6)


# Covariance

LOGP, ADVANTAGE = [-1.0, -2.0, -3.0, -2.0], [1.0, 1.0, -1.0, -1.0]  # means -2 and 0: Cov = 1, 0, 1, 0


def test_covariance_by_hand():
    assert covariance(view(ADVANTAGE, old_logp=LOGP)).tolist() == [1, 0, 1, 0]
    # Without the last token the means are -2 and 1/3.
    part = covariance(view(ADVANTAGE, old_logp=LOGP, in_loss=[True, True, True, False]))
    np.testing.assert_allclose(part, [2 / 3, 0, 4 / 3, -math.inf], rtol=1e-6)


def test_clip_cov_draws_among_tokens_between_its_bounds():
    logp, advantage = [-1.0, -5.0] * 50, [1.0, -1.0] * 50  # Cov = 2 everywhere
    some = ClipCov(share=0.1, low=1.0, high=5.0)
    weights = some.weights(view(advantage, old_logp=logp))
    assert (weights == 0).sum() == 10
    assert (weights == 1).sum() == 90
    assert torch.equal(weights, some.weights(view(advantage, old_logp=logp)))
    assert not torch.equal(weights, some.weights(view(advantage, old_logp=logp, seed=1)))
    assert (ClipCov(share=2e-4).weights(view(advantage, old_logp=logp)) == 0).sum() == 1  # at least one
    for low, high in ((0.0, 2.0), (2.0, 5.0)):  # bounds are open
        assert (ClipCov(0.5, low, high).weights(view(advantage, old_logp=logp)) == 1).all()


def test_clip_cov_spares_the_rest():
    logp, advantage = [-1.0, -3.0, -2.0, -2.0, -2.0, -2.0], [3.0, -3.0, 1.0, -1.0, 0.0, 0.0]
    weights = ClipCov(share=1.0, low=1.0, high=5.0).weights(
        view(advantage, old_logp=logp)
    )  # Cov = 3, 3, 0...
    assert weights.tolist() == [0, 0, 1, 1, 1, 1]
    out = view(advantage, old_logp=logp, in_loss=[True, True, False, True, True, True])
    assert ClipCov(share=1.0, low=-9, high=9).weights(out).tolist() == [0, 0, 1, 0, 0, 0]


def test_kl_cov_penalises_the_largest_and_weights_nothing():
    logp, advantage = [-1.0, -4.0, -2.0, -2.0, -1.0], [2.0, -2.0, 0.0, 0.0, 0.0]  # Cov = 2, 4, 0, 0, 0
    tokens = view(advantage, old_logp=logp)
    assert KLCov(0.2, 0.5).penalty(tokens).tolist() == [0, 0.5, 0, 0, 0]
    assert KLCov(0.4, 1.0).penalty(tokens).tolist() == [1, 1, 0, 0, 0]
    assert KLCov(2e-3).penalty(tokens).tolist() == [0, 1, 0, 0, 0]  # at least one
    assert KLCov().weights(tokens).tolist() == [1] * 5
    out = view(advantage, old_logp=logp, in_loss=[True, False, True, True, True])
    assert KLCov(0.25).penalty(out).tolist() == [1, 0, 0, 0, 0]
    nothing = view(advantage, old_logp=logp, in_loss=[False] * 5)
    assert KLCov().penalty(nothing).tolist() == [0] * 5


# Through stage 7, and refusals


@pytest.mark.parametrize("name", ["high_entropy", "clip_cov", "kl_cov", "low_probability", "delta_logp"])
def test_tokens_outside_the_loss_do_not_change_the_choice(name):
    batch = random_batch([2, 2, 2, 2], [6, 5, 4, 5])
    rng = np.random.default_rng(1)
    filled = {n: rng.uniform(-2, 0, batch.tokens).astype(np.float32) for n in ("old_logp", "base_logp")}
    filled["entropy"] = rng.uniform(0, 2, batch.tokens).astype(np.float32)
    batch = replace(batch, signals=TokenSignals(**filled), in_loss=np.asarray([True, True, True, False]))
    extreme = {
        n: np.where(batch.sequence_of_token == 3, 5.0, v).astype(np.float32) for n, v in filled.items()
    }
    plugin = build_plugin(name, {"low": 0.0} if name == "clip_cov" else {})
    plain, other = (
        token_advantage(b, plugin, normalize=False, progress=0.0, seed=1)
        for b in (batch, replace(batch, signals=TokenSignals(**extreme)))
    )
    inside = batch.sequence_of_token < 3
    np.testing.assert_array_equal(plain.token_weight[inside], other.token_weight[inside])
    if name == "kl_cov":
        np.testing.assert_array_equal(plain.token_penalty, other.token_penalty)
        assert (plain.token_penalty > 0).sum() == 1
    else:
        assert plain.token_penalty is None
        assert plain.token_weight[inside].std() > 0


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("high_entropy", {"share": 0.0}, r"share=0.0: must be greater than 0 and at most 1"),
        ("high_entropy", {"share": 1.5}, "share=1.5"),
        ("delta_logp", {"share": math.nan}, "share=nan"),
        ("delta_logp", {"rising": 1}, "rising=1: must be bool"),
        ("low_probability", {"alpha": -1.5}, r"alpha=-1.5: must be at least -1"),
        ("low_probability", {"alpha": math.inf}, "alpha=inf"),
        ("clip_cov", {"low": 5.0, "high": 1.0}, r"low=5.0: must be below advantage.options.high=1.0"),
        ("clip_cov", {"share": 2.0}, "share=2.0"),
        ("clip_cov", {"low": 1.0, "high": 1.0}, r"low=1.0: must be below"),
        ("kl_cov", {"share": 0.0}, "share=0.0"),
        ("kl_cov", {"coefficient": 0.0}, "coefficient=0.0: must be greater than 0"),
        ("kl_cov", {"coefficient": -1.0}, "coefficient=-1.0"),
        ("kl_cov", {"k": 0.2}, "Options of kl_cov: share, coefficient"),
    ],
)
def test_options_out_of_range_are_refused_by_name(name, options, said):
    with pytest.raises(ConfigError, match=said):
        build_plugin(name, options)
