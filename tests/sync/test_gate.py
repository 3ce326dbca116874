"""The gate says what it has compared: at each step, in the summary, in reports and at the end of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rlvr.config import Config, SyncConfig
from rlvr.learner.packing import pack
from rlvr.metrics import step_metrics
from rlvr.reporting.sources import ReportedRun
from rlvr.reporting.tables import summary_table
from rlvr.rollout.collect import truncation_note
from rlvr.rollout.given import NOT_SAMPLED
from rlvr.runtime.checkpoints.checkpoint import TrainingState, load_state, save_checkpoint
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.session import Session
from rlvr.runtime.tracking.tracker import step_line
from rlvr.sync.gate import check_mismatch, comparison_note, largest_mismatch
from rlvr.timing import PhaseClock, Stopwatch
from rlvr.types import Batch, Group, StepStats, TokenSignals
from tests.helpers.records import prompt, rollout_of, sample
from tests.helpers.sweep_cases import summary

STATS = StepStats(0.5, 2.0, 1e-4, 1.5, 0.01, 0.02, 0.003, 0.0, 4, 8)
START = TrainingState(0, 0, 0, 0.0, 0.0, {}, compared_steps=0)


def batch_of(*versions: int, gap: float = 0.1) -> Batch:
    """A scored group with one response of two tokens for each weight version."""
    samples = tuple(sample(f"a/{i}", correct=True, version=v) for i, v in enumerate(versions))
    batch = pack((Group(prompt("a"), samples),))
    return replace(batch, signals=TokenSignals(old_logp=batch.rollout_logp + np.float32(gap)))


def metrics_of(batch: Batch, version: int) -> dict[str, float]:
    groups = (Group(prompt("a"), (sample("a/0", correct=True),)),)
    return step_metrics(rollout_of(groups), batch, STATS, PhaseClock(), version=version, busy_seconds=0.0)


@pytest.mark.parametrize("older", [1, NOT_SAMPLED])
def test_nothing_to_compare_is_not_agreement(older):
    """Stale or given tokens differ by any amount; 0.0 would say that both sides agree."""
    batch = batch_of(older, older, gap=50.0)
    assert check_mismatch(batch, 2, SyncConfig(), "float32", print) is None
    found = metrics_of(batch, version=2)
    assert found["mismatch/compared_tokens"] == 0.0
    assert not {"mismatch/mean", "mismatch/max"} & found.keys()
    assert "mismatch not compared" in step_line(1, 2, found, "")


def test_the_number_of_compared_tokens_is_reported():
    batch = batch_of(1, 2, 2)
    assert check_mismatch(
        batch, 2, SyncConfig(mismatch_warn=1.0, mismatch_stop=1.0), "float32", print
    ) == pytest.approx(0.1, rel=1e-5)
    found = metrics_of(batch, version=2)
    assert found["mismatch/compared_tokens"] == 4.0
    assert found["mismatch/mean"] == pytest.approx(0.1, rel=1e-5)
    assert "mismatch 1.0e-01" in step_line(1, 2, found, "")


def course(*mismatches: float | None, start: TrainingState = START) -> TrainingState:
    """The state after steps with these results of the gate."""
    session, state = SimpleNamespace(start=start, loop=Stopwatch()), start
    for step, mismatch in enumerate(mismatches, start.step + 1):
        state = Session.advance(session, state, step, rollout_of(()), mismatch)
    return state


@pytest.mark.parametrize(
    ("mismatches", "largest", "compared", "said"),
    [
        ((1e-7, 3e-7, 2e-7), 3e-7, 3, None),
        ((1e-7, None, None), 1e-7, 1, "at 1 of 3 steps"),
        ((None, None, None), None, 0, "at 0 of 3 steps"),
        ((0.0, 0.0, 0.0), 0.0, 3, None),
    ],
)
def test_a_run_remembers_how_often_it_compared(mismatches, largest, compared, said):
    state = course(*mismatches)
    assert state.compared_steps == compared
    assert largest_mismatch(state.max_logprob_mismatch, state.compared_steps) == largest
    note = comparison_note(state.compared_steps, state.step)
    assert note is None if said is None else said in note


@pytest.mark.parametrize(("recorded", "largest"), [(0.0, None), (2e-7, 2e-7)])
def test_a_checkpoint_from_before_the_count_is_no_claim(tmp_path, recorded, largest):
    cfg = Config(recipe="test")
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    path = save_checkpoint(folder, replace(START, step=2, max_logprob_mismatch=recorded), cfg, lambda _: None)
    content = json.loads((path / "state.json").read_text())
    del content["compared_steps"]
    (path / "state.json").write_text(json.dumps(content))
    (path / "manifest.json").unlink()  # nor had it one

    state = course(None, None, start=load_state(path, cfg))
    assert state.compared_steps is None
    assert largest_mismatch(state.max_logprob_mismatch, state.compared_steps) == largest
    assert "not known" in comparison_note(state.compared_steps, state.step)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"max_logprob_mismatch": None, "mismatch_compared_steps": 0}, "not compared"),
        ({"max_logprob_mismatch": 1e-7, "mismatch_compared_steps": 1}, "1.0e-07 (at 1 of 3 steps)"),
        ({"max_logprob_mismatch": 1e-7, "mismatch_compared_steps": 3}, "1.0e-07"),
        ({"max_logprob_mismatch": 1e-7}, "1.0e-07"),
    ],
)
def test_the_report_shows_how_often_it_compared(tmp_path, fields, shown):
    left = replace(summary(RunFolder(tmp_path, "mine"), "dapo", 1, 3, {"held": 20}), **fields)
    page = summary_table([ReportedRun("mine", tmp_path, [], [], "", left, None, None)])
    assert page.rows[0][-1] == shown


# Truncated sampling


def test_truncated_sampling_is_said_at_the_start():
    cfg = Config(recipe="test")
    assert truncation_note(cfg) is None
    cfg.rollout.temperature = 0.7
    assert truncation_note(cfg) is None
    cfg.rollout.top_p, cfg.rollout.top_k = 0.9, 20
    assert "rollout.top_p=0.9, rollout.top_k=20" in truncation_note(cfg)
    cfg.rollout.answers = "a.b"  # nothing is sampled
    assert truncation_note(cfg) is None


@pytest.mark.parametrize(
    ("dtype", "chosen", "gap", "warned"),
    [
        ("float32", None, 0.005, False),
        ("float32", None, 0.02, True),
        ("bfloat16", None, 0.02, False),
        ("bfloat16", None, 0.06, True),
        ("bfloat16", 0.01, 0.02, True),
        ("float32", 0.05, 0.02, False),
    ],
)
def test_what_is_worth_a_warning_depends_on_the_precision(dtype, chosen, gap, warned):
    said: list[str] = []
    check_mismatch(batch_of(2, 2, gap=gap), 2, SyncConfig(mismatch_warn=chosen), dtype, said.append)
    assert bool(said) == warned
