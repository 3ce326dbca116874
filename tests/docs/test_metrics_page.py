"""The page on metrics has every name that a run writes, and no other."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

import rlvr.metrics
import rlvr.runtime.tracking.tracker
import rlvr.sync.sent
from rlvr.config import Config, LossConfig
from rlvr.learner.correction import LEVELS, correction_metrics
from rlvr.metrics import concentration_metrics, curriculum_metrics, source_metrics
from rlvr.reward.verdict import Outcome
from rlvr.runtime.evaluation import EvalReport
from rlvr.runtime.tracking.tracker import evaluation_metrics
from rlvr.sync.sent import Sent
from rlvr.types import SIGNALS, STEP_SIGNALS
from tests.helpers.pages import DOCS
from tests.helpers.records import group, random_batch, rollout_of

# The first evaluation and the first step of a run of recipe=dapo_divweight with the built-in model, as it wrote them.
RUN = Path(__file__).parent / "metrics.jsonl"
PLACES = {
    "signal": sorted(SIGNALS - STEP_SIGNALS),
    "outcome": [outcome.value for outcome in Outcome],
    "set": ["arithmetic_heldout"],
    "source": ["test"],  # of tests.helpers.records
    "level": list(LEVELS),
}


def names_on_the_page() -> set[str]:
    """Every name that the page's tables define, the words in angle brackets put in."""
    rows = [line for line in (DOCS / "metrics.md").read_text().splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    for place, values in PLACES.items():
        names = {name.replace(f"<{place}>", value) for name in names for value in values}
    return names


def rows_of_the_run() -> dict[str, dict[str, float]]:
    return {row.pop("kind"): row for row in map(json.loads, RUN.read_text().splitlines())}


def test_every_number_of_a_run_is_explained() -> None:
    rows = rows_of_the_run()
    assert rows.keys() == {"train", "eval"}
    written = {name for row in rows.values() for name in row} - {"step"}
    assert len(written) > 60
    assert sorted(written - names_on_the_page()) == []


def test_every_name_in_the_code_is_explained() -> None:
    page = names_on_the_page()
    for module in (rlvr.metrics, rlvr.runtime.tracking.tracker, rlvr.sync.sent):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        keys = [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
        plain = {key.value for key in keys if isinstance(key, ast.Constant)} - {"step", "kind"}
        assert sorted(plain - page) == []


def names_of_a_correction() -> set[str]:
    cfg = Config(recipe="x", loss=LossConfig(rollout_correction=2.0))
    return set(correction_metrics(random_batch([2], [3]), cfg))


def test_every_number_of_a_correction_is_explained() -> None:
    assert names_of_a_correction() <= names_on_the_page()


def test_nothing_is_explained_that_no_run_writes() -> None:
    written = {name for row in rows_of_the_run().values() for name in row}
    written |= source_metrics(rollout_of([group("p", [0.0, 1.0])]), ["test"]).keys()
    written |= curriculum_metrics(
        replace(rollout_of([group("p", [0.0, 1.0])]), successes={"p": (1, 2)})
    ).keys()
    written |= names_of_a_correction() | Sent(1, changed=0.5).metrics().keys()
    batch, rollout = random_batch([2, 2], [3, 3]), rollout_of([group("p", [0.0, 1.0])])
    batch = replace(batch, token_weight=batch.signals.js_base)
    moved = EvalReport("arithmetic_heldout", 0.5, 0.2, 0.8, 8, 2, 3.5, 0.0, {}, (), versions=(2, 3))
    written |= evaluation_metrics(moved).keys()
    written |= concentration_metrics(rollout, batch, np.ones(6), ["test"]).keys()
    other_signals = SIGNALS - STEP_SIGNALS - {"old_logp", "js_base", "entropy"}  # which that run did not need
    rest = {name for name in names_on_the_page() - written if name.partition("/")[0] not in other_signals}
    # Outcomes that did not occur in that evaluation have no line there; its verifier gives no scores, its loss no
    # bonus. The last is on wandb only.
    known = {"eval/arithmetic_heldout/outcome", "score/mean", "entropy/coef", "eval/step"}
    assert {re.sub(r"outcome/\w+$", "outcome", name) for name in rest} <= known
