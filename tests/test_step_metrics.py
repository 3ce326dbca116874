"""What a step reports, by hand on a batch whose every number is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlvr.config import SyncConfig
from rlvr.errors import MismatchError
from rlvr.learner.packing import pack
from rlvr.metrics import (
    PERCENTILES,
    comparable,
    concentration_metrics,
    logprob_mismatch,
    source_metrics,
    staleness,
    step_metrics,
)
from rlvr.reward.verdict import Outcome
from rlvr.runtime.tracking.tracker import step_line
from rlvr.stats.concentration import effective_ratio, gini
from rlvr.sync.gate import check_mismatch
from rlvr.timing import PhaseClock
from rlvr.types import Batch, Group, StepStats, TokenSignals
from tests.helpers.records import group, prompt, rollout_of, sample

STATS = StepStats(
    loss=0.5,
    grad_norm=2.0,
    learning_rate=1e-4,
    ratio_max=1.5,
    clip_low=0.01,
    clip_high=0.02,
    kl_old=0.003,
    kl_base=0.0,
    updates=4,
    micro_batches=8,
)


def two_groups() -> tuple[Group, ...]:
    """Four graded samples with 1, 2, 3 and 2 tokens, the last one from older weights."""
    return (
        Group(
            prompt("a"),
            (
                sample("a/0", [5], reward=1.0, correct=True, advantage=1.0, version=3),
                sample("a/1", [5, 6], reward=0.0, correct=False, advantage=-1.0, version=3, truncated=True),
            ),
        ),
        Group(
            prompt("b"),
            (
                sample("b/0", [5, 6, 7], reward=1.0, correct=True, advantage=1.0, version=3),
                sample("b/1", [8, 9], reward=-0.5, correct=False, advantage=-1.0, version=2),
            ),
        ),
    )


def scored(gaps: list[float]) -> Batch:
    """The batch whose learner log-probs lie this far from the rollout's."""
    batch = pack(two_groups())
    old = batch.rollout_logp + np.asarray(gaps, dtype=np.float32)
    return replace(batch, signals=TokenSignals(old_logp=old))


def test_mismatch_looks_only_at_tokens_of_the_current_weights():
    batch = scored([0.1, -0.2, 0, 0, 0, 0.3, 50, 50])
    mean, largest = logprob_mismatch(batch, version=3)
    assert mean == pytest.approx(0.1, rel=1e-5)
    assert largest == pytest.approx(0.3, rel=1e-5)
    assert logprob_mismatch(batch, version=2) == (50, 50)
    assert logprob_mismatch(batch, version=9) is None
    assert logprob_mismatch(pack(two_groups()), version=3) is None


def test_step_metrics_by_hand():
    dropped = Group(prompt("c"), (sample("c/0", correct=False), sample("c/1", correct=False)))
    rollout = rollout_of(
        two_groups(),
        prompts_drawn=4,
        prompts_kept=3,
        rounds=2,
        short_of=1,
        generated_tokens=12,
        seconds={"generate": 1.25, "reward": 0.25},
        dropped=(dropped,),
    )
    clock = PhaseClock()
    with clock.phase("update"):
        pass
    batch = replace(scored([0.1] * 8), token_weight=np.arange(8, dtype=np.float32))
    found = step_metrics(rollout, batch, STATS, clock, version=3, busy_seconds=0.0)
    expected = {
        "reward/mean": 0.375,
        "reward/std": float(np.std([1, 0, 1, -0.5])),
        "accuracy": 1 / 3,
        "accuracy/kept": 0.5,
        "length/mean": 2.0,
        "length/max": 3.0,
        "length/truncated": 0.25,
        "sampling/acceptance": 0.75,
        "sampling/rounds": 2.0,
        "sampling/short_of": 1.0,
        "sampling/staleness": 1.0,
        "mismatch/mean": 0.1,
        "loss": 0.5,
        "grad_norm": 2.0,
        "lr": 1e-4,
        "ratio/max": 1.5,
        "clip/low": 0.01,
        "clip/high": 0.02,
        "kl/old": 0.003,
        "updates": 4.0,
        "micro_batches": 8.0,
        "tokens/trained": 8.0,
        "tokens/generated": 12.0,
        "outcome/correct": 2.0,
        "outcome/wrong": 4.0,  # dropped groups were graded too
        "outcome/timed_out": 0.0,
        "token_weight/mean": 3.5,
        "token_weight/p10": 0.7,
        "token_weight/p50": 3.5,
        "token_weight/p90": 6.3,
        "seconds/generate": 1.25,
        "seconds/reward": 0.25,
    }
    assert {k: found[k] for k in expected} == pytest.approx(expected, rel=1e-5)
    assert {f"outcome/{o.value}" for o in Outcome} <= found.keys()
    assert all(isinstance(v, float) for v in found.values())
    assert found["seconds/overhead"] == pytest.approx(found["seconds/step"], abs=0.05)
    assert found["rate/tokens_per_second"] == pytest.approx(12 / found["seconds/step"])


def test_signals_are_reported_by_percentile():
    values = np.linspace(0, 1, 101).astype(np.float32)
    groups = (Group(prompt("a"), (sample("a/0", range(101), correct=True),)),)
    batch = replace(pack(groups), signals=TokenSignals(js_base=values))
    found = step_metrics(rollout_of(groups), batch, STATS, PhaseClock(), version=0, busy_seconds=0.0)
    for p in PERCENTILES:
        assert found[f"js_base/p{p}"] == pytest.approx(p / 100, abs=1e-6)
    assert "entropy/p50" not in found
    assert "token_weight/mean" not in found


def test_failed_samples_are_counted_and_in_no_mean():
    def steps(*groups: Group) -> dict[str, float]:
        batch = replace(pack(groups), signals=TokenSignals(old_logp=pack(groups).rollout_logp))
        return step_metrics(rollout_of(groups), batch, STATS, PhaseClock(), version=3, busy_seconds=0.0)

    first, second = two_groups()
    bad = tuple(sample(f"a/{i}", [5, 6, 7, 8], failed=True, advantage=0.0, version=3) for i in (2, 3))
    found, without = steps(replace(first, samples=first.samples + bad), second), steps(first, second)
    for name in ("reward/mean", "reward/std", "accuracy", "accuracy/kept"):
        assert found[name] == without[name]
    assert (found["outcome/failed"], found["outcome/correct"], found["outcome/wrong"]) == (2, 2, 2)
    assert (found["length/max"], found["tokens/trained"]) == (4, 16)  # responses all the same
    assert all(np.isfinite(value) for value in found.values())
    assert "failed 2" in step_line(1, 2, found | {"outcome/timed_out": 0.0}, "")
    assert "failed 5" in step_line(1, 2, found | {"outcome/timed_out": 3.0}, "")
    assert "failed" not in step_line(1, 2, without, "")


def test_comparable_drops_exactly_what_a_clock_measured():
    rollout = rollout_of(two_groups(), seconds={"generate": 1.0})
    found = step_metrics(rollout, scored([0.0] * 8), STATS, PhaseClock(), version=3, busy_seconds=0.0)
    kept = comparable(found)
    assert {"loss", "reward/mean", "tokens/generated", "outcome/correct"} <= kept.keys()
    assert {k.partition("/")[0] for k in found.keys() - kept.keys()} == {"seconds", "rate"}
    again = step_metrics(rollout, scored([0.0] * 8), STATS, PhaseClock(), version=3, busy_seconds=0.0)
    assert comparable(again) == kept


def test_staleness_counts_only_what_was_sampled():
    batch = pack(two_groups())
    assert staleness(batch, version=5) == 3
    given = replace(batch, weight_version=np.asarray([-1, 5, 4, -1]))
    assert staleness(given, version=5) == 1
    assert staleness(replace(batch, weight_version=np.full(4, -1)), version=5) == 0


def test_overhead_is_never_negative():
    """In an asynchronous run actors work longer than the step takes."""
    found = step_metrics(
        rollout_of(two_groups()), scored([0.0] * 8), STATS, PhaseClock(), version=3, busy_seconds=9.0
    )
    assert found["seconds/overhead"] == 0


def test_phase_clock_adds_up_and_survives_errors():
    clock = PhaseClock()
    with clock.phase("a"):
        pass
    first = clock.phases["a"]
    with pytest.raises(ZeroDivisionError), clock.phase("a"):
        _ = 1 / 0
    assert clock.phases["a"] > first
    assert clock.seconds >= clock.phases["a"]


def test_the_console_line_shows_what_matters():
    found = step_metrics(
        rollout_of(two_groups()), scored([0.1] * 8), STATS, PhaseClock(), version=3, busy_seconds=0.0
    )
    line = step_line(7, 20, found, "1:02 left")
    for part in ("step    7/20", "reward +0.375", "acc 0.500", "len 2.0", "mismatch 1.0e-01", "1:02 left"):
        assert part in line


# The gate


def test_the_gate_passes_warns_and_stops():
    cfg, said = SyncConfig(mismatch_warn=0.01, mismatch_stop=0.1), []
    assert check_mismatch(scored([0.001] * 8), 3, cfg, "float32", said.append) == pytest.approx(
        0.001, rel=1e-3
    )
    assert said == []
    assert check_mismatch(scored([0.05] * 8), 3, cfg, "float32", said.append) == pytest.approx(0.05, rel=1e-3)
    assert len(said) == 1
    assert "sync.mismatch_warn=0.01" in said[0]
    assert "weight version 3" in said[0]
    with pytest.raises(MismatchError, match=r"2\.00e-01 on average.*sync\.mismatch_stop=0\.1"):
        check_mismatch(scored([0.2] * 8), 3, cfg, "float32", said.append)


def test_the_gate_stops_on_what_is_not_a_number():
    with pytest.raises(MismatchError, match="nan"):
        check_mismatch(scored([float("nan")] + [0.0] * 7), 3, SyncConfig(), "float32", print)
    with pytest.raises(MismatchError, match="inf"):
        check_mismatch(scored([float("-inf")] + [0.0] * 7), 3, SyncConfig(), "float32", print)


def test_the_gate_ignores_older_tokens():
    assert check_mismatch(scored([0] * 6 + [9, 9]), 3, SyncConfig(), "float32", print) == 0


def of_source(name: str, rewards: list[float], lengths: list[int]) -> Group:
    made = group(f"{name}/1", rewards, lengths)
    return replace(made, prompt=replace(made.prompt, problem=replace(made.prompt.problem, source=name)))


def test_each_source_of_a_mixture_has_its_own_figures():
    kept = [of_source("a", [1.0, 0.0], [2, 4]), of_source("a", [float("nan"), 1.0], [3, 3])]
    rollout = replace(rollout_of(kept), dropped=(of_source("b", [0.0, 0.0], [5, 7]),))
    found = source_metrics(rollout, ["a", "b", "c"])
    assert found == pytest.approx(
        {
            "source/a/accuracy": 2 / 3,
            "source/a/reward": 2 / 3,
            "source/a/length": 3.0,
            "source/a/responses": 4.0,
            "source/a/groups": 2.0,
            "source/a/failed": 1.0,
            "source/b/accuracy": 0.0,
            "source/b/reward": 0.0,
            "source/b/length": 6.0,
            "source/b/responses": 2.0,
            "source/b/groups": 0.0,
            "source/b/failed": 0.0,
            "source/c/responses": 0.0,
            "source/c/groups": 0.0,
            "source/c/failed": 0.0,
        }
    )
    assert source_metrics(rollout, ()) == {}  # one source: the step's own figures say it all
    line = step_line(1, 2, METRICS_OF_A_LINE | found, "")
    assert "acc 0.500 (a 0.667, b 0.000)  len" in line
    assert "acc 0.500  len" in step_line(1, 2, METRICS_OF_A_LINE, "")


def test_concentration_is_that_of_the_loss_tokens_and_of_each_source():
    kept = [of_source("a", [1.0, 0.0], [2, 3]), of_source("b", [0.0, 1.0], [1, 4])]
    weights, gradients = np.arange(10, dtype=np.float32), np.asarray([5, 3, 2, 2, 2, 10, 1, 2, 3, 0.0])
    batch = replace(pack(kept), in_loss=np.asarray([True, True, False, True]), token_weight=weights)
    found = concentration_metrics(rollout_of(kept), batch, gradients, ["a", "b", "c"])
    own = {"": [0, 1, 2, 3, 4, 6, 7, 8, 9], "source/a/": [0, 1, 2, 3, 4], "source/b/": [6, 7, 8, 9]}
    expected = {
        "source/a/gradient/share": 14 / 20,
        "source/b/gradient/share": 6 / 20,
        "source/c/gradient/share": 0,
    }
    for prefix, tokens in own.items():
        expected[f"{prefix}token_weight/gini"] = gini(weights[tokens])
        expected[f"{prefix}token_weight/effective"] = effective_ratio(weights[tokens])
        for percent, count in ((1, 1), (5, 1), (20, 2 if not prefix else 1)):
            largest = sorted(gradients[tokens])[-count:]
            expected[f"{prefix}gradient/top{percent}"] = sum(largest) / sum(gradients[tokens])
    assert found == pytest.approx(expected)
    assert concentration_metrics(rollout_of(kept), pack(kept), np.zeros(10), ["a"]) == {}
    line = step_line(1, 2, METRICS_OF_A_LINE | found, "")
    assert f"weights gini {found['token_weight/gini']:.3f}  gradient top 5% {5 / 20:.2f}  0 tok/s" in line


METRICS_OF_A_LINE = {"reward/mean": 0.0, "accuracy": 0.5, "length/mean": 1.0, "rate/tokens_per_second": 0.0}
