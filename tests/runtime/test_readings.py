"""Evaluations between the steps of a run: blocking or in the flow, on record once, asked for again after a resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config import Config, SourceConfig
from rlvr.data.stream import EvalSet
from rlvr.errors import VerifierError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.rollout.flow.source import FlowSource
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.source import SyncSource
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.readings import evaluate_again, evaluate_between, evaluate_last, evaluate_now
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.runtime.tracking.waiting import StartConsole
from rlvr.seeding import derived_seed
from rlvr.types import Group, Prompt
from tests.helpers.memory_lanes import Graders, MemoryLanes, config, open_flow, wait_until
from tests.helpers.records import prompt, sample

STATE = TrainingState(0, 0, 0, 0.0, 0.0, {})


class Engines:
    """Answers each prompt; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], Sampling, int, str]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, *, n: int, key: str) -> list[Group]:
        self.calls.append(([p.id for p in prompts], sampling, n, key))
        return [
            Group(
                p,
                tuple(
                    replace(sample(f"{key}/{p.id}/{i}"), text="right" if i == 0 else "wrong")
                    for i in range(n)
                ),
            )
            for p in prompts
        ]


class Broken:
    """Graders that fail on everything."""

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        return {r.sample_id: Verdict(r.sample_id, Outcome.FAILED, None, "1", 0.0, "boom") for r in requests}


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    """A greedy reading of a few problems at every step, and a sampled one of all at both ends."""
    made = config()
    made.recipe, made.run.root, made.tracking.wandb, made.tracking.console = (
        "test",
        str(tmp_path),
        "off",
        "off",
    )
    few = SourceConfig(name="few", every=1, samples_per_prompt=1, temperature=0.0, first_and_last=False)
    made.data.eval = [SourceConfig(name="all", every=3), few]
    made.eval.samples_per_prompt = 2
    return made


Made = Any


@contextmanager
def session(
    cfg: Config,
    source: FlowSource | SyncSource,
    kept: list[TrainingState] | None = None,
    *,
    graders: Any = None,
) -> Iterator[Made]:
    """What evaluations need of a session; `kept` gets what would be kept after a failure."""
    folder = RunFolder(Path(cfg.run.root), "mine")
    if not folder.path.exists():
        folder.create(cfg)

    @contextmanager
    def keeping(state: TrainingState) -> Iterator[None]:
        if kept is not None:
            kept.append(state)
        yield

    yield SimpleNamespace(
        cfg=cfg,
        source=source,
        folder=folder,
        tracker=Tracker(cfg, folder, 1, StartConsole("off", dict)),
        engines=Engines(),
        graders=graders or Graders(),
        eval_sets=(
            EvalSet("all", (prompt("a"), prompt("b"), prompt("c"))),
            EvalSet("few", (prompt("a"), prompt("c"))),
        ),
        start=STATE,
        keeping=keeping,
    )
    folder.finish_dumps()
    source.close()
    folder.release()


def evaluations(s: Made) -> list[dict[str, Any]]:
    return [row for row in s.folder.read_metrics() if row["kind"] == "eval"]


def sets_of(row: dict[str, Any]) -> set[str]:
    return {key.split("/")[1] for key in row if key.startswith("eval/")}


def test_without_a_flow_training_waits_for_the_sets_that_are_due(cfg: Config) -> None:
    with session(cfg, SyncSource(lambda step, position: None, 0)) as s:  # type: ignore[arg-type,return-value]
        assert [r.name for r in evaluate_now(s, 0)] == ["all"]
        for step in range(1, cfg.steps + 1):
            state = evaluate_between(s, replace(STATE, step=step, readings=(1,)))
            assert state.readings == ()
        assert [r.name for r in evaluate_last(s, state)] == ["all"]
    rows = evaluations(s)
    assert [(row["step"], sets_of(row)) for row in rows] == [
        (0, {"all"}), (1, {"few"}), (2, {"few"}), (3, {"all", "few"}), (4, {"few"}), (5, {"few"}), (6, {"all"})
    ]  # fmt: skip
    assert not any("version" in key for row in rows for key in row)
    assert [(ids, sampling.temperature, n, key) for ids, sampling, n, key in s.engines.calls[:2]] == [
        (["a", "b", "c"], 1.0, 2, "eval-all"),
        (["a", "c"], 0.0, 1, "eval-few"),
    ]
    assert (rows[3]["eval/all/accuracy"], rows[3]["eval/few/accuracy"]) == (0.5, 1.0)


def test_in_a_flow_an_evaluation_goes_on_record_when_it_is_done_under_the_step_of_its_question(
    cfg: Config,
) -> None:
    lanes = MemoryLanes(2)
    lanes.endless = "eval-few@1"
    with session(cfg, open_flow(cfg, lanes)) as s:
        state = replace(STATE, step=1)
        state = evaluate_between(s, state)
        assert (state.readings, evaluations(s)) == ((1,), [])
        wait_until(lambda: any("eval-few@1/a/0" in list(running) for running in lanes._running))
        state = evaluate_between(s, replace(state, step=2))
        wait_until(lambda: not s.source.beside.answers.empty())
        lanes.version = 3
        state = evaluate_between(s, replace(state, step=3))
        assert state.readings == (1, 3)
        assert [row["step"] for row in evaluations(s)] == [2]
        lanes.endless = ""
        evaluate_last(s, replace(state, step=cfg.steps))
        rows = {row["step"]: row for row in evaluations(s)}
        assert len(evaluations(s)) == len(rows)
        assert rows.keys() == {1, 2, 3, 6}
        assert [rows[1][f"eval/few/{name}"] for name in ("version_first", "version_last", "accuracy")] == [
            0,
            3,
            1.0,
        ]
        assert "eval/all/version_first" not in rows[6], "the last one is of the final weights"
        asked = {request.key: request for request in lanes.asked}
        assert [asked[f"eval-all@3/b/{i}"].seed for i in range(2)] == [
            derived_seed(cfg.seed, "eval-all", "b") + i for i in range(2)
        ], "as a blocking evaluation has them"
        assert asked["eval-few@2/c/0"].sampling.temperature == 0
    assert {p.name for p in (s.folder.path / "samples").iterdir()} == {
        f"eval_{step:06d}.jsonl" for step in rows
    }


def test_what_was_under_way_at_a_checkpoint_is_asked_for_again_unless_it_is_on_record(cfg: Config) -> None:
    with session(cfg, open_flow(cfg, MemoryLanes(1))) as s:
        s.start = replace(STATE, step=4, readings=(2, 3))
        s.folder.append_metrics({"step": 2, "kind": "eval", "eval/few/version_last": 3})
        s.folder.append_metrics({"step": 3, "kind": "train"})
        evaluate_again(s)
        assert s.source.beside.reading == {3}
        evaluate_last(s, replace(STATE, step=cfg.steps))
    assert [row["step"] for row in evaluations(s)] == [2, 3, 6]


def test_without_a_flow_it_is_made_at_once(cfg: Config) -> None:
    with session(cfg, SyncSource(lambda step, position: None, 0)) as s:  # type: ignore[arg-type,return-value]
        s.start = replace(STATE, step=4, readings=(2,))
        evaluate_again(s)
        evaluate_again(s)
    [row] = evaluations(s)
    assert (row["step"], sets_of(row)) == (2, {"few"})
    assert row["eval/few/version_first"] == row["eval/few/version_last"] == 4, "of the checkpoint's weights"


@pytest.mark.parametrize("in_stream", ["auto", "never"])
def test_what_the_schedule_of_now_does_not_have_is_not_asked_for_again(cfg: Config, in_stream: str) -> None:
    cfg.eval.in_stream = in_stream
    with session(cfg, open_flow(cfg, MemoryLanes(1))) as s:
        s.start = replace(STATE, step=4, readings=(2, 3, 4))
        s.cfg.steps = 4
        for source in s.cfg.data.eval:
            source.every = 3
        evaluate_again(s)
        evaluate_last(s, replace(STATE, step=4))
    assert [row["step"] for row in evaluations(s)] == [3, 4]


def test_an_evaluation_on_which_the_verifier_failed_is_refused_and_stays_under_way(cfg: Config) -> None:
    kept = []
    with session(cfg, open_flow(cfg, MemoryLanes(1)), kept) as s:
        s.source._growing._graders = Broken()
        state = evaluate_between(s, replace(STATE, step=1))
        wait_until(lambda: not s.source.beside.answers.empty())
        with pytest.raises(VerifierError, match=r"evaluation on few: the verifier .* failed on 2 of 2"):
            evaluate_between(s, replace(state, step=2))
    assert (state.readings, evaluations(s)) == ((1,), [])
    assert kept[-1].readings == (1, 2), "that of this step is due as well"
