"""What a run is said to write, beside files that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlvr.config import Config
from rlvr.runtime.checkpoints.buffer import kept, line_of
from rlvr.runtime.disk.dumps import write_dump
from rlvr.runtime.planning.disk import BYTES_PER_TOKEN, disk
from rlvr.runtime.planning.shape import ModelShape
from rlvr.types import Group, Problem, Prompt, Sample, Span

SHAPE = ModelShape(
    parameters=10**9, vocabulary=151_936, hidden=8, layers=1, cache_per_token=1, intermediate=8
)


def test_bytes_of_a_token_are_those_of_the_files(tmp_path: Path) -> None:
    numbers, tokens, samples = np.random.default_rng(0), 2000, 4
    group = Group(
        Prompt(Problem("a", "a?", "1", "test"), (1, 2)),
        tuple(
            Sample(
                f"7/a/{i}",
                tuple(numbers.integers(0, SHAPE.vocabulary, tokens).tolist()),
                -numbers.exponential(0.5, tokens).astype(np.float32),
                "four" * tokens,  # a token of English is about so long
                truncated=False,
                spans=(Span(3, 0),),
            )
            for i in range(samples)
        ),
    )
    dump = write_dump(tmp_path, "step_000001", [group], compress=False).stat().st_size
    for size in (dump, len(line_of(kept(7, group, "settings")))):
        assert 0.85 * BYTES_PER_TOKEN < size / (tokens * samples) <= BYTES_PER_TOKEN


@pytest.mark.parametrize(("save_every", "groups"), [(10, 10 * 3 + 2 + 1), (0, 40 * 3 + 2 + 1)])
def test_finished_groups_wait_for_the_next_checkpoint(save_every: int, groups: int) -> None:
    cfg = Config(recipe="test", steps=40)
    cfg.run.save_every = save_every
    assert disk(cfg, SHAPE).ready_groups == 0
    cfg.rollout.staleness, cfg.rollout.dynamic_sampling, cfg.rollout.max_rounds = 2, True, 3
    found = disk(cfg, SHAPE)
    assert found.ready_groups == groups * found.samples > 0
