"""The examples of the page on your own data, reward and weighting."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from rlvr.advantage.token import PLUGINS, build_plugin, token_advantage
from rlvr.config import DataConfig, SourceConfig
from rlvr.data.catalog import CATALOG
from rlvr.data.mixture import whole_weights
from rlvr.data.prompting.templates import TEMPLATES, build_template, question_of
from rlvr.data.reading.formats import FORMATS
from rlvr.data.sources import load_problems
from rlvr.reward.sandbox import kernel
from rlvr.reward.verdict import GradeRequest
from rlvr.reward.workers.pool import GraderPool
from rlvr.types import SIGNALS, Problem
from tests.helpers.batches import small_batch
from tests.helpers.composing import composed
from tests.helpers.pages import DOCS, blocks, code_of, commands

PAGE = DOCS / "own.md"
VERIFIER, PROGRAMS, WEIGHTING = blocks(PAGE, "python")


def test_the_weighting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len([line for line in WEIGHTING.splitlines() if line.strip()]) <= 10
    (tmp_path / "my_weights.py").write_text(WEIGHTING)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = build_plugin("my_weights:SurprisalWeight", {"strength": 0.4})
    batch = token_advantage(small_batch(), plugin, normalize=False, progress=0.0, seed=0)
    expected = 1 + 0.4 * (np.asarray([0.0, 1.0, 2.5, 5.0, 5.0]) / 5 - 0.5)
    np.testing.assert_allclose(batch.token_weight, expected, rtol=1e-6)
    np.testing.assert_allclose(batch.token_advantage, expected * np.asarray([1, 1, -1, -1, -1]), rtol=1e-6)


def test_the_verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_verifier.py").write_text(VERIFIER)
    monkeypatch.syspath_prepend(tmp_path)
    asked = [
        GradeRequest("a", "200", "so 201"),
        GradeRequest("b", "200", "so 210"),
        GradeRequest("c", "200", "no"),
    ]
    with GraderPool(
        workers=1, deadline_seconds=5, memory_mb=512, verifier="my_verifier:close_enough"
    ) as pool:
        assert [verdict.correct for verdict in pool.grade(asked).values()] == [True, False, False]


@pytest.mark.skipif(bool(kernel.missing()), reason=f"no jail here: {kernel.missing()}")
def test_the_program() -> None:
    exec(PROGRAMS, {})


def test_the_rows(tmp_path: Path) -> None:
    [rows] = blocks(PAGE, "json")
    (tmp_path / "train.jsonl").write_text(rows)
    first, second = load_problems(SourceConfig(name="mine", path=str(tmp_path / "train.jsonl"))).problems
    assert (first.question, first.answer, first.id) == ("What is 2 + 3?", "5", "mine/train/1")
    assert second.id == "mine/easy-2"


@pytest.mark.slow
def test_the_mixture_is_the_same_in_a_recipe_and_on_the_command_line() -> None:
    [recipe] = blocks(PAGE, "yaml")
    [command] = [c for c in commands("python -m rlvr.train", PAGE) if "data.train='[" in c]
    typed = composed(shlex.split(command)[3:]).data.training
    assert (
        typed
        == OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(DataConfig), yaml.safe_load(recipe)["data"])
        ).training
    )
    assert whole_weights([source.weight for source in typed]) == (3, 1)


@pytest.mark.slow
def test_the_template_of_a_users_turn_reads_the_columns_that_it_names() -> None:
    [command] = [c for c in commands("python -m rlvr.train", PAGE) if "chat:" in c]
    template = composed(shlex.split(command)[3:]).data.template
    row = Problem("b/1", "Which is even?", "B", "b", columns={"choices": "A) 1, B) 2"})
    text = "Which is even? Choose from A) 1, B) 2. Put the letter in \\boxed{}."
    assert question_of(row, build_template(template)) == text


def test_the_formats_are_those_of_the_page() -> None:
    rows = {
        row.split("`")[1]: re.findall(r"`([^`]+)`", row)[1:]
        for row in PAGE.read_text().partition("| format |")[2].partition("\n\n")[0].splitlines()
        if row.startswith("| `")
    }
    assert rows == {name: [*entry.question, *entry.answer] for name, entry in FORMATS.items()}


def test_it_names_every_template_signal_weighting_and_known_data_set() -> None:
    code, text = set(code_of(PAGE)), PAGE.read_text()
    assert set(TEMPLATES) <= code
    assert code >= SIGNALS
    assert set(PLUGINS) <= code
    assert [name for name in CATALOG if name not in text] == []
