"""Settings of data sources that nothing would read are refused, with their key."""

from __future__ import annotations

import pytest

from rlvr.config import DataConfig, SourceConfig
from rlvr.validate.sources import source_problems

KEYS = ("data.train", "data.eval[0]")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SourceConfig("mine", path="a.jsonl", subset="main"), "subset=main: source mine is path=a.jsonl"),
        (SourceConfig("gsm8k", path="copy", subset="main"), "subset=main: source gsm8k is path=copy"),
        (SourceConfig("arithmetic", subset="main"), "subset=main: source arithmetic is a built-in task"),
        (SourceConfig("sums", split="test"), "split=test: source sums is a built-in task"),
        (SourceConfig("gsm8k", subset="main", split="test"), None),
        (SourceConfig("mine", path="a.jsonl", split="train"), None),  # the file tells
        (SourceConfig("sums", path="sums.jsonl", split="train"), None),
    ],
)
def test_a_part_of_what_has_none_is_refused(source, said):
    held_out = [SourceConfig("arithmetic_heldout")]
    found = source_problems(DataConfig(train=source, eval=held_out))
    found += source_problems(DataConfig(eval=[source]))
    if said is None:
        assert found == []
    else:
        assert all(text.startswith(f"{key}.{said}") for key, text in zip(KEYS, found, strict=True))
