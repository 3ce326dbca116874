"""Token-advantage plug-ins: weights by hand, bounds, the random control, and what bad plug-ins are told."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.advantage.token import (
    PLUGINS,
    DivergenceWeight,
    RandomWeight,
    TokenPlugin,
    TokenView,
    Uniform,
    build_plugin,
    token_advantage,
)
from rlvr.advantage.token.contract import batch_view, inside_update
from rlvr.errors import ConfigError, PluginError
from rlvr.types import SIGNALS, Batch, TokenSignals
from tests.helpers.records import random_batch
from tests.helpers.user_plugins import Faulty, Ramp

BATCH_DIVERGENCES = ("js_base", "kl_policy_base", "kl_base_policy")


def view(values: list[float], signal: str = "js_base", progress: float = 0.0, seed: int = 0) -> TokenView:
    """Tokens with this divergence, one sequence."""
    n = len(values)
    return TokenView(
        signals={signal: torch.tensor(values)},
        token_ids=torch.arange(n),
        advantage=torch.ones(n),
        sequence=torch.zeros(n, dtype=torch.int64),
        position=torch.arange(n),
        length=torch.full((n,), n),
        progress=progress,
        seed=seed,
    )


def every_signal(batch: Batch) -> Batch:
    """The batch with all signals of the scoring pass present."""
    rng = np.random.default_rng(5)
    names = SIGNALS - {"kl_old"}
    filled = {n: rng.uniform(0, 0.6, batch.tokens).astype(np.float32) for n in sorted(names)}
    return replace(batch, signals=TokenSignals(**filled))


def apply(batch: Batch, plugin: TokenPlugin, *, normalize: bool = False, seed: int = 3) -> Batch:
    """Stage 7 at the start of a run."""
    return token_advantage(batch, plugin, normalize=normalize, progress=0.0, seed=seed)


# Divergence weights


def test_divergence_weights_by_hand():
    high = DivergenceWeight(signal="js_base", alpha=10.0, scale=1.0)
    # sigmoid(0) = 1/2, sigmoid(1) = 0.7310586, sigmoid(5) = 0.9933071
    np.testing.assert_allclose(high.weights(view([0.0, 0.1, 0.5])), [1, 1.2310586, 1.4933071], rtol=1e-6)
    low = DivergenceWeight(signal="js_base", alpha=-10.0, scale=0.5)
    np.testing.assert_allclose(low.weights(view([0.0, 0.1])), [1, 1 - 0.5 * 0.2310586], rtol=1e-6)


@given(
    values=st.lists(st.floats(0, 100, width=32) | st.just(math.inf), min_size=1, max_size=20),
    alpha=st.floats(-50, 50),
    scale=st.floats(0, 2),
)
def test_divergence_weights_stay_within_their_bounds(values, alpha, scale):
    weights = DivergenceWeight(signal="kl_policy_base", alpha=alpha, scale=scale).weights(
        view(values, "kl_policy_base")
    )
    assert torch.isfinite(weights).all()
    assert (weights >= 1 - scale / 2 - 1e-6).all()
    assert (weights <= 1 + scale / 2 + 1e-6).all()
    order = np.argsort(values)
    steps = np.diff(weights.numpy()[order])
    assert (steps >= 0).all() if alpha >= 0 else (steps <= 0).all()


def test_an_infinite_kl_saturates():
    for alpha, expected in ((10.0, 1.5), (-10.0, 0.5), (0.0, 1.0)):
        plugin = DivergenceWeight(signal="kl_policy_base", alpha=alpha)
        assert plugin.weights(view([math.inf], "kl_policy_base")).item() == pytest.approx(expected)


def test_alpha_moves_linearly_over_the_run():
    moving = DivergenceWeight(alpha=10.0, alpha_end=-10.0)
    for progress, alpha in ((0.0, 10.0), (0.25, 5.0), (0.5, 0.0), (1.0, -10.0)):
        expected = DivergenceWeight(alpha=alpha).weights(view([0.3]))
        assert moving.weights(view([0.3], progress=progress)).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("signal", [*BATCH_DIVERGENCES, "kl_old"])
def test_only_the_named_signal_is_required(signal):
    plugin = DivergenceWeight(signal=signal)
    assert plugin.requires == {signal}
    assert inside_update(plugin) == (signal == "kl_old")


def test_options_out_of_range_are_refused_by_name():
    for options, key in (
        ({"signal": "js"}, "signal"),
        ({"scale": 2.5}, "scale"),
        ({"scale": -0.1}, "scale"),
        ({"scale": math.nan}, "scale"),
    ):
        with pytest.raises(ConfigError, match=rf"advantage\.options\.{key}="):
            build_plugin("divergence", options)
        with pytest.raises(ConfigError, match=rf"advantage\.options\.{key}="):
            build_plugin("random", options)
    for scale in (0, 2):  # the bounds themselves are allowed
        assert build_plugin("divergence", {"scale": scale}).scale == scale
    with pytest.raises(ConfigError, match=r"advantage\.options\.signal=kl_old.*shuffles"):
        build_plugin("random", {"signal": "kl_old"})


# The random control


def test_the_random_control_has_the_options_and_defaults_of_what_it_controls():
    control, weighting = ([(f.name, f.default) for f in fields(c)] for c in (RandomWeight, DivergenceWeight))
    assert control == weighting


@given(
    values=st.lists(st.floats(0, 0.6875, width=32), min_size=1, max_size=50), seed=st.integers(0, 2**31 - 1)
)
def test_the_random_control_has_exactly_the_same_weights(values, seed):
    ordered = DivergenceWeight(alpha=8.0, scale=1.2).weights(view(values, seed=seed))
    shuffled = RandomWeight(alpha=8.0, scale=1.2).weights(view(values, seed=seed))
    assert sorted(shuffled.tolist()) == sorted(ordered.tolist())


def test_the_random_control_depends_on_the_seed_alone():
    values = np.linspace(0, 0.6, 200).tolist()
    first, again, other = (RandomWeight().weights(view(values, seed=s)) for s in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, DivergenceWeight().weights(view(values)))


# Applying a plug-in to a batch


def test_uniform_leaves_the_group_advantage():
    batch = random_batch([2, 2], [3, 1])
    found = apply(batch, Uniform())
    np.testing.assert_array_equal(found.token_weight, [1, 1, 1, 1])
    np.testing.assert_array_equal(found.token_advantage, batch.advantage[[0, 0, 0, 1]])


def test_weights_multiply_the_group_advantage():
    batch = every_signal(random_batch([2, 2, 2], [3, 1, 4]))
    plugin = DivergenceWeight(signal="kl_base_policy", alpha=4.0, scale=1.5)
    found = apply(batch, plugin)
    kl = batch.signals.kl_base_policy.astype(np.float64)
    expected = 1 + 1.5 * (1 / (1 + np.exp(-4.0 * kl)) - 0.5)
    np.testing.assert_allclose(found.token_weight, expected, rtol=1e-5)
    np.testing.assert_allclose(
        found.token_advantage, batch.advantage[batch.sequence_of_token] * expected, rtol=1e-5
    )
    assert batch.token_weight is None


def test_a_plug_in_on_kl_old_leaves_plain_advantages_until_the_update():
    batch = replace(random_batch([2, 2], [3, 1]), token_advantage=None)
    found = apply(batch, DivergenceWeight(signal="kl_old"))
    np.testing.assert_array_equal(found.token_advantage, batch.advantage[batch.sequence_of_token])
    assert found.token_weight is None


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_every_built_in_plug_in_gives_finite_detached_weights(name):
    batch = every_signal(random_batch([2, 1, 3], [4, 6, 2]))
    plugin = build_plugin(name, {})
    if inside_update(plugin):
        pytest.skip("evaluated inside the update")
    found = apply(batch, plugin)
    assert found.token_advantage.shape == (12,)
    assert found.token_advantage.dtype == np.float32
    assert np.isfinite(found.token_weight).all()
    assert (found.token_weight >= 0).all()
    again = apply(batch, plugin)
    np.testing.assert_array_equal(again.token_weight, found.token_weight)


def test_normalize_gives_mean_one_over_the_loss_tokens():
    batch = every_signal(random_batch([2, 2, 2], [3, 5, 4]))
    batch = replace(batch, in_loss=np.asarray([True, False, True]))
    plain, scaled = (apply(batch, DivergenceWeight(alpha=9.0), normalize=n) for n in (False, True))
    counted = batch.in_loss[batch.sequence_of_token]
    assert plain.token_weight[counted].mean() > 1.01
    assert scaled.token_weight[counted].mean() == pytest.approx(1, abs=1e-6)
    ratio = plain.token_weight / scaled.token_weight
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_normalize_with_everything_filtered_does_not_divide_by_nothing():
    batch = every_signal(random_batch([2, 2], [3, 5]))
    batch = replace(batch, in_loss=np.zeros(2, dtype=np.bool_))
    assert np.isfinite(apply(batch, DivergenceWeight(), normalize=True).token_weight).all()


def test_weights_carry_no_gradient_and_do_not_touch_the_signals():
    batch = random_batch([2], [4])
    before = batch.signals.js_base.copy()
    weights = torch.full((4,), 2.0, requires_grad=True)
    found = apply(batch, Faulty(weights * 1.5))
    np.testing.assert_array_equal(found.token_weight, [3, 3, 3, 3])
    np.testing.assert_array_equal(batch.signals.js_base, before)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float64])
def test_weights_of_another_type_do_not_change_that_of_the_advantages(dtype):
    batch = random_batch([2], [3])
    found = apply(batch, Faulty(torch.tensor([1, 0, 1]).to(dtype)))
    assert found.token_weight.dtype == found.token_advantage.dtype == np.float32
    np.testing.assert_array_equal(found.token_advantage, batch.advantage[[0] * 3] * np.float32([1, 0, 1]))


class InPlace:
    """A plug-in that works in the tensors it is given."""

    requires = frozenset({"js_base"})

    def weights(self, view: TokenView) -> torch.Tensor:
        view.advantage.zero_()
        return view.signals["js_base"].clamp_(min=0.25).mul_(2)


def test_a_plug_in_that_works_in_place_changes_only_its_view():
    batch = random_batch([2], [4])
    before = batch.signals.js_base.copy()
    found = apply(batch, InPlace())
    np.testing.assert_array_equal(batch.signals.js_base, before)
    np.testing.assert_allclose(
        found.token_advantage, found.token_weight * batch.advantage[[0] * 4], rtol=1e-6
    )


# What a bad plug-in is told


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.ones(3), r"shape \(3,\), expected \(4,\)"),
        (torch.ones(4, 1), r"shape \(4, 1\), expected \(4,\)"),
        (torch.tensor([1.0, math.nan, math.inf, 1.0]), "2 of 4 weights are NaN or infinite"),
        (1.0, "float.*tensor"),
        ([1.0, 1.0, 1.0, 1.0], "list.*tensor"),
        (None, "NoneType.*tensor"),
    ],
)
def test_bad_weights_name_the_plug_in_and_what_was_expected(answer, said):
    with pytest.raises(PluginError, match=f"plug-in Faulty.*{said}"):
        apply(random_batch([2], [4]), Faulty(answer))


def test_weights_of_mean_zero_cannot_be_normalised():
    with pytest.raises(PluginError, match=r"advantage\.normalize needs weights with a mean above 0"):
        apply(random_batch([2], [2]), Faulty(torch.tensor([1.0, -1.0])), normalize=True)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("divergnce", {}, "advantage.token=divergnce: unknown; use one of .*divergence"),
        ("divergence", {"aplha": 1.0}, "aplha.*Options of divergence: signal, alpha, scale, alpha_end"),
        ("uniform", {"alpha": 1.0}, "Options of uniform: none"),
        ("divergence", {"alpha": "ten"}, r"advantage\.options\.alpha='ten': must be float"),
        ("divergence", {"alpha": None}, r"advantage\.options\.alpha=None: must be float"),
        ("divergence", {"alpha": True}, r"advantage\.options\.alpha=True: must be float"),
        ("divergence", {"alpha_end": "ten"}, r"advantage\.options\.alpha_end='ten': must be float or null"),
        ("divergence", {"scale": "one"}, r"advantage\.options\.scale='one': must be float"),
        ("divergence", {"signal": 3}, r"advantage\.options\.signal=3: must be str"),
        ("tests.helpers.user_plugins.UnknownSignal", {}, r"unknown signals \['surprise'\].*js_base"),
        ("tests.helpers.user_plugins.NoWeights", {}, r"needs a `requires` and a `weights\(view\)`"),
        (
            "tests.helpers.user_plugins.Absent",
            {},
            "advantage.token=tests.helpers.user_plugins.Absent: cannot be imported",
        ),
        ("no_such_package.Plugin", {}, "advantage.token=no_such_package.Plugin: cannot be imported"),
        (".", {}, "advantage.token=.: cannot be imported"),
        ("Ramp.", {}, "cannot be imported"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(name, options, said):
    with pytest.raises(ConfigError, match=said):
        build_plugin(name, options)


def test_a_signal_that_was_not_declared_is_refused_in_a_sentence():
    given = batch_view(every_signal(random_batch([2], [4])), Ramp(), progress=0.0, seed=0)
    assert given.signals["entropy"].shape == (4,)
    for read in (lambda: given.signals["js_base"], lambda: given.signals.get("js_base", 0.0)):
        with pytest.raises(
            PluginError,
            match=r"^plug-in Ramp: reads view\.signals\['js_base'\], which it does not declare; add it to `requires` "
            r"\(now entropy\)$",
        ):
            read()
    with pytest.raises(PluginError, match=r"there is no such signal, only .*js_base"):
        given.signals["surprise"]


def test_the_view_has_the_sampled_tokens():
    batch = random_batch([2, 1], [4, 3])
    given = batch_view(batch, Uniform(), progress=0.0, seed=0)
    expected = [ids[start:] for ids, start in zip(batch.input_ids, batch.prompt_lengths, strict=True)]
    assert given.token_ids.tolist() == np.concatenate(expected).tolist()
    assert given.token_ids.shape == given.position.shape == (7,)


def test_a_users_plug_in_is_found_by_its_dotted_path():
    plugin = build_plugin("tests.helpers.user_plugins.Ramp", {"slope": 0.5})
    found = apply(every_signal(random_batch([2], [4])), plugin)
    np.testing.assert_allclose(found.token_weight, [1, 1.125, 1.25, 1.375])


def test_numbers_from_yaml_are_accepted():
    assert build_plugin("divergence", {"alpha": 10, "alpha_end": None}).alpha == 10
