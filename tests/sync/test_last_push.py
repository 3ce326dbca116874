"""What has changed since the last push, against whoever holds that push and takes the pieces."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.cluster.turns import Apart
from rlvr.config import Config
from rlvr.learner.group import LearnerGroup
from rlvr.runtime.actors import _say_how
from rlvr.sync import last_push as module
from rlvr.sync.gloo import ParamInfo, SyncError
from rlvr.sync.last_push import LastPush, put_piece
from rlvr.sync.patch import bits_of
from rlvr.sync.sender import sends_changes
from rlvr.sync.sent import Sent, push_note

Tensors = dict[str, torch.Tensor]
SHAPES = {"embed": (7, 5), "norm": (5,), "scale": (), "empty": (0, 4), "head": (41,)}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 8)


def infos(dtype: str) -> list[ParamInfo]:
    return [ParamInfo(name, dtype, shape) for name, shape in SHAPES.items()]


def states(dtype: str, shares: list[float], seed: int) -> Iterator[Tensors]:
    """Parameters as time goes on; each share is how much of them gets other bits."""
    generator = torch.Generator().manual_seed(seed)
    now = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    for share in (0.0, *shares):
        for name, tensor in now.items():
            moved = torch.rand(tensor.shape, generator=generator) < share
            now[name] = torch.where(moved, tensor * 1.5, tensor)
        yield {name: tensor.to(getattr(torch, dtype)) for name, tensor in now.items()}


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(
        t.shape == b[n].shape and bits_of(t).tobytes() == bits_of(b[n]).tobytes() for n, t in a.items()
    )


def test_a_parameter_that_lies_transposed_in_memory_is_held_as_it_reads() -> None:
    first = torch.arange(35.0).reshape(5, 7).t()
    second = first.clone().index_put_((torch.tensor(3), torch.tensor(1)), torch.tensor(-1.0))
    push = LastPush([ParamInfo("w", "float32", (7, 5))])
    for now in (first, second):
        change = push.take(iter([("w", now)]))
    assert change.share == 1 / 35
    assert torch.equal(dict(push.tensors())["w"], second)


@settings(max_examples=20)
@given(
    st.sampled_from(["float32", "bfloat16"]),
    st.lists(st.sampled_from([0.0, 0.02, 0.1, 0.4, 1.0]), max_size=4),
    st.integers(0, 999),
)
def test_whoever_holds_the_last_push_has_the_next_one(dtype, shares, seed):
    last, held = LastPush(infos(dtype)), Tensors()
    before = None
    for tensors in states(dtype, shares, seed):
        change = last.take(iter(tensors.items()))
        if before is None:
            assert (change.share, change.pieces) == (None, None)
        else:
            differ = sum(int((before[n] != t).sum()) for n, t in tensors.items())
            assert change.share == pytest.approx(differ / sum(t.numel() for t in tensors.values()))
        if change.pieces is None:
            held = {name: tensor.clone() for name, tensor in last.tensors()}
        else:
            assert 0 <= change.bytes < last.whole_bytes
            for piece in change.pieces:
                put_piece(piece, held[piece.name])
        assert same(held, tensors)
        assert same(dict(last.tensors()), tensors)
        before = tensors


def test_nothing_changed_takes_nothing_and_everything_takes_the_whole():
    last, tensors = LastPush(infos("bfloat16")), next(states("bfloat16", [], 1))
    last.take(iter(tensors.items()))
    same = last.take(iter(tensors.items()))
    assert (same.share, same.pieces, same.bytes) == (0.0, (), 0)
    other = last.take((name, -tensor) for name, tensor in tensors.items())
    assert (other.share, other.pieces) == (1.0, None)
    assert all(torch.equal(held, -tensors[name]) for name, held in last.tensors())


def test_the_copy_is_nobody_elses():
    """The learner goes on to change its own tensors in place."""
    last, tensors = LastPush(infos("float32")), next(states("float32", [], 1))
    last.take(iter(tensors.items()))
    tensors["head"][40] += 1
    (piece,) = last.take(iter(tensors.items())).pieces
    assert (piece.name, piece.start) == ("head", 40)


def test_another_parameter_than_announced_is_named():
    last, tensors = LastPush(infos("float32")), next(states("float32", [], 1))
    last.take(iter(tensors.items()))
    with pytest.raises(SyncError, match=r"got parameter norm \(5,\) where embed \(7, 5\) was announced"):
        last.take(iter(list(tensors.items())[1:]))


def test_a_piece_of_another_tensor_is_refused():
    last, tensors = LastPush(infos("float32")), next(states("float32", [], 1))
    last.take(iter(tensors.items()))
    tensors["head"][39] += 1
    (piece,) = last.take(iter(tensors.items())).pieces
    with pytest.raises(ValueError, match="place 7 of 3 elements"):
        put_piece(piece, tensors["embed"])


@pytest.mark.parametrize(
    ("sparse", "backend", "device", "expected"),
    [
        ("off", "auto", "cpu", False),
        ("auto", "auto", "cpu", True),
        ("auto", "auto", "cuda", False),  # nccl
        ("auto", "ipc", "cuda", False),
        ("auto", "gloo", "cuda", True),
    ],
)
def test_only_gloo_sends_what_has_changed(sparse: str, backend: str, device: str, expected: bool):
    cfg = Config(recipe="test")
    cfg.sync.sparse, cfg.sync.backend = sparse, backend
    assert sends_changes(cfg, device) is expected
    said: list[str] = []
    _say_how(cfg, SimpleNamespace(signals=frozenset()), "cpu", said.append)
    assert any("every push sends all weights" in line for line in said) == (
        sparse == "auto" and backend == "ipc"
    )


def test_a_line_is_said_where_pushes_begin_to_go_another_way():
    why = "what has changed would take no fewer bytes"
    some, whole = Sent(5_000_000, whole=False, changed=0.0312), Sent(9_000_000, changed=0.97, why=why)
    assert push_note(None, some) == (
        "push: only what has changed was sent (5.0 MB, 3.12% of the elements have new bits)"
    )
    assert push_note(some, some) is None
    said = push_note(some, whole)
    assert said == f"push: all weights were sent (9.0 MB, 97.00% of the elements have new bits): {why}"
    assert push_note(whole, whole) is None
    assert push_note(Sent(1, why="another"), whole) == said
    assert push_note(None, Sent(9)) is None  # sync.sparse=off
    assert push_note(None, None) is None
    assert Sent(9).metrics() == {"push/bytes": 9.0, "push/sparse": 0.0}
    assert some.metrics() == {"push/bytes": 5e6, "push/sparse": 1.0, "push/changed": 0.0312}


def test_every_push_is_compared_with_the_one_before_whoever_asked_for_it(monkeypatch: pytest.MonkeyPatch):
    """Two of a preflight, a step's, and one to an engine that has started again; then nothing has changed its way."""
    first, some = Sent(9, why="it is the first push"), Sent(5, whole=False, changed=0.5)
    answers, said = iter([first, some, some, first, some, some]), []
    group = object.__new__(LearnerGroup)
    group.cfg, group.handles, group.turns = Config(recipe="test"), [], Apart()
    group.sent, group.busy_seconds, group.say = None, 0.0, said.append
    monkeypatch.setattr(group, "_call", lambda *_, **__: [(next(answers), 1.0)])
    for version in (0, 0, 1):
        group.push(version)
    group.push_again()
    for version in (2, 3):
        group.push(version)
    assert said == [push_note(None, first), push_note(None, some)] * 2
    assert (group.pushed, group.sent, group.busy_seconds) == (3, some, 6.0)
