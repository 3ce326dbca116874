"""Steps that cannot be learned from: why, the remedies in order, and what is on disk when the run has stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config import Config
from rlvr.errors import EmptyBatchError, RlvrError, VerifierError
from rlvr.reward.failures import check_failures, graded_pairs
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.rollout.diagnose import diagnose, remedies
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.session import Session
from rlvr.types import Group, RolloutBatch, Sample
from tests.helpers.records import prompt, rollout_of, sample

RIGHT, WRONG, NONE, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER, Outcome.FAILED


def graded(outcome: Outcome, count: int, *, truncated: bool = False, detail: str = "") -> list[Sample]:
    """Samples with this verdict."""
    made = [
        sample(f"{outcome}{truncated}/{i}", correct=False, failed=outcome is FAILED, truncated=truncated)
        for i in range(count)
    ]
    return [
        replace(s, text=f"I think\nit is {i}.", verdict=Verdict(s.id, outcome, None, "1", 0.0, detail))
        for i, s in enumerate(made)
    ]


def rollout(*groups: Sequence[Sample], kept: bool = False) -> RolloutBatch:
    """A step of these groups, which dynamic sampling has kept or dropped."""
    made = tuple(Group(prompt(f"p{i}"), tuple(samples)) for i, samples in enumerate(groups))
    return rollout_of(made) if kept else replace(rollout_of(()), dropped=made, prompts_drawn=len(made))


@pytest.fixture
def cfg() -> Config:
    made = Config(recipe="test")
    made.rollout.dynamic_sampling = True
    return made


# The diagnosis


def test_an_instruct_model_that_does_not_box_its_answers(cfg: Config):
    samples = graded(NONE, 62, truncated=True) + graded(NONE, 18)
    said = diagnose(samples, cfg)
    assert "of 80 responses: 80 without an answer (100%), 62 truncated at the response limit (78%)" in said
    first, second = remedies(samples, cfg)
    assert "data.template" in first
    assert "reward.policy=last_box_or_unboxed" in first
    assert "rollout.max_response_tokens=64" in second
    assert "For example no_answerTrue/0 (no_answer, truncated): 'I think it is 0.'" in said


@pytest.mark.parametrize(
    ("samples", "first", "others"),
    [
        # Nothing but cut-off responses says nothing about the template.
        (graded(NONE, 8, truncated=True), "max_response_tokens", ["data.template"]),
        # Those that ended did answer, so the template is no suspect of the rest.
        (graded(NONE, 6, truncated=True) + graded(WRONG, 2), "max_response_tokens", ["too hard"]),
        (graded(WRONG, 8), "too hard", []),
        (graded(RIGHT, 8), "too easy", []),
        (graded(RIGHT, 4) + graded(WRONG, 4), "rollout.max_rounds=3 and continue", ["too hard", "too easy"]),
        (graded(WRONG, 7) + graded(NONE, 1), "too hard", ["data.template"]),
        (graded(FAILED, 5) + graded(WRONG, 3), "mend the verifier", ["too hard"]),
    ],
)
def test_the_most_likely_remedy_comes_first(cfg: Config, samples, first, others):
    found = remedies(samples, cfg)
    assert first in found[0]
    assert len(found) == min(3, 1 + len(others))
    assert {other for other in others if any(other in text for text in found[1:])} == set(others)


def test_advice_fits_what_is_set_already(cfg: Config):
    cfg.reward.policy = "last_box_or_unboxed"
    assert "or set reward.policy" not in remedies(graded(NONE, 2), cfg)[0]
    cfg.reward.verifier = "mine:verify"
    assert "reward.verifier=mine:verify" in remedies(graded(NONE, 2), cfg)[0]
    cfg.reward.verifier, cfg.data.train.verifier = None, "instruction"
    assert "instruction (source arithmetic)" in remedies(graded(NONE, 2), cfg)[0]


# The limit


def check(cfg: Config, *samples: Sample) -> None:
    check_failures(
        graded_pairs([Group(prompt("p"), samples)]), cfg.reward, where="step 7", kept="Kept.", remedy="go on."
    )


def test_failures_up_to_the_limit_pass(cfg: Config):
    check(cfg, *graded(FAILED, 1), *graded(WRONG, 9))
    with pytest.raises(VerifierError, match=r"step 7.*failed on 2 of 11 responses.*max_failed=0\.1"):
        check(cfg, *graded(FAILED, 2), *graded(WRONG, 9))
    cfg.reward.max_failed = 0.0
    check(cfg, *graded(WRONG, 9))
    with pytest.raises(VerifierError):
        check(cfg, *graded(FAILED, 1), *graded(WRONG, 999))
    cfg.reward.max_failed = 1.0
    check(cfg, *graded(FAILED, 9), *graded(WRONG, 1))
    with pytest.raises(VerifierError, match="failed on 3 of 3"):  # no limit makes a verdict of nothing
        check(cfg, *graded(FAILED, 3))


def test_the_message_shows_failures_and_what_to_mend(cfg: Config):
    cfg.reward.verifier = "mine:verify"
    late = replace(graded(FAILED, 1)[0], id="late")
    late = replace(
        late, verdict=replace(late.verdict, outcome=Outcome.TIMED_OUT, detail="no verdict within 5 s")
    )
    with pytest.raises(VerifierError) as caught:
        check(cfg, late, *graded(FAILED, 4, detail="the grader raised ValueError: boom"))
    said = str(caught.value)
    assert "reward.verifier=mine:verify" in said
    assert "failed on 5 of 5 responses (100.0%; 1 of them timed out)" in said
    assert "late: timed_out, no verdict within 5 s" in said
    assert "failedFalse/0: failed, the grader raised ValueError: boom" in said
    assert "gold '1', response 'I think it is 0.'" in said
    assert "failedFalse/2" not in said  # the first three are enough
    assert "reward.deadline_seconds=5" in said
    assert said.endswith("go on.")


# What a run does


class Learner:
    """Saves a file."""

    def save(self, folder: str) -> None:
        Path(folder, "saved").write_text("weights")


def session(cfg: Config, folder: RunFolder, notes: list[str]) -> Session:
    """A session with a real folder, started after step 2."""
    parts: dict[str, Any] = dict.fromkeys(Session.__dataclass_fields__) | {"diagnosed": False}
    start = TrainingState(2, 0, 0, 0.0, 0.0, {})
    tracker = SimpleNamespace(note=notes.append)
    return Session(
        **parts | {"cfg": cfg, "folder": folder, "tracker": tracker, "learner": Learner(), "start": start}
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (rollout(graded(RIGHT, 2), graded(NONE, 4)), EmptyBatchError),
        (rollout(graded(FAILED, 3) + graded(WRONG, 3)), VerifierError),
        (rollout(graded(FAILED, 3) + graded(WRONG, 3) + graded(RIGHT, 1), kept=True), VerifierError),
    ],
)
def test_a_run_that_stops_leaves_the_responses_and_what_it_has_learnt(tmp_path: Path, cfg, step, expected):
    folder, notes = RunFolder(tmp_path, "mine"), []
    folder.create(cfg)
    cfg.run.dump_samples_every = 0  # these are written all the same
    s = session(cfg, folder, notes)
    dump = folder.path / "samples" / "step_000005.jsonl"
    with pytest.raises(expected, match="step 5") as caught:
        s.check_rollout(5, step, replace(s.start, step=4))
    assert str(dump) in str(caught.value)
    assert isinstance(caught.value, RlvrError)
    written = [json.loads(line) for line in dump.read_text().splitlines()]
    assert {row["sample_id"] for row in written} == {x.id for x in step.samples}
    assert all((row["reward"] is None) == (row["verdict"] == "failed") for row in written)
    assert (folder.checkpoints / "step_000004" / "saved").exists()
    assert notes == []  # no word about training on

    with pytest.raises(expected):  # nothing has been learnt since the start: no checkpoint of it
        session(cfg, folder, notes).check_rollout(3, step, s.start)
    assert not (folder.checkpoints / "step_000002").exists()


def test_an_evaluation_that_stops_a_run_keeps_what_it_has_learnt(tmp_path: Path, cfg: Config):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    s = session(cfg, folder, [])
    with pytest.raises(VerifierError), s.keeping(replace(s.start, step=4)):
        check(cfg, *graded(FAILED, 1))
    assert (folder.checkpoints / "step_000004" / "saved").exists()


def test_a_step_without_signal_that_is_trained_on_says_so(tmp_path: Path, cfg: Config):
    cfg.rollout.dynamic_sampling = False
    cfg.run.dump_samples_every = 0  # the first such step is written all the same
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    s = session(cfg, folder, notes := [])
    state = replace(s.start, step=4)
    same = [replace(x, reward=0.0) for x in graded(NONE, 3) + graded(NONE, 1, truncated=True)]
    s.check_rollout(5, rollout(same, same, kept=True), state)
    dump = folder.path / "samples" / "step_000005.jsonl"
    assert len(notes) == 1
    assert "step 5: no group's rewards differ" in notes[0]
    assert "8 without an answer (100%)" in notes[0]
    assert notes[0].index("1. choose a data.template") < notes[0].index("2. raise rollout.max_response")
    assert notes[0].endswith(f"The step's responses are in {dump}.")
    assert len(dump.read_text().splitlines()) == 8

    s.check_rollout(6, rollout(same, same, kept=True), state)  # from now on in short
    assert "step 6: no group's rewards differ" in notes[1]
    assert "Most likely: choose a data.template" in notes[1]
    assert "\n" not in notes[1]
    assert not dump.with_name("step_000006.jsonl").exists()
    wrong = replace(graded(WRONG, 1)[0], reward=0.0)
    s.check_rollout(5, rollout([replace(wrong, reward=1.0), same[1]], kept=True), state)
    cfg.loss.objective = "nll"  # reads no advantage
    s.check_rollout(5, rollout(same, kept=True), state)
    assert len(notes) == 2


def test_a_model_that_never_answers_is_told_so_even_where_rewards_differ_by_length(
    tmp_path: Path, cfg: Config
):
    folder = RunFolder(tmp_path, "mine")
    folder.create(cfg)
    s = session(cfg, folder, notes := [])
    unboxed = [replace(x, reward=-0.1 * i) for i, x in enumerate(graded(NONE, 4))]
    s.check_rollout(1, rollout(unboxed, kept=True), s.start)
    assert "step 1: no response has an answer, so rewards differ by length alone" in notes[0]
    assert "1. choose a data.template" in notes[0]
