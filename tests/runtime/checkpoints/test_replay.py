"""Batches on record and handed out again: nothing that training reads is lost on the way."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlvr.config import Config
from rlvr.data.curriculum import learnt
from rlvr.errors import ConfigError, DataError
from rlvr.learner.packing import pack
from rlvr.runtime.beginning import find_start
from rlvr.runtime.checkpoints.replay import Recorded, ReplaySource, formed
from rlvr.runtime.disk.dumps import decimals, write_dump
from rlvr.runtime.disk.folder import BATCHES, RunFolder
from rlvr.runtime.disk.rewind import rewind
from rlvr.runtime.session import Session
from rlvr.types import Group, RolloutBatch, Span
from tests.helpers.records import group


def of_flow(place: int, rewards: list[float], versions: list[int]) -> Group:
    """A group of a flow whose tokens come from these versions, one token each."""
    made = group(f"{place}/p{place}", rewards, lengths=[len(versions)] * len(rewards))
    spans = tuple(Span(version, i, own_context=i == 0) for i, version in enumerate(versions))
    logprobs = -np.arange(1, len(versions) + 1, dtype=np.float32) / 7
    return replace(made, samples=tuple(replace(s, spans=spans, logprobs=logprobs) for s in made.samples))


BATCH = RolloutBatch(
    groups=(of_flow(5, [1.0, 0.0], [2, 3]), of_flow(2, [0.0, float("nan"), 1.0], [3])),
    dropped=(of_flow(4, [0.1 + 0.2, 0.3], [2, 4]),),
    data_position=9,
    pending=(3, 7),
    prompts_drawn=3,
    prompts_kept=2,
    rounds=1,
    short_of=1,
    skipped=2,
    generated_tokens=11,
)


def settings(**rollout: object) -> Config:
    cfg = Config(recipe="test")
    given = {"staleness": 2, "on_update": "keep", "dynamic_sampling": True}
    return replace(cfg, rollout=replace(cfg.rollout, **given | rollout))


def record(run: Path, steps: dict[int, RolloutBatch], cfg: Config) -> Recorded:
    """The folder of a run with these batches."""
    folder = RunFolder(run.parent, run.name)
    folder.create(cfg)
    for step, batch in steps.items():
        folder.append_batch(asdict(formed(step, batch)))
        write_dump(
            run / "samples", f"step_{step:06d}", [*batch.groups, *batch.dropped], compress=step % 2 == 0
        )
    folder.release()
    return Recorded(run)


def test_a_batch_comes_back_as_it_was(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH, 2: BATCH}, settings())
    for step in (1, 2):
        again = recorded.batch(step)
        assert replace(again, groups=(), dropped=()) == replace(BATCH, groups=(), dropped=())
        for old, new in zip((*BATCH.groups, *BATCH.dropped), (*again.groups, *again.dropped), strict=True):
            assert new.prompt.token_ids == old.prompt.token_ids
            for a, b in zip(old.samples, new.samples, strict=True):
                assert (a.id, a.token_ids, a.text, a.spans, a.in_loss, a.correct, a.failed) == (
                    b.id, b.token_ids, b.text, b.spans, b.in_loss, b.correct, b.failed
                )  # fmt: skip
                np.testing.assert_array_equal(a.reward, b.reward)
                assert b.logprobs.dtype == np.float32
        old, new = pack(BATCH.groups), pack(again.groups)
        for name in ("rollout_logp", "weight_version", "own_context", "reward", "in_loss", "response_ids"):
            np.testing.assert_array_equal(getattr(old, name), getattr(new, name), err_msg=name)


def test_a_context_that_was_computed_again_is_the_tokens_own(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH}, settings(on_update="recompute"))
    assert all(s.own_context.all() for g in recorded.batch(1).groups for s in g.samples)


@given(arrays(np.float32, 20, elements=st.floats(-100, 0, width=32)))
def test_log_probs_keep_every_bit(values: np.ndarray) -> None:
    again = np.asarray(json.loads(json.dumps(decimals(values))), dtype=np.float32)
    np.testing.assert_array_equal(again, values)
    assert all(len(repr(value).lstrip("-")) <= 15 for value in decimals(values))


def test_steps_that_are_not_there_are_refused(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH, 2: BATCH}, settings())
    recorded.check(1, 2)
    with pytest.raises(ConfigError, match="steps 1 to 2, not of step 3; set steps to at most 2"):
        recorded.check(1, 3)
    (tmp_path / "run" / "samples" / "step_000001.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"no samples of step 1; .*run.dump_samples_every=1"):
        recorded.check(1, 2)
    recorded.check(2, 2)
    with pytest.raises(ConfigError, match=f"no run's folder with {BATCHES}"):
        Recorded(tmp_path)
    (tmp_path / "run" / BATCHES).rename(tmp_path / "batches")  # of a run that has not come to a batch
    with pytest.raises(ConfigError, match=f"no run's folder with {BATCHES}"):
        Recorded(tmp_path / "run")
    (tmp_path / "batches").rename(tmp_path / "run" / BATCHES)
    (tmp_path / "run" / "config.yaml").write_text("seed: [1")
    with pytest.raises(ConfigError, match=r"its config\.yaml cannot be read"):
        Recorded(tmp_path / "run")


def test_records_of_another_version_and_lost_samples_are_refused(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH}, settings())
    (tmp_path / "run" / "samples" / "step_000001.jsonl").unlink()
    with pytest.raises(DataError, match="samples of step 1 are gone"):
        recorded.batch(1)
    (tmp_path / "run" / BATCHES).write_text('{"step": 1, "mood": "good"}\n')
    with pytest.raises(ConfigError, match="of another version of rlvr"):
        Recorded(tmp_path / "run")


def test_files_of_different_runs_are_refused(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH}, settings())
    write_dump(tmp_path / "run" / "samples", "step_000001", BATCH.groups[::-1], compress=False)
    with pytest.raises(DataError, match="the files are of different runs"):
        recorded.batch(1)
    (tmp_path / "run" / "samples" / "step_000001.jsonl").write_text('{"sample_id": "5/p5/0"}\n')
    with pytest.raises(DataError, match="cannot be replayed"):
        recorded.batch(1)


def test_a_dump_that_was_cut_between_two_lines_is_refused(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH}, settings())
    dump = tmp_path / "run" / "samples" / "step_000001.jsonl"
    dump.write_text("".join(dump.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"step_000001\.jsonl: has \d+ samples where .*put the file back"):
        recorded.batch(1)


def test_a_run_cannot_replay_itself(tmp_path: Path) -> None:
    run = tmp_path / "run"
    record(run, {1: BATCH}, settings())
    with pytest.raises(ConfigError, match="this run's own folder"):
        find_start(settings(replay=str(run)), RunFolder(tmp_path, "run"), SimpleNamespace(seen=None), {})


@pytest.mark.slow
def test_what_differs_from_the_recorded_run_is_said(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH}, settings())
    said: list[str] = []
    ReplaySource(recorded, settings(replay="x"), {}, said.append)
    other = settings()
    other = replace(other, learner=replace(other.learner, lr=0.5))
    ReplaySource(recorded, other, {}, said.append)
    assert said[0].endswith("Settings: the same")
    assert f"learner.lr was {Config().learner.lr!r}, is 0.5" in said[1]


@pytest.mark.slow
def test_what_the_curriculum_knows_goes_on(tmp_path: Path) -> None:
    recorded = record(tmp_path / "run", {1: BATCH, 2: BATCH}, settings())
    cfg = settings(replay="x")
    cfg = replace(cfg, data=replace(cfg.data, sampler="prioritized"))
    source = ReplaySource(recorded, cfg, {}, lambda said: None)
    first, second = source.next(1).successes, source.next(2).successes
    assert first == learnt({}, (*BATCH.groups, *BATCH.dropped), cfg) != {}
    assert second == learnt(first, (*BATCH.groups, *BATCH.dropped), cfg) != first


def test_a_run_that_goes_back_forgets_the_batches_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    record(run, {1: BATCH, 2: BATCH}, settings())
    with (run / BATCHES).open("a") as file:
        file.write('{"step": 3, "gro')  # cut short by a kill
    assert set(Recorded(run).steps) == {1, 2}
    rewind(RunFolder(tmp_path, "run"), 1)
    assert set(Recorded(run).steps) == {1}


def test_a_session_records_every_batch_and_dumps_what_is_due(tmp_path: Path) -> None:
    cfg = settings()
    cfg.run.dump_samples_every = 2
    folder = RunFolder(tmp_path, "run")
    folder.create(cfg)
    for step in (1, 2):
        Session.dump(SimpleNamespace(cfg=cfg, folder=folder), step, BATCH.groups, BATCH)
    folder.finish_dumps()
    recorded = Recorded(tmp_path / "run")
    assert set(recorded.steps) == {1, 2}
    assert recorded.batch(2).pending == BATCH.pending
    recorded.check(2, 2)
    with pytest.raises(ConfigError, match="no samples of step 1"):
        recorded.check(1, 2)
