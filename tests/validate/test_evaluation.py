"""How held-out sets cannot be evaluated is refused, by the key of the set."""

from __future__ import annotations

import re

import pytest

from rlvr.config import SourceConfig
from tests.helpers.validating import config, refusal

CONTRADICTIONS: list[tuple[str, dict[str, object]]] = [
    ("set eval.samples_per_prompt=1", {"eval__temperature": 0.0}),
    (
        r"data.eval\[0\].temperature=0 with eval.samples_per_prompt=4: .*set eval.samples_per_prompt=1",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", temperature=0.0)]},
    ),
    (
        r"data.eval\[0\].samples_per_prompt=2: .*set data.eval\[0\].samples_per_prompt=1",
        {
            "data__eval": [SourceConfig(name="arithmetic_heldout", samples_per_prompt=2)],
            "eval__temperature": 0.0,
            "eval__samples_per_prompt": 1,
        },
    ),
    (r"data.eval\[0\].every=-1", {"data__eval": [SourceConfig(name="arithmetic_heldout", every=-1)]}),
    (r"data.eval\[0\].draw=0", {"data__eval": [SourceConfig(name="arithmetic_heldout", draw=0)]}),
    (r"data.eval\[0\].top_p=2", {"data__eval": [SourceConfig(name="arithmetic_heldout", top_p=2.0)]}),
    (
        "every set has first_and_last=false",
        {"data__eval": [SourceConfig(name="arithmetic_heldout", first_and_last=False)]},
    ),
    ("data.train source arithmetic: draw=5", {"data__train": SourceConfig(name="arithmetic", draw=5)}),
]


@pytest.mark.parametrize(("said", "changes"), CONTRADICTIONS, ids=[c[0][:40] for c in CONTRADICTIONS])
def test_contradictions_name_their_key(said, changes):
    assert re.search(said, refusal(config(**changes)))
