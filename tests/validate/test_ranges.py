"""Values that no key can have are refused in the same words everywhere."""

from __future__ import annotations

import math
import re

import pytest

from rlvr.config import SourceConfig
from rlvr.validate import validate
from rlvr.validate.ranges import numbers_in, value_at
from rlvr.validate.values import AT_LEAST, CHOICES, POSITIVE, UNBOUNDED
from tests.helpers.validating import config, refusal


@pytest.mark.parametrize("key", CHOICES)
def test_unknown_choices_are_refused(key):
    said = refusal(config(**{key: "nonsense"}))
    assert said.startswith(f"{key}=nonsense: use one of ")
    assert all(choice in said for choice in CHOICES[key])


@pytest.mark.parametrize("key", AT_LEAST)
def test_values_below_their_least_are_refused(key):
    assert f"{key}={AT_LEAST[key] - 1}: must be at least {AT_LEAST[key]:g}" in refusal(
        config(**{key: AT_LEAST[key] - 1})
    )


@pytest.mark.parametrize("key", POSITIVE)
def test_zero_is_refused_where_only_positive_makes_sense(key):
    for value in (0, -1, math.nan):
        assert f"{key}={value}: must be greater than 0" in refusal(config(**{key: value}))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_fraction_is_finite(value):
    """No list of keys: one that is added to the schema is checked as well."""
    keys = [key for key, _ in numbers_in(config())]
    assert {"rollout.temperature", "learner.eps", "reward.incorrect", "learner.betas[1]"} <= set(keys)
    for key in (key for key in keys if not key.startswith("data.eval")):
        name, _, place = key.partition("[")
        if key in UNBOUNDED and value == math.inf:
            continue
        betas = [0.9, value] if place == "1]" else [value, 0.9]
        said = refusal(config(**{name: betas if place else value}))
        assert f"{name}" in said.partition("=")[0] or said.startswith("data.train"), (key, said)


def test_numbers_that_are_null_by_default_and_those_of_a_set_are_finite_too():
    assert refusal(config(sync__mismatch_warn=math.nan)) == "sync.mismatch_warn=nan: must be a finite number"
    cfg = config()
    cfg.data.eval[0].temperature = math.inf
    assert refusal(cfg) == "data.eval[0].temperature=inf: must be a finite number"
    assert "reward.memory_mb=-5: must be at least" in refusal(config(reward__memory_mb=-5))


def test_bounds_may_be_infinite():
    validate(config(loss__clip_high=math.inf, sync__mismatch_stop=math.inf))
    assert "sync.mismatch_stop=nan: must be a finite number" in refusal(config(sync__mismatch_stop=math.nan))


def test_value_at_reads_dotted_keys():
    assert value_at(config(), "data.train.name") == "arithmetic"


OUTSIDE: list[tuple[str, dict[str, object]]] = [
    ("loss.rollout_correction_level=batch", {"loss__rollout_correction_level": "batch"}),
    ("rollout.top_p=0", {"rollout__top_p": 0.0}),
    ("rollout.top_p=1.5", {"rollout__top_p": 1.5}),
    ("eval.top_p=1.5", {"eval__top_p": 1.5}),
    ("eval.temperature=-1", {"eval__temperature": -1.0}),
    ("rollout.top_k=0", {"rollout__top_k": 0}),
    ("rollout.temperature=0.005: vLLM would sample at 0.01", {"rollout__temperature": 0.005}),
    ("eval.temperature=1e-06: vLLM would sample at 0.01", {"eval__temperature": 1e-6}),
    (
        r"data.eval\[0\].temperature=0.001: vLLM would",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", temperature=0.001)]},
    ),
    ("rollout.top_k=-2", {"rollout__top_k": -2}),
    (r"learner.betas=\[0.9\]", {"learner__betas": [0.9]}),
    (r"learner.betas=\[0.9, 1.0\]", {"learner__betas": [0.9, 1.0]}),
    ("loss.rollout_correction=0", {"loss__rollout_correction": 0.0}),
    ("rollout.memory_utilization=1.5", {"rollout__memory_utilization": 1.5}),
    ("rollout.kv_cache_mb=0", {"rollout__kv_cache_mb": 0}),
    ("cluster.threads_per_actor=0", {"cluster__threads_per_actor": 0}),
    ("cluster.cpus=0", {"cluster__cpus": 0}),
]


@pytest.mark.parametrize(("said", "changes"), OUTSIDE, ids=[c[0][:40] for c in OUTSIDE])
def test_values_outside_their_range_are_refused(said, changes):
    assert re.search(said, refusal(config(**changes)))
