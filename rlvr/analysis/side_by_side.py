"""The same question put to two models at once: on a CPU each has its share of the cores.

Divided among all cores, every operation ends with a wait for the slowest of them; beside a busy process on every core
these waits add up. Two threads that compute alone wait for one another once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Answer = TypeVar("Answer")


def side_by_side(questions: Sequence[Callable[[], Answer]], device: torch.device) -> list[Answer]:
    """The answers in their order, without gradients; in turn on a GPU, or where there are fewer threads than questions.

    Raises what the first question to fail has raised.
    """
    count = len(questions)
    if at_once(count, device) < 2:
        return [_answer(question) for question in questions]
    return list(_pool(torch.get_num_threads(), count).map(_answer, questions))


def at_once(count: int, device: torch.device) -> int:
    """How many of so many questions are answered at a time: all or one."""
    return count if device.type == "cpu" and torch.get_num_threads() >= count else 1


@torch.inference_mode()
def _answer(question: Callable[[], Answer]) -> Answer:
    return question()


@lru_cache(maxsize=1)
def _pool(threads: int, count: int) -> ThreadPoolExecutor:
    """Workers that share so many threads out. torch counts threads by thread, and has a number for those to come."""
    shares = iter([threads // count + (place < threads % count) for place in range(count)])
    all_there = threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes the common number when it is first asked for, not later
        torch.set_num_threads(next(shares))
        all_there.wait()

    pool = ThreadPoolExecutor(count, "rlvr-model", begin)
    for started in [pool.submit(torch.get_num_threads) for _ in range(count)]:
        started.result()
    torch.set_num_threads(threads)
    return pool
