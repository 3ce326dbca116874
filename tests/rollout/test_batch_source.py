"""Where batches come from: staleness stays within its bound, errors and deadlines reach the loop."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.errors import DeadlineError
from rlvr.rollout.source import AheadSource, SyncSource
from rlvr.types import RolloutBatch
from tests.helpers.records import rollout_of


def batch_at(position: int, drawn: int = 4) -> RolloutBatch:
    """An empty batch that used up some prompts."""
    return rollout_of((), data_position=position + drawn, prompts_drawn=drawn)


class Recorder:
    """A collect that notes for each step its position and how far the learner was when it began."""

    def __init__(self, start: int = 0) -> None:
        self.trained = start
        self.calls: list[tuple[int, int, int]] = []

    def __call__(self, step: int, position: int) -> RolloutBatch:
        self.calls.append((step, position, self.trained))
        return batch_at(position, drawn=step % 3 + 1)


def ahead(
    collect: object, *, first: int = 1, last: int = 10, staleness: int = 1, deadline: float = 5.0
) -> AheadSource:
    """A source that starts at data position 100."""
    return AheadSource(
        collect,
        position=100,
        first_step=first,
        last_step=last,
        staleness=staleness,
        deadline_seconds=deadline,
    )


def wait_until(condition: object, seconds: float = 5.0) -> None:
    """Poll, with a deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not reached in time"
        time.sleep(0.001)


def test_synchronous_batches_follow_each_other():
    recorder = Recorder()
    source = SyncSource(recorder, position=100)
    for step in (1, 2, 3):
        source.next(step)
        recorder.trained = step
        source.trained(step)
    source.close()
    assert recorder.calls == [(1, 100, 0), (2, 102, 1), (3, 105, 2)]


@settings(max_examples=15)
@given(staleness=st.integers(1, 4), steps=st.integers(1, 8), first=st.integers(1, 30), slow=st.booleans())
def test_staleness_never_exceeds_its_bound(staleness, steps, first, slow):
    recorder = Recorder(start=first - 1)
    last = first + steps - 1
    source = ahead(recorder, first=first, last=last, staleness=staleness)
    try:
        for step in range(first, last + 1):
            source.next(step)
            if slow:  # a slow learner gives generation every chance to run ahead
                reach = min(last, step + staleness)
                wait_until(lambda reach=reach: recorder.calls[-1][0] >= reach)
                time.sleep(0.002)
            recorder.trained = step
            source.trained(step)
    finally:
        source.close()
    assert [step for step, _, _ in recorder.calls] == list(range(first, last + 1))
    # Batch `step` updates the weights of step - 1; it was sampled from those of `trained` or newer.
    lags = [step - 1 - trained for step, _, trained in recorder.calls]
    assert max(lags) <= staleness
    if slow and steps > staleness:
        assert max(lags) == staleness
    positions = [position for _, position, _ in recorder.calls]
    drawn = [step % 3 + 1 for step, _, _ in recorder.calls]
    assert positions == [100 + sum(drawn[:i]) for i in range(len(drawn))]


def test_batches_come_in_order():
    source = ahead(Recorder(), staleness=3)
    try:
        positions = []
        for step in range(1, 11):
            positions.append(source.next(step).data_position)
            source.trained(step)
        assert positions == sorted(positions)
        assert len(set(positions)) == 10
    finally:
        source.close()


def test_generation_does_not_run_past_the_last_step():
    recorder = Recorder()
    source = ahead(recorder, last=2, staleness=5)
    wait_until(lambda: len(recorder.calls) == 2)
    time.sleep(0.02)
    source.close()
    assert [c[0] for c in recorder.calls] == [1, 2]


def test_an_error_in_the_thread_reaches_the_loop():
    class Broken(Exception):
        pass

    def collect(step: int, position: int) -> RolloutBatch:
        if step == 2:
            raise Broken("engine 0 died")
        return batch_at(position)

    source = ahead(collect)
    try:
        source.next(1)
        source.trained(1)
        with pytest.raises(Broken, match="engine 0 died"):
            source.next(2)
    finally:
        source.close()


def test_a_batch_that_does_not_come_is_a_deadline_error():
    release = threading.Event()

    def stuck(step: int, position: int) -> RolloutBatch:
        release.wait(60)
        return batch_at(position)

    source = ahead(stuck, deadline=0.05)
    try:
        with pytest.raises(DeadlineError, match=r"step 1: no batch was collected within 0\.05 s"):
            source.next(1)
    finally:
        release.set()
        source.close()


def test_close_ends_the_thread():
    source = ahead(Recorder())
    before = [t for t in threading.enumerate() if t.name == "rollout-ahead"]
    assert before
    source.close()
    wait_until(lambda: not any(t.is_alive() for t in before))
