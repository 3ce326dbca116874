"""What goes wrong in real life: one clear message, a non-zero exit code, nothing left running or damaged."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

from tests.helpers.processes import SMALL, Training, train

pytestmark = pytest.mark.e2e


def test_full_disk_at_a_checkpoint(tiny_disk: Path) -> None:
    code, output, run = train(*SMALL, f"run.root={tiny_disk}", "run.name=full", "run.save_every=1")
    assert code == 1
    assert "CheckpointError: checkpoint of step 1" in output
    assert "run.resume=auto" in output
    assert "Traceback" not in output
    assert run.leaves_nothing()
    assert list((tiny_disk / "full" / "checkpoints").iterdir()) == []


def test_ctrl_c_stops_cleanly_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    """Two runs side by side, each stopped by a signal of its own."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    # At this rate the model never learns the task: a run that did would end for want of a signal.
    endless = (*SMALL, f"run.root={tmp_path}", "run.save_every=1", "steps=2000", "learner.lr=1e-9")
    runs = [Training((*endless, f"run.name={number.name}")) for number in numbers]
    for number, run in zip(numbers, runs, strict=True):
        run.wait_for(tmp_path / number.name / "samples" / "step_000003.jsonl")  # checkpoints are rotated
        run.signal(number)
    for number, run in zip(numbers, runs, strict=True):
        checkpoints = tmp_path / number.name / "checkpoints"
        code, output = run.wait()
        assert code == 130, output
        assert "stopped by the user" in output
        assert "Traceback" not in output
        assert run.leaves_nothing()
        complete = sorted(checkpoints.glob("step_*"))
        assert complete
        for folder in complete:
            assert json.loads((folder / "state.json").read_text())["step"] == int(folder.name[-6:])


def test_gpus_where_there_are_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    arguments = ("rollout.gpus_per_engine=1", "learner.gpus_per_worker=1", f"run.root={tmp_path}")
    code, output, run = train(*SMALL, *arguments)
    assert code == 1
    assert "ask for 2 GPUs, the Ray cluster has 0" in output
    assert "Traceback" not in output
    assert run.leaves_nothing()


def test_model_that_is_no_causal_language_model(tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained("rlvr/data/base_model").save_pretrained(folder)
    code, output, run = train(*SMALL, f"model.path={folder}", f"run.root={tmp_path}")
    assert code == 1
    assert "ConfigError: model.path=" in output
    assert "causal language model" in output
    assert run.leaves_nothing()


def test_an_argument_that_vllm_lacks_under_a_temporary_folder_that_suits_no_socket(tmp_path: Path) -> None:
    """Ray and its actors start all the same, and the engine's own words are the last that are said."""
    folder = tmp_path / ("with a space, odd'#?%\" and long " + "x" * 80)
    folder.mkdir()
    arguments = ("+rollout.engine_args.max_num_seqss=4", f"run.root={tmp_path}")
    code, output, run = train(*SMALL, *arguments, TMPDIR=str(folder), RAY_TMPDIR="")
    assert code == 1, output
    assert f"{folder} does not suit Ray's sockets: Ray keeps its files in /tmp/ray-" in output
    message = output.partition("ConfigError: ")[2]
    assert (
        "rollout.engine_args.max_num_seqss: vLLM has no such argument; did you mean max_num_seqs" in message
    )
    assert "memory" not in message
    assert "Traceback" not in output
    assert run.leaves_nothing()


@pytest.mark.parametrize("name", ["engine-0", "learner-1"])
def test_a_process_that_dies_ends_the_run_with_its_name(tmp_path: Path, name: str) -> None:
    # Where a rank dies the others fail, too: they wait for it inside a collective operation.
    run = Training(
        (
            *SMALL,
            f"run.root={tmp_path}",
            "run.name=dead",
            "steps=500",
            "learner.workers=2",
            "learner.lr=1e-9",
            "rollout.restarts=0",
        )
    )
    run.wait_for(tmp_path / "dead" / "samples" / "step_000001.jsonl")
    [actor] = [p for p in run.survivors() if p.environ().get("RLVR_ACTOR") == name]
    actor.kill()
    code, output = run.wait()
    assert code == 69, output  # another attempt may do better, see rlvr.cli.exits
    assert "ActorError" in output
    assert "the process behind it died" in output
    assert "Traceback" not in output
    assert run.leaves_nothing()
