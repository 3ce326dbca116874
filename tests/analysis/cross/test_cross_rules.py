"""The value that each rule gives a position, against scipy, and what its threshold says to a reader."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax
from scipy.stats import entropy

from rlvr.analysis.cross.rules import LARGEST, RULES, Positions, Stream, uniforms

TEMPERATURE = 0.7
KEYS, INDEX = np.asarray([11, 12, 13], dtype=np.uint64), np.asarray([0, 4, 7])


def positions(primary: torch.Tensor, intervening: torch.Tensor, js_top_p: float | None = None) -> Positions:
    own, other = torch.tensor([0, 3, 5]), torch.tensor([1, 3, 4])
    return Positions(primary, intervening, KEYS, INDEX, TEMPERATURE, js_top_p, own, other)


def logits(seed: int) -> torch.Tensor:
    return 2 * torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))


def test_values_are_those_of_scipy_at_the_temperature():
    at = positions(logits(1), logits(2))
    a, b = (log_softmax(x.double().numpy() / TEMPERATURE, axis=-1) for x in (at.primary, at.intervening))
    p, q, rows = np.exp(a), np.exp(b), range(3)
    ratio, favoured = ((b - a)[rows, drawn.numpy()] for drawn in (at.own, at.other))
    expected = {
        "js": jensenshannon(p, q, axis=-1) ** 2,
        "entropy": entropy(p, axis=-1),
        "entropy_other": entropy(q, axis=-1),
        "kl": entropy(p, q, axis=-1),
        "kl_other": entropy(q, p, axis=-1),
        "dlogp_lowered": -ratio,
        "dlogp_raised": ratio,
        "dlogp_changed": np.abs(ratio),
        "dlogp_favoured": favoured,
        "random": uniforms(KEYS, INDEX, Stream.SWITCH),
        "earliest": -(INDEX + uniforms(KEYS, 0 * INDEX, Stream.SWITCH)),
    }
    assert expected.keys() == RULES.keys()
    for name, values in expected.items():
        found = RULES[name].value(at)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, values, rtol=2e-5, atol=1e-6, err_msg=name)


def test_a_label_names_the_models_that_its_value_is_of_in_their_order():
    at = positions(logits(1), logits(2))
    of = {
        name: np.exp(log_softmax(x.double().numpy() / TEMPERATURE, axis=-1))
        for name, x in (("base", at.primary), ("policy", at.intervening))
    }
    for name, quantity in (
        ("entropy", "entropy"),
        ("entropy_other", "entropy"),
        ("kl", "KL"),
        ("kl_other", "KL"),
    ):
        label = RULES[name].label.format(primary="base", intervening="policy")
        what, *models = re.findall(r"\w+", label)
        assert what == quantity
        expected = entropy(*(of[model] for model in models), axis=-1)  # of two: the first against the second
        np.testing.assert_allclose(RULES[name].value(at), expected, rtol=2e-5, err_msg=label)


def test_js_of_a_nucleus_is_that_of_what_is_left():
    primary = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.98, 0.01, 0.01]]).log() * TEMPERATURE
    at = positions(primary, primary[:, [1, 0, 2]], js_top_p=0.85)
    two, one = jensenshannon([2, 1], [1, 2]) ** 2, np.log(2)  # of the last row one token each
    expected = [two, jensenshannon([5, 4], [4, 5]) ** 2, one]
    np.testing.assert_allclose(RULES["js"].value(at), expected, rtol=1e-5)


def test_a_token_without_mass_gives_a_finite_value():
    primary, intervening = logits(1), logits(2)
    primary[0, 0] = intervening[1, 3] = -torch.inf
    at = positions(primary, intervening)
    assert RULES["dlogp_raised"].value(at)[:2].tolist() == [LARGEST, -LARGEST]
    assert RULES["kl"].value(at)[1] == LARGEST == RULES["kl_other"].value(at)[0]


@pytest.mark.parametrize(("name", "shown"), [("js", 0.3), ("random", 0.7), ("earliest", -0.3)])
def test_what_a_threshold_is_reported_as(name, shown):
    assert RULES[name].setting(0.3) == pytest.approx(shown)
