"""`rlvr export`: a folder that transformers loads, from a checkpoint or a finished run, with a card of facts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.analysis.models import load_causal_lm
from rlvr.analysis.run import read_run
from rlvr.cli.export import export, parse
from rlvr.cli.model_card import Accuracy, accuracies, model_card
from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import CheckpointError, ConfigError, RlvrError
from rlvr.locks import exclusive
from rlvr.runtime.disk.folder import RunFolder
from tests.helpers.disks import small_disk
from tests.helpers.exports import FIGURES, run_with_checkpoint, weights
from tests.helpers.families import FAMILIES, make_model
from tests.helpers.models import tied_model
from tests.helpers.report_cases import write_training


@pytest.mark.parametrize(
    "family", ["builtin", "tied", *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES)]
)
def test_a_checkpoint_becomes_a_folder_that_transformers_loads(tmp_path, family):
    if family in FAMILIES:
        base = make_model(FAMILIES[family], tmp_path / "base")
    else:
        base = tied_model(tmp_path / "base", "qwen2") if family == "tied" else "builtin"
    checkpoint = run_with_checkpoint(tmp_path, model=base)
    target = export(checkpoint, tmp_path / "out")
    ends = [
        AutoModelForCausalLM.from_pretrained(f).generation_config.eos_token_id
        for f in (target, model_folder(base))
    ]
    assert ends[0] == ends[1]
    assert target == tmp_path / "out"
    found, started_from = weights(target), weights(model_folder(base))
    assert set(found) == set(started_from)
    assert all(torch.equal(found[name], value * 1.25) for name, value in started_from.items())
    tokenizer, original = (AutoTokenizer.from_pretrained(f) for f in (target, model_folder(base)))
    assert tokenizer.get_vocab() == original.get_vocab()
    assert not list(tmp_path.glob(".*.draft"))


@pytest.mark.slow
def test_the_command_prints_one_line_and_no_library_prints_any(tmp_path):
    # A process of its own: DeepSpeed speaks once, as it is imported.
    command = [sys.executable, "-m", "rlvr.cli.export", str(run_with_checkpoint(tmp_path))]
    variables = {name: text for name, text in os.environ.items() if name != "DS_ACCELERATOR"}
    done = subprocess.run(
        [*command, f"output={tmp_path / 'out'}"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout == f"model, tokenizer and README.md in {tmp_path / 'out'}\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_the_card_has_what_the_runs_files_say(tmp_path):
    card = (export(run_with_checkpoint(tmp_path), tmp_path / "out") / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "base_model" not in card  # the built-in model is on no hub
    for line in (
        "# mine, step 4",
        "| base | builtin |",
        "| recipe | grpo |",
        "| steps | 4 of 9 |",
        "| seed | 3 |",
        "| data | mine (rows.jsonl) |",
        "| held | 0.250 (95 %: 0.125 to 0.500) | 0.375 (95 %: 0.125 to 0.500) |",
        "4 response(s) to each problem at temperature 1, top_p 1; intervals are clustered by problem.",
        'AutoModelForCausalLM.from_pretrained(".")',
    ):
        assert line in card
    assert "versions" not in card  # of a finished run only


def test_the_card_has_a_set_whose_name_has_a_slash(tmp_path):
    """As those of the hub have."""
    folder = write_training(tmp_path, "done")
    row = {"eval/org/held/accuracy": 0.25, "eval/org/held/ci_low": 0.125, "eval/org/held/ci_high": 0.5}
    RunFolder(tmp_path, "done").append_metrics({"step": 9, "kind": "eval", **row})
    assert accuracies(read_run(folder), 9) == [Accuracy("org/held", 0.25, 0.125, 0.5)]
    assert "| org/held | - | 0.250 (95 %: 0.125 to 0.500) |" in model_card(read_run(folder), 9)


def test_the_card_has_how_each_set_was_sampled_and_what_ended_a_response(tmp_path):
    folder = write_training(tmp_path, "done")
    cfg = OmegaConf.load(folder / "config.yaml")
    few = {"name": "held", "label": "few", "samples_per_prompt": 1, "temperature": 0}
    cfg.data.eval = [{"name": "held"}, few]
    cfg.data.train.sources = [{"name": "a", "template": "chat"}, {"name": "b", "template": "dapo"}]
    cfg.rollout.stop = ["</answer>", "\n\n"]
    OmegaConf.save(cfg, folder / "config.yaml")
    row = {name.replace("held", own): value for name, value in FIGURES.items() for own in ("held", "few")}
    RunFolder(tmp_path, "done").append_metrics({"step": 9, "kind": "eval", **row})
    card = model_card(read_run(folder), 9)
    assert (
        "held: 4 response(s) to each problem at temperature 1, top_p 1; few: 1 response(s) to each problem at "
        "temperature 0, top_p 1; intervals"
    ) in card
    assert (
        "`tokenizer.apply_chat_template`) and as the template `dapo` of rlvr writes it, with responses"
        in card
    )
    assert r"The texts `'</answer>'`, `'\n\n'` ended a response there" in card


def test_a_set_that_lost_its_interval_is_left_out_of_the_card(tmp_path):
    """In a file of metrics that somebody edited."""
    folder = write_training(tmp_path, "done")
    row = {
        "eval/held/accuracy": 0.25,
        "eval/other/accuracy": 0.5,
        "eval/other/ci_low": 0,
        "eval/other/ci_high": 1,
    }
    RunFolder(tmp_path, "done").append_metrics({"step": 9, "kind": "eval", **row})
    assert accuracies(read_run(folder), 9) == [Accuracy("other", 0.5, 0, 1)]


@pytest.mark.slow
def test_a_step_without_an_evaluation_says_so(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path)
    metrics = tmp_path / "mine" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines()[0] + "\n")
    card = (export(checkpoint, tmp_path / "out") / "README.md").read_text()
    assert "The run was not evaluated after step 4." in card


@pytest.mark.slow
def test_a_run_stands_for_its_policy_and_an_unfinished_one_for_its_newest_checkpoint(tmp_path):
    run_with_checkpoint(tmp_path)
    assert export(tmp_path / "mine") == tmp_path / "mine" / "export" / "step_000004"
    run = write_training(tmp_path, "done")
    with pytest.raises(ConfigError, match="neither a finished policy nor a checkpoint"):
        export(run)
    AutoModelForCausalLM.from_pretrained(model_folder("builtin")).save_pretrained(run / "policy")
    for named in (run, run / "policy"):
        target = export(named, tmp_path / f"out_{named.name}")
        card = (target / "README.md").read_text()
        assert "# done, step 6" in card
        assert "rlvr 0.1.0" in card
        assert "tokens generated in training | 12345" in card
        assert weights(target).keys() == weights(model_folder("builtin")).keys()


def test_a_hub_base_is_named_for_the_hub(tmp_path):
    run = write_training(tmp_path, "done")
    cfg = OmegaConf.load(run / "config.yaml")
    cfg.model.path = "some/base"
    OmegaConf.save(cfg, run / "config.yaml")
    from rlvr.analysis.run import load_run
    from rlvr.cli.model_card import model_card

    assert "\nbase_model: some/base\n" in model_card(load_run(run), 6)


def test_what_cannot_be_exported_is_refused(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path, zero_stage=3)  # and yet in one file
    with pytest.raises(CheckpointError, match=r"mp_rank_00_model_states.pt is not a model state checkpoint"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (checkpoint / "deepspeed" / "mp_rank_00_model_states.pt").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="has 3 bytes, was written with"):
        export(checkpoint, tmp_path / "out")
    with pytest.raises(ConfigError, match="not the folder of a training run"):
        export(tmp_path)


@pytest.mark.slow
def test_an_output_that_holds_something_is_left_alone(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        export(checkpoint, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["policy", "checkpoint"])
def test_a_disk_that_is_full_is_one_sentence_and_leaves_nothing(tmp_path, source):
    named = run_with_checkpoint(tmp_path)
    if source == "policy":
        named = export(named, write_training(tmp_path, "done") / "policy").parent
    with small_disk(tmp_path / "small", "1m") as disk:
        with pytest.raises(RlvrError, match=r"output=.*out: cannot be written .*No space left") as caught:
            export(named, disk / "out")
        assert str(caught.value).count("No space left") == 1
        assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_two_exports_do_not_write_one_folder_and_a_killed_one_is_in_nobodys_way(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path)
    left = tmp_path / ".out.draft" / "model" / "half.safetensors"
    with exclusive(tmp_path / ".out.draft"):
        left.parent.mkdir()
        left.touch()
        with pytest.raises(
            ConfigError, match=r"output=.*out: another process is writing to .*another output"
        ):
            export(checkpoint, tmp_path / "out")
        assert left.exists()
    target = export(checkpoint, tmp_path / "out")
    assert not (target / left.name).exists()
    assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one folder"),
        (["a", "b"], "name one folder"),
        (["a", "out=b"], "out=b: there is no such option"),
        (["a", "output="], "has no value"),
    ],
)
def test_a_command_line_that_says_too_little_or_too_much(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse(arguments)
    assert parse(["a", "output=b"]) == (Path("a"), Path("b"))


def test_an_exported_policy_that_was_cut_short_is_not_handed_on(tmp_path):
    policy = write_training(tmp_path, "done") / "policy"
    shutil.copytree(model_folder("builtin"), policy)
    weights_file = policy / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-1])
    with pytest.raises(
        ConfigError, match=r"model\.safetensors has \d+ bytes, .*give a checkpoint of the run"
    ):
        export(policy.parent, tmp_path / "out")


def test_an_exported_policy_without_weights_is_not_handed_on(tmp_path):
    policy = write_training(tmp_path, "done") / "policy"
    shutil.copytree(model_folder("builtin"), policy)
    (policy / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"policy has no weights, .*give a checkpoint of the run"):
        export(policy.parent, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_of_generation_that_transformers_would_not_write_do_not_cost_the_model(tmp_path):
    base = Path(shutil.copytree(model_folder("builtin"), tmp_path / "base"))
    settings = {
        "temperature": 0.6,
        "top_p": 0.9,
        "eos_token_id": [1, 2],
    }  # without do_sample, as many models have it
    (base / "generation_config.json").write_text(json.dumps(settings))
    target = export(run_with_checkpoint(tmp_path, model=str(base)), tmp_path / "out")
    assert settings.items() <= json.loads((target / "generation_config.json").read_text()).items()
    assert weights(target).keys() == weights(base).keys()


def test_a_policy_ends_where_its_responses_ended_in_the_run(tmp_path):
    base = Path(shutil.copytree(model_folder("builtin"), tmp_path / "base"))
    (base / "generation_config.json").write_text('{"eos_token_id": 3}')  # where the tokenizer ends with 1
    target = export(run_with_checkpoint(tmp_path, model=str(base)), tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(target)
    assert loaded.generation_config.eos_token_id == [3, 1]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("deepspeed/mp_rank_00_model_states.pt", b""),
        ("deepspeed/mp_rank_00_model_states.pt", b"PK\x03\x04 cut"),
        ("state.json", b"{}"),
        ("state.json", b'{"step": 4, "da'),
        ("config.yaml", b"seed: [1"),
    ],
)
def test_a_damaged_checkpoint_without_a_manifest_is_one_clear_error(tmp_path, file, content):
    checkpoint = run_with_checkpoint(tmp_path)
    (checkpoint / "manifest.json").unlink()
    (checkpoint / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"(?s)step_000004: cannot be read \(.*put its files back"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_analysis_reads_no_checkpoint_that_has_been_damaged_since(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path)
    saved = checkpoint / "deepspeed" / "mp_rank_00_model_states.pt"
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"mp_rank_00_model_states\.pt has \d+ bytes, was written with"):
        load_causal_lm(str(checkpoint), Config(recipe="grpo").model, "cpu")


def test_a_checkpoint_without_its_state_is_named_as_one(tmp_path):
    checkpoint = run_with_checkpoint(tmp_path)
    (checkpoint / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"step_000004: cannot be read \(state\.json is missing\)"):
        export(checkpoint, tmp_path / "out")
