"""The examples do what they say: plug-in, verifier, model and data, notebook."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr.advantage.token import build_plugin, token_advantage
from rlvr.config import SourceConfig
from rlvr.data.sources import load_problems
from rlvr.errors import ConfigError
from rlvr.reward.verdict import GradeRequest, Outcome
from rlvr.reward.workers.pool import GraderPool
from rlvr.runtime.inputs import read_inputs
from rlvr.types import Problem, TokenSignals
from rlvr.validate import validate
from tests.helpers.batches import small_batch
from tests.helpers.composing import composed
from tests.helpers.pages import commands
from tests.helpers.paths import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(autouse=True)
def in_the_folder_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def shown_commands(file: str) -> list[list[str]]:
    """The trainings that an example's docstring shows, as arguments."""
    text = (EXAMPLES / file).read_text()
    return [
        shlex.split(line)[3:]
        for line in re.findall(r"^    (python -m rlvr\.train .*)$", text.replace("\\\\\n", ""), re.MULTILINE)
    ]


def test_the_table_names_every_example() -> None:
    named = set(re.findall(r"`examples/(\w+\.\w+)`", (EXAMPLES / "README.md").read_text()))
    assert named == {file.name for file in EXAMPLES.iterdir() if file.suffix in (".py", ".ipynb")}


def test_the_row_of_the_row_verifier_is_read(tmp_path: Path) -> None:
    [row] = re.findall(r"A row is (\{.*?\});", (EXAMPLES / "own_row_verifier.py").read_text())
    (tmp_path / "rows.jsonl").write_text(row)
    [problem] = load_problems(SourceConfig(name="mine", path=str(tmp_path / "rows.jsonl"))).problems
    assert problem.columns["keywords"] == ["tide", "harbour"]


def test_the_weighting_of_tokens() -> None:
    plugin = build_plugin("own_plugin:EntropyRamp", {"strength": 1.0})
    entropy = np.asarray([0.3, 0.0, 1.2, 0.7, 2.0], np.float32)
    batch = replace(small_batch(), signals=TokenSignals(entropy=entropy))
    half = token_advantage(batch, plugin, normalize=False, progress=0.5, seed=0)
    ranks = entropy.argsort().argsort() / (len(entropy) - 1)
    np.testing.assert_allclose(half.token_weight, 1 + 0.5 * (ranks - 0.5), rtol=1e-6)
    start = token_advantage(batch, plugin, normalize=False, progress=0.0, seed=0)
    np.testing.assert_array_equal(start.token_weight, np.ones(len(entropy), np.float32))


def test_the_weighting_refuses_a_strength_that_would_turn_advantages_round() -> None:
    with pytest.raises(ConfigError, match=r"advantage\.options\.strength=3"):
        build_plugin("own_plugin:EntropyRamp", {"strength": 3})


@pytest.mark.slow
@pytest.mark.parametrize("file", ["own_plugin.py", "own_verifier.py", "own_row_verifier.py"])
def test_the_commands_of_the_docstrings(file: str) -> None:
    shown = shown_commands(file)
    assert shown
    for arguments in shown:
        validate(composed(arguments))


def test_the_verifier() -> None:
    asked = [
        GradeRequest("right", "200", "so about 201"),
        GradeRequest("wrong", "200", "so about 210"),
        GradeRequest("silent", "200", "I do not know"),
        GradeRequest("broken", "two hundred", "200"),
    ]
    with GraderPool(
        workers=1, deadline_seconds=5, memory_mb=512, verifier="own_verifier:near_enough"
    ) as pool:
        found = {name: verdict.outcome for name, verdict in pool.grade(asked).items()}
    assert found == {
        "right": Outcome.CORRECT,
        "wrong": Outcome.WRONG,
        "silent": Outcome.NO_ANSWER,
        "broken": Outcome.FAILED,
    }


def test_the_verifier_of_whole_rows() -> None:
    def asked(name: str, row: dict[str, object], response: str) -> GradeRequest:
        return Problem(name, "?", "", "mine", columns=row).grade_requests([(name, response)])[0]

    tide = {"keywords": ["tide", "harbour", "boats", "quay"]}
    requests = [
        asked("most", tide, "The tide lifts boats in the harbour."),
        asked("one", tide, "The tide, the tide!"),
        asked("other", {"words": []}, "The tide fills the harbour."),
    ]
    with GraderPool(workers=1, deadline_seconds=5, memory_mb=512, verifier="own_row_verifier:covers") as pool:
        found = pool.grade(requests)
    assert (found["most"].outcome, found["most"].score) == (Outcome.CORRECT, 0.75)
    assert (found["one"].outcome, found["one"].score) == (Outcome.WRONG, 0.25)
    assert found["other"].outcome is Outcome.FAILED
    assert "keywords" in found["other"].detail


@pytest.mark.slow
def test_the_model_and_the_data_are_what_the_printed_command_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = import_module("own_model_and_data")
    command = example.main([f"output={tmp_path}", "steps=2"])
    assert shlex.split(capsys.readouterr().out.splitlines()[-1]) == command
    cfg = composed(command[3:])
    validate(cfg)
    inputs = read_inputs(cfg)
    [test] = inputs.eval_sets
    assert len(test.prompts) == 100
    asked = {prompt.problem.question for prompt in test.prompts}
    prompts = inputs.stream.take(0, 548)
    assert len({prompt.problem.question for prompt in prompts}) == 548
    assert asked.isdisjoint(prompt.problem.question for prompt in prompts)
    for prompt in prompts[:20]:
        assert prompt.problem.answer == prompt.problem.question.removesuffix("=?")[::-1]


def test_the_example_refuses_what_it_does_not_know() -> None:
    example = import_module("own_model_and_data")
    with pytest.raises(SystemExit, match="step"):
        example.main(["output=/nowhere", "step=2"])


def test_the_pages_show_how_to_start_it() -> None:
    assert "python own_model_and_data.py output=/tmp/own" in (EXAMPLES / "README.md").read_text()
    assert commands("make quickstart", REPOSITORY / "README.md") == ["make quickstart"]


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((EXAMPLES / "two_models.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells))
    monkeypatch.chdir(tmp_path)
    state = torch.random.get_rng_state()
    names = runpy.run_path(str(script))
    torch.random.set_rng_state(state)
    assert 0 < float(names["stats"].js.max()) <= np.log(2)
    assert float(names["js"].sum()) > 0
    out = capsys.readouterr().out
    assert "the tenth with the largest JS holds" in out
    assert out.count("  JS ") == len(names["stats"].js)
