"""Weight transfer over gloo between threads on the loopback interface, and its bucket plan."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.sync.gloo import GlooChannel, ParamInfo, SyncError, plan_buckets

PARAMETERS = {
    "embed": torch.arange(30, dtype=torch.float32).reshape(10, 3),
    "scale": torch.tensor(2.5),
    "half": torch.linspace(-1, 1, 8).bfloat16(),
    "norm": torch.tensor([7.0, 8.0]),
    "empty": torch.zeros(0, 4),
    "head": torch.randn(20, 5, generator=torch.Generator().manual_seed(1)),
}
INFOS = [ParamInfo(n, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in PARAMETERS.items()]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(*works: Callable[[], object], seconds: float = 20) -> list[object]:
    """Run each in a thread of its own; results or exceptions, in order."""
    results: list[object] = [None] * len(works)

    def call(place: int, work: Callable[[], object]) -> None:
        try:
            results[place] = work()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        assert not thread.is_alive(), "a rank hangs"
    return results


# The plan


@given(
    sizes=st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["float32", "bfloat16"])), max_size=30),
    bucket=st.integers(1, 400),
)
def test_buckets_keep_the_order_one_dtype_and_the_size(sizes, bucket):
    params = [ParamInfo(f"p{i}", dtype, (n,)) for i, (n, dtype) in enumerate(sizes)]
    plan = plan_buckets(params, bucket)
    assert [p for part in plan for p in part] == params
    for part in plan:
        assert part
        assert len({p.dtype for p in part}) == 1
        assert sum(p.nbytes for p in part) <= bucket or len(part) == 1 or part[0].nbytes > bucket


def test_a_large_parameter_has_a_bucket_of_its_own():
    params = [
        ParamInfo("a", "float32", (2,)),
        ParamInfo("b", "float32", (99,)),
        ParamInfo("c", "float32", (2,)),
    ]
    assert [[p.name for p in part] for part in plan_buckets(params, 16)] == [["a"], ["b"], ["c"]]


def test_sizes_of_parameters():
    info = ParamInfo("w", "bfloat16", (3, 4))
    assert (info.numel, info.nbytes, info.torch_dtype) == (12, 24, torch.bfloat16)
    assert ParamInfo("scalar", "float32", ()).numel == 1


# The transfer


@pytest.mark.parametrize("bucket_bytes", [1, 100, 10_000])
def test_parameters_arrive_bit_by_bit(bucket_bytes):
    port, plan = free_port(), plan_buckets(INFOS, bucket_bytes)

    def learner() -> None:
        channel = GlooChannel("127.0.0.1", port, 0, 3, 15)
        for factor in (1, -2):  # the channel is used again for the next version
            channel.send([(n, t * factor) for n, t in PARAMETERS.items()], plan)

    def engine(rank: int) -> list[dict[str, torch.Tensor]]:
        channel = GlooChannel("127.0.0.1", port, rank, 3, 15)
        return [{n: t.clone() for part in channel.receive(plan) for n, t in part} for _ in range(2)]

    sent, *received = together(learner, lambda: engine(1), lambda: engine(2))
    assert sent is None
    for versions in received:
        assert isinstance(versions, list), versions
        for factor, found in zip((1, -2), versions, strict=True):
            assert list(found) == list(PARAMETERS)
            for name, tensor in PARAMETERS.items():
                assert found[name].dtype == tensor.dtype
                assert torch.equal(found[name], tensor * factor), name


def test_parameters_are_cast_to_what_was_announced():
    port, plan = free_port(), [[ParamInfo("w", "bfloat16", (4,))]]
    values = torch.tensor([1.0, 2.0, 3.0, 1 / 3])

    def engine() -> torch.Tensor:
        ((part,),) = list(GlooChannel("127.0.0.1", port, 1, 2, 15).receive(plan))
        return part[1].clone()

    def learner() -> None:
        GlooChannel("127.0.0.1", port, 0, 2, 15).send([("w", values)], plan)

    sent, found = together(learner, engine)
    assert sent is None
    assert torch.equal(found, values.bfloat16())


# What goes wrong


@pytest.mark.slow  # waits for a deadline
@pytest.mark.parametrize("rank", [0, 1])
def test_nobody_else_at_the_rendezvous(rank):
    start = time.monotonic()
    with pytest.raises(SyncError) as caught:
        GlooChannel("127.0.0.1", free_port(), rank, 2, 0.5)
    assert time.monotonic() - start < 15
    for part in (f"rank {rank} of 2", "phase 'rendezvous'", "within 0.5 s", "sync.deadline_seconds"):
        assert part in str(caught.value)


def test_a_peer_that_stops_taking_part_is_a_deadline_error():
    port, plan = free_port(), plan_buckets(INFOS[:1], 10_000)
    done = threading.Event()

    def learner() -> None:
        GlooChannel("127.0.0.1", port, 0, 2, 5)
        done.wait(15)  # never sends

    def engine() -> list[object]:
        try:
            channel = GlooChannel("127.0.0.1", port, 1, 2, 5)
            channel.deadline = channel.deadline / 10
            return list(channel.receive(plan))
        finally:
            done.set()

    _, error = together(learner, engine, seconds=25)
    assert isinstance(error, SyncError)
    for part in ("rank 1", "phase 'broadcast'", "embed .. embed", "sync.deadline_seconds"):
        assert part in str(error)


class Silent(GlooChannel):
    """A channel that reaches nobody, to look at what `send` refuses before anything travels."""

    def __init__(self) -> None:
        self.rank = 0
        self.sent: list[torch.Tensor] = []

    def broadcast(self, flat: torch.Tensor, bucket: object) -> None:
        self.sent.append(flat)


def test_another_parameter_than_announced_is_named():
    tensors = list(PARAMETERS.items())
    with pytest.raises(SyncError, match=r"got parameter scale \(\) where embed \(10, 3\) was announced"):
        Silent().send(tensors[1:], plan_buckets(INFOS, 10_000))


def test_missing_and_surplus_parameters_are_named():
    tensors, plan = list(PARAMETERS.items()), plan_buckets(INFOS, 10_000)
    with pytest.raises(SyncError, match=r"got parameter none .* where head"):
        Silent().send(tensors[:-1], plan)
    with pytest.raises(SyncError, match="extra, which was not announced"):
        Silent().send([*tensors, ("extra", torch.zeros(1))], plan)


def test_another_shape_than_announced_is_named():
    with pytest.raises(SyncError, match=r"embed.*\(3, 10\).*\(10, 3\)"):
        Silent().send([("embed", torch.zeros(3, 10))], plan_buckets(INFOS[:1], 10_000))
