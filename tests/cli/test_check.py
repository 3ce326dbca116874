"""`rlvr check`: what it shows of a run that can work, and what it refuses; neither Ray nor an engine is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.cli.check import Trial, check, graded, needs, refuse_misjudged
from rlvr.config import Config, SourceConfig
from rlvr.errors import ConfigError
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.types import Problem, Prompt


def config() -> Config:
    cfg = Config(recipe="grpo")
    cfg.data.eval = [SourceConfig(name="arithmetic_heldout", limit=4)]
    return cfg


def trial(itself: Outcome, wrong: Outcome) -> Trial:
    verdicts = [Verdict("p", outcome, None, "7", 0.0, "why") for outcome in (itself, wrong)]
    return Trial("p", "7", *verdicts)


@pytest.mark.slow
def test_a_good_run_is_shown_whole(capsys):
    known = set(sys.modules)  # other tests of this process may need them
    check(config())
    said = capsys.readouterr().out
    assert "train arithmetic: made as they are needed, without end" in said
    assert "eval arithmetic_heldout: 4 problems" in said
    assert said.count("itself correct, -987654321 wrong") == 3
    assert "16 prompts -> 256 samples -> 4 updates of 64 samples" in said
    assert "1 driver, 1 engine(s) on 1 rank(s), 1 learner(s), 1 grader(s); no GPU" in said
    assert "nothing speaks against this run" in said
    assert not {"ray", "vllm", "deepspeed"} & (set(sys.modules) - known)


@pytest.mark.slow
def test_the_prompt_is_shown_as_text_and_as_tokens(tmp_path, capsys):
    rows = [{"question": f"{n}+1=?", "answer": str(n + 1)} for n in range(5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cfg = config()
    cfg.data.train = SourceConfig(name="mine", path=str(tmp_path / "rows.jsonl"), limit=1)
    check(cfg)
    said = capsys.readouterr().out
    assert "train mine: 1 problems" in said
    assert "text    '0+1=?'" in said
    assert "tokens  5: " in said
    assert "'+'" in said


@pytest.mark.slow
def test_every_source_of_a_mixture_is_shown_with_its_verifier_and_its_prompt(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"question": "0+1=?", "answer": "1"}\n')
    cfg = config()
    own = SourceConfig(
        name="mine", path=str(tmp_path / "rows.jsonl"), verifier="last_number", template="so {question}"
    )
    cfg.data.train = SourceConfig(sources=[SourceConfig(name="arithmetic", weight=3), own])
    check(cfg)
    said = capsys.readouterr().out
    assert "train arithmetic (75% of the prompts): made as they are needed" in said
    assert "train mine (25% of the prompts): 1 problems" in said
    assert "arithmetic: math-verify, policy last_box" in said
    assert "mine: last_number" in said
    assert [said.count(f"\n  {name}") for name in ("arithmetic/train/1/", "mine/rows/")] == [3, 1]
    assert "prompt         arithmetic/train/1/0, template plain" in said
    assert "prompt         mine/rows/1, template so {question}" in said
    assert "text    'so 0+1=?'" in said


@pytest.mark.slow
def test_an_answer_that_wants_no_box_is_tried_bare():
    cfg = config()
    cfg.reward.verifier = "exact"
    rows = [Prompt(Problem(id="r", question="q", answer="a cat", source="t"), (1,))]
    [trial] = graded(cfg, rows)
    assert (trial.itself.outcome, trial.wrong.outcome) == (Outcome.CORRECT, Outcome.WRONG)
    cfg.reward.policy = "whole"
    assert graded(cfg, rows)[0].itself.correct


@pytest.mark.slow
@pytest.mark.parametrize(("there", "lacks"), [((), "bash"), (("bash",), "lscpu")])
def test_a_machine_that_the_run_would_be_refused_on_is_told_last(tmp_path, monkeypatch, capsys, there, lacks):
    for name in there:
        (tmp_path / name).symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=f"no {lacks} is in PATH={tmp_path}"):
        check(config())
    said = capsys.readouterr().out
    assert "plan  " in said
    assert "nothing speaks against" not in said
    joining = config()
    joining.cluster.address = "auto"
    check(joining)
    assert "nothing speaks against this run" in capsys.readouterr().out


def test_data_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "q"}\n')
    cfg = config()
    cfg.data.train = SourceConfig(name="mine", path=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigError, match="row 1, column 'answer'"):
        check(cfg)


def test_a_misjudging_grader_of_ours_is_refused_and_ones_own_is_a_note():
    own = config()
    own.reward.verifier = "mine:grade"
    fine = trial(Outcome.CORRECT, Outcome.WRONG)
    assert refuse_misjudged(config(), [fine]) == []
    odd = [trial(Outcome.WRONG, Outcome.WRONG), trial(Outcome.CORRECT, Outcome.CORRECT)]
    with pytest.raises(
        ConfigError, match=r"own answer '7' is graded wrong.*\n.*-987654321 is graded correct"
    ):
        refuse_misjudged(config(), odd)
    assert len(refuse_misjudged(own, odd)) == 2
    for cfg in (config(), own):
        with pytest.raises(ConfigError, match="the verifier failed on its own answer '7': why"):
            refuse_misjudged(cfg, [trial(Outcome.FAILED, Outcome.WRONG)])


def test_rows_are_graded_by_the_runs_own_verifier(tmp_path, monkeypatch):
    (tmp_path / "parity.py").write_text(
        "def same(gold, response): return int(gold) % 2 == int(response[7:-1]) % 2\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the grader's workers are processes of their own
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = config()
    cfg.reward.verifier = "parity:same"
    prompts = [Prompt(Problem(id=answer, question="q", answer=answer, source="t"), (1,)) for answer in "34"]
    odd, even = graded(cfg, prompts)
    assert odd.itself.correct
    assert odd.wrong.correct  # odd as well: a note
    assert even.itself.correct
    assert not even.wrong.correct
    [note] = refuse_misjudged(cfg, [odd, even])
    assert note.startswith("row 3: -987654321 is graded correct")


@pytest.mark.slow
def test_the_command_ends_with_1_and_clear_words():
    command = [sys.executable, "-m", "rlvr", "check", "recipe=grpo", "data=local"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert "ConfigError: data.train.path: data=local leaves it to you" in done.stderr
    assert "Traceback" not in done.stderr


def test_gpus_are_counted():
    cfg = config()
    cfg.rollout.engines, cfg.rollout.tensor_parallel, cfg.rollout.gpus_per_engine = 2, 2, 1.0
    cfg.learner.workers, cfg.learner.gpus_per_worker = 4, 1.0
    assert needs(cfg).startswith("1 driver, 2 engine(s) on 4 rank(s), 4 learner(s), 1 grader(s); 8 GPU(s)")


@pytest.mark.slow
def test_a_verifier_in_the_folder_of_the_command_is_found(tmp_path):
    """As installed, not as a module: then Python itself puts that folder in front."""
    (tmp_path / "mine.py").write_text("def holds(gold, response):\n    return gold in response\n")
    program = Path(sys.executable).with_name("rlvr")
    done = subprocess.run(
        [program, "check", "recipe=grpo", "reward.verifier=mine:holds"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine:holds" in done.stdout
