"""Two models at once: answers in order, each with its share of the threads, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from rlvr.analysis.side_by_side import side_by_side

CPU = torch.device("cpu")
SECONDS = 20.0


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("given", "shares"), [(2, [1, 1]), (5, [2, 3])])
def test_each_has_its_share_of_the_threads_and_keeps_it(
    threads: Callable[[int], None], given: int, shares: list[int]
) -> None:
    threads(given)
    together = threading.Barrier(2)

    def own_threads() -> int:
        together.wait(SECONDS)  # both are at work at the same time
        torch.rand(300_000).exp_()  # divided among threads, which is when torch asks how many there are
        return torch.get_num_threads()

    for _ in range(3):
        assert sorted(side_by_side([own_threads] * 2, CPU)) == shares
    assert torch.get_num_threads() == given


@pytest.mark.parametrize("given", [1, 2])
def test_answers_are_in_order_and_without_gradients(threads: Callable[[int], None], given: int) -> None:
    threads(given)
    weight = torch.ones(3, requires_grad=True)
    first, second = side_by_side([partial(torch.mul, weight, k) for k in (1.0, 2.0)], CPU)
    assert (first.tolist(), second.tolist()) == ([1.0] * 3, [2.0] * 3)
    assert (first.requires_grad, second.requires_grad) == (False, False)


def test_one_thread_asks_in_turn(threads: Callable[[int], None]) -> None:
    threads(1)
    assert side_by_side([threading.get_ident] * 2, CPU) == [threading.get_ident()] * 2


def test_what_fails_is_raised_where_it_was_asked(threads: Callable[[int], None]) -> None:
    threads(2)

    def fail() -> None:
        raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        side_by_side([fail, lambda: None], CPU)
    assert side_by_side([lambda: 1, lambda: 2], CPU) == [1, 2]  # the next questions are answered
