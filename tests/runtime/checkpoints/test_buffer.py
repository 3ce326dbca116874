"""The file of finished groups: what is written is read, damage costs one group, a full disk ends nothing."""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from rlvr.config import Config
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.rollout.streaming.window import FlowWindow
from rlvr.runtime.batches import restore_groups, settings_hash
from rlvr.runtime.checkpoints.buffer import GroupBuffer, Kept, kept, line_of, read_line, usable
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.types import Group, Prompt, Sample, Span
from tests.helpers.disks import fill, small_disk
from tests.helpers.records import group, prompt

STATE = TrainingState(5, 40, 0, 0.0, 0.0, {}, pending=(31, 38))
LOGPROBS = st.floats(width=32, max_value=0.0, allow_nan=False)
verdicts = st.builds(
    Verdict,
    st.text(max_size=5),
    st.sampled_from(Outcome),
    st.none() | st.text(max_size=9),
    st.none() | st.text(max_size=9),
    st.floats(0, 9),
    st.text(max_size=9),
    st.none() | st.floats(0, 1),
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    length = draw(st.integers(1, 12))
    starts = sorted({0, *draw(st.lists(st.integers(1, 12), max_size=3))})
    versions = sorted(draw(st.lists(st.integers(0, 9), min_size=len(starts), max_size=len(starts))))
    return Sample(
        id=draw(st.text(max_size=9)),
        token_ids=tuple(draw(st.lists(st.integers(0, 2**31), min_size=length, max_size=length))),
        logprobs=draw(stn.arrays(np.float32, length, elements=LOGPROBS)),
        text=draw(st.text(max_size=20)),
        truncated=draw(st.booleans()),
        spans=tuple(
            Span(v, s, draw(st.booleans())) for v, s in zip(versions, starts, strict=True) if s < length
        ),
        verdict=draw(verdicts),
        reward=draw(st.floats(-2, 2) | st.just(math.nan)),
        in_loss=draw(st.booleans()),
    )


records = st.builds(
    Kept,
    st.integers(0, 2**40),
    st.text("0123456789abcdef", max_size=8),
    st.text(max_size=9),
    st.lists(st.integers(0, 2**31), max_size=5).map(tuple),
    st.lists(samples(), min_size=1, max_size=3).map(tuple),
)


def as_read(record: Kept) -> object:
    """Equal for equal records, also where they hold arrays and nan."""
    return [
        replace(record, samples=()),
        *(
            (
                replace(s, logprobs=None, reward=repr(s.reward), advantage=repr(s.advantage)),
                s.logprobs.tobytes(),
                s.logprobs.dtype,
            )
            for s in record.samples
        ),
    ]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(records)
def test_a_line_holds_a_record_to_the_bit(record: Kept) -> None:
    line = line_of(record)
    assert line.count(b"\n") == 1
    found = read_line(line)
    assert found is not None
    assert as_read(found) == as_read(record)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(records, st.data())
def test_a_line_that_is_cut_or_changed_is_refused(record: Kept, data: st.DataObject) -> None:
    line = line_of(record)
    assert read_line(line[: data.draw(st.integers(0, len(line) - 1))]) is None
    place = data.draw(st.integers(0, len(line) - 2))
    changed = line[:place] + bytes([line[place] ^ data.draw(st.integers(1, 255))]) + line[place + 1 :]
    assert read_line(changed) is None


def record_of(place: int, versions: tuple[int, ...] = (5,), text: str = "x") -> Kept:
    spans = tuple(Span(version, start) for start, version in enumerate(versions))
    one = Sample(f"{place}/p/0", (7,) * len(spans), np.zeros(len(spans), np.float32), text, False, spans)
    return Kept(place, "s", "p", (1, 2, 3), (one,))


def test_a_graded_group_comes_back() -> None:
    made = kept(3, group("a", [1.0, 0.0]), "s")
    found = read_line(line_of(made))
    assert found is not None
    assert as_read(found) == as_read(made)
    assert found.group(prompt("a")) == Group(prompt("a"), found.samples)


def together(*versions: int) -> Kept:
    """A group of one sample of each version."""
    parts = [record_of(31, (version,)) for version in versions]
    return replace(parts[0], samples=tuple(sample for part in parts for sample in part.samples))


@settings(max_examples=50, deadline=None)
@example(torn=10_000, damaged=set())  # all but the end of the line
@given(torn=st.integers(1, 200), damaged=st.sets(st.integers(0, 9), max_size=4))
def test_damage_costs_the_groups_that_it_hits(tmp_path_factory, torn: int, damaged: set[int]) -> None:
    said: list[str] = []
    path = tmp_path_factory.mktemp("buffer") / "groups"
    buffer = GroupBuffer(path, said.append)
    for place in range(10):
        buffer.append(record_of(place))
    lines = path.read_bytes().splitlines(keepends=True)
    lines = [line.replace(b'"x"', b'"y"') if i in damaged else line for i, line in enumerate(lines)]
    last = line_of(record_of(10))
    path.write_bytes(b"".join(lines) + last[: min(torn, len(last) - 1)])
    assert [r.place for r in buffer.read()] == [place for place in range(10) if place not in damaged]
    assert f"{len(damaged) + 1} of 11 lines are torn or damaged" in said[0]


def test_what_a_torn_line_would_swallow_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "groups"
    path.write_bytes(line_of(record_of(1))[:-9])
    buffer = GroupBuffer(path, lambda text: None)
    buffer.keep(buffer.read())  # as a resumed run does
    buffer.append(record_of(2))
    assert [r.place for r in buffer.read()] == [2]


def test_a_checkpoint_takes_out_what_it_covers(tmp_path: Path) -> None:
    buffer = GroupBuffer(tmp_path / "groups", pytest.fail)
    buffer.covered(9, ())  # no file yet
    for place in (3, 31, 38, 39, 40, 44):
        buffer.append(record_of(place))
    buffer.covered(STATE.data_position, STATE.pending)
    buffer.append(record_of(45))
    buffer.covered(45, (31,))
    assert [r.place for r in buffer.read()] == [31, 45]
    again = GroupBuffer(tmp_path / "groups", pytest.fail)  # a resumed run's
    again.read()
    again.covered(46, (45,))
    again.append(record_of(47))
    assert [r.place for r in again.read()] == [45, 47]


@pytest.mark.parametrize(
    ("record", "staleness", "taken"),
    [
        (record_of(31), 1, True),
        (record_of(32), 1, False),  # in a batch before the checkpoint
        (record_of(40), 1, True),  # begun after it
        (record_of(31, (4,)), 1, True),
        (record_of(31, (4,)), 0, False),  # step 6 updates version 5
        (record_of(31, (3, 5)), 1, False),  # one token is too old
        (record_of(31, (3, 5)), 2, True),
        (record_of(31, (5, 6)), 9, False),  # of weights that the run has gone back behind
        (together(5, 4), 1, True),
        (together(5, 4), 0, False),
        (together(5, 6), 9, False),
        (replace(record_of(31), settings="other"), 1, False),
    ],
)
def test_what_a_resumed_run_may_train_on(record: Kept, staleness: int, taken: bool) -> None:
    assert bool(usable([record], STATE, staleness, "s")) == taken


def test_a_full_disk_ends_nothing_and_leaves_the_file_whole(tmp_path: Path) -> None:
    said: list[str] = []
    with small_disk(tmp_path / "disk", "64k") as disk:
        buffer = GroupBuffer(disk / "groups", said.append)
        buffer.append(record_of(0))
        fill(disk)
        for place in range(1, 40):  # more than fits into the last block of the file
            buffer.append(record_of(place, text="x" * 500))
        assert len(said) == 1
        assert "No space left on device" in said[0]
        whole = [r.place for r in buffer.read()]
        assert whole == list(range(len(whole))) != list(range(40))
        (disk / "filler").unlink()
        buffer.append(record_of(40))
        buffer.close()
        assert [r.place for r in buffer.read()] == [*whole, 40]
        assert said[1:] == [f"{disk / 'groups'}: finished groups are kept on disk again"]


def test_what_is_written_is_on_disk_once_the_file_is_closed(tmp_path: Path, monkeypatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    buffer = GroupBuffer(tmp_path / "groups", pytest.fail)
    buffer.close()  # of a run that has finished no group
    assert synced == []
    buffer.append(record_of(1))
    buffer.close()
    buffer.close()
    assert len(synced) == 1


class Stream:
    """Prompt i is called i."""

    def take(self, position: int, count: int) -> list[Prompt]:
        return [prompt(str(i)) for i in range(position, position + count)]


def test_a_resumed_flow_takes_up_finished_groups_and_samples_the_others_first(tmp_path: Path) -> None:
    said: list[str] = []
    cfg = Config(recipe="test")
    cfg.rollout.staleness = 2
    buffer = GroupBuffer(tmp_path / "groups", said.append)
    names = {31: "31", 38: "another", 42: "42", 44: "44"}  # the stream gives another prompt at 38 now
    for place, name in names.items():
        group = Group(prompt(name), record_of(place, (3,) if place == 42 else (4, 5)).samples)
        buffer.append(kept(place, group, settings_hash(cfg)))
    feed = PromptFeed(Stream(), cfg, position=STATE.data_position, pending=STATE.pending, known={})
    window = FlowWindow(want=2, staleness=2, next_step=6, last=9, most_drawn=6)
    restored = restore_groups(buffer, feed, window, STATE, cfg, settings_hash(cfg))
    assert [(n, place, g.prompt.id) for n, (place, g) in restored.items()] == [
        (0, 31, "31"),
        (1, 42, "42"),
        (2, 44, "44"),
    ]
    assert (feed.position, feed.waiting) == (45, (38, 40, 41, 43))
    assert feed.next()[0] == 38
    assert [r.place for r in buffer.read()] == [31, 42, 44]
    assert "3 of 4 finished groups" in said[0]
    release = window.take(6)
    assert release is not None
    assert 1 in release.groups, "the oldest token's last step is the next one"


def test_settings_that_matter_change_the_hash() -> None:
    cfg, other = Config(recipe="test"), Config(recipe="test")
    other.rollout.temperature = 0.7
    assert settings_hash(cfg) != settings_hash(other)
    other = Config(recipe="test", steps=99)
    other.run.resume, other.learner.lr = "auto", 1.0
    assert settings_hash(cfg) == settings_hash(other)


@pytest.mark.parametrize(
    "change",
    [
        {"mood": "good"},  # a field that we do not know
        {"verdict": {"outcome": "splendid"}},
        {"spans": 5},
    ],
)
def test_a_whole_line_of_another_version_is_passed_over(change: dict[str, Any]) -> None:
    row = json.loads(line_of(record_of(3)).partition(b" ")[2])
    assert read_line(sealed(row)) is not None
    row["samples"][0] |= change
    assert read_line(sealed(row)) is None
    del row["samples"]
    assert read_line(sealed(row)) is None


def sealed(row: dict[str, Any]) -> bytes:
    """A line whose checksum fits."""
    content = json.dumps(row).encode()
    return b"%08x %s\n" % (zlib.crc32(content), content)
