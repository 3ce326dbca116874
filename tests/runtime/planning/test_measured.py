"""The ledger against what processes were measured to take, on CPU: the file of a run of benchmarks/memory.py."""

from __future__ import annotations

import json

import pytest

from benchmarks.memory import CASES, arguments
from rlvr.cli.overrides.compose import load
from rlvr.runtime.planning.cards import CARDS
from rlvr.runtime.planning.ledger import ledgers
from rlvr.runtime.planning.shape import ModelShape
from tests.helpers.paths import REPOSITORY

SMOLLM2 = ModelShape(134_515_008, 49_152, 576, 30, 2 * 30 * 3 * 64, 1536, tied=True)
PROMPT_TOKENS = 52


@pytest.mark.slow
@pytest.mark.parametrize("recipe", CASES)
def test_learner_and_engine_are_within_15_percent_of_what_was_measured(recipe: str):
    newest = sorted((REPOSITORY / "benchmarks" / "results").glob("memory-*.json"))[-1]
    measured = json.loads(newest.read_text())["cases"][recipe]
    cfg = load(arguments(recipe, "smollm2", PROMPT_TOKENS))
    found = ledgers(cfg, SMOLLM2, CARDS["h100"], base=CASES[recipe])
    for actor, ledger in zip(("learner-0", "engine-0"), found, strict=True):
        assert ledger.total / 1e9 == pytest.approx(measured[actor]["measured GB"], rel=0.15)
