"""Where synchronous batches come from."""

from __future__ import annotations

from rlvr.rollout.source import SyncSource
from rlvr.types import RolloutBatch
from tests.helpers.records import rollout_of


def test_synchronous_batches_follow_each_other() -> None:
    calls: list[tuple[int, int]] = []

    def collect(step: int, position: int) -> RolloutBatch:
        calls.append((step, position))
        return rollout_of((), data_position=position + step % 3 + 1, prompts_drawn=step % 3 + 1)

    source = SyncSource(collect, position=100)
    for step in (1, 2, 3):
        source.next(step)
        with source.paused("push"):
            pass
        source.trained(step)
    source.close()
    assert calls == [(1, 100), (2, 102), (3, 105)]
