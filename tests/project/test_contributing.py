"""CONTRIBUTING's examples work where it says that they go, and its table names places that exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr.advantage.group import group_advantage
from rlvr.advantage.token import build_plugin, token_advantage
from rlvr.config import Config
from rlvr.data.prompting.templates import tokenize
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.reward.verdict import GradeRequest
from rlvr.reward.workers.pool import GraderPool
from rlvr.types import Problem
from rlvr.validate import validate
from tests.helpers.batches import small_batch
from tests.helpers.paths import REPOSITORY
from tests.helpers.records import group
from tests.helpers.tokenizers_made_here import byte_tokenizer

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
WEIGHTING, ESTIMATOR, OBJECTIVE, VERIFIER, TEMPLATE, BACKEND = EXAMPLES = re.findall(
    r"```python\n(.*?)```", TEXT, flags=re.DOTALL
)


def run(code: str) -> dict:
    names: dict = {"__name__": "contributed"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    return names


def test_an_example_has_ten_lines_at_most() -> None:
    for code in EXAMPLES:
        assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_places_exist_and_hold_the_tables() -> None:
    rows = [line.split("|")[1:4] for line in TEXT.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) >= 12
    for _, file, named in rows:
        for path in re.findall(r"`((?:rlvr|recipes)/[^`<]*)", file + named):
            assert (REPOSITORY / path.rstrip("/")).exists() or "<" in file, path
        places = re.findall(r"`(rlvr/[^`<]*\.py)`", named + file)
        for table in re.findall(r"`([A-Z_]+)`", named):
            assert any(
                re.search(rf"^{table}\b", (REPOSITORY / p).read_text(), re.MULTILINE) for p in places
            ), table


def test_the_weighting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contributed_weights.py").write_text(WEIGHTING)
    monkeypatch.syspath_prepend(tmp_path)
    plugin = build_plugin("contributed_weights:LateTokens", {"strength": 0.3})
    batch = token_advantage(small_batch(), plugin, normalize=False, progress=0.0, seed=0)
    np.testing.assert_allclose(
        batch.token_weight, 1 + 0.3 * np.asarray([0, 1 / 2, 0, 1 / 3, 2 / 3]), rtol=1e-6
    )


def test_the_estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contributed_estimator.py").write_text(ESTIMATOR)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = Config(recipe="test")
    cfg.advantage.estimator = "contributed_estimator:median_baseline"
    validate(cfg)
    found = group_advantage([group("a", [0, 1, 5])], cfg.advantage)
    assert [s.advantage for s in found[0].samples] == [-1, 0, 4]


def test_the_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contributed_objective.py").write_text(OBJECTIVE)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = Config(recipe="test")
    cfg.loss.objective = "contributed_objective:objective"
    validate(cfg)
    logp = torch.tensor([-1.0, -2.0], requires_grad=True)
    tokens = LossInput(
        logp=logp,
        old_logp=torch.tensor([-2.0, -2.0]),
        advantage=torch.tensor([1.0, -1.0]),
        loss_weight=torch.tensor([0.5, 0.5]),
        sequence=torch.zeros(2, dtype=torch.long),
    )
    policy_loss(tokens, cfg.loss).loss.backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([-0.5 * 2.0, 0.5])  # the ratio e is held at 2


def test_the_verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contributed_verifier.py").write_text(VERIFIER)
    monkeypatch.syspath_prepend(tmp_path)  # which the workers get as well
    asked = [GradeRequest("a", "4", "so 12"), GradeRequest("b", "4", "so 13"), GradeRequest("c", "4", "none")]
    with GraderPool(
        workers=1, deadline_seconds=5, memory_mb=512, verifier="contributed_verifier:even"
    ) as pool:
        assert [verdict.correct for verdict in pool.grade(asked).values()] == [True, False, False]


def test_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contributed_template.py").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = Config(recipe="test")
    cfg.data.template = "contributed_template:template"
    validate(cfg)
    tokenizer = byte_tokenizer(post="<s> $A")
    ids = tokenize(Problem("p/1", "1+1=?", "2", "p"), cfg.data.template, tokenizer).token_ids
    assert tokenizer.decode(ids) == "<s>Question: 1+1=?\nAnswer in a box:"


def test_the_backend() -> None:
    js = run(BACKEND)["js"]
    rows = torch.randn(3, 7)
    assert js(rows, rows).tolist() == [0, 0, 0]
    assert 0 < js(rows, torch.randn(3, 7)).max() <= np.log(2)
