"""Classes that fail the way libraries do, to be run as processes of a run."""

from __future__ import annotations

import os
import sys
import time


class Unpicklable(Exception):
    """Needs two arguments, so pickle cannot make it again; holds something that cannot be pickled at all."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")
        self.handle = lambda: None


class Failing:
    """Fails in its constructor or in its call, as told."""

    def __init__(self, how: str) -> None:
        if how == "unpicklable":
            raise Unpicklable("max_model_len 4096", "256 positions")
        if how == "exit":
            sys.exit("engine core initialisation failed")
        if how == "chained":
            try:
                raise ValueError("the inner reason")
            except ValueError as error:
                raise RuntimeError("Engine core initialization failed. See root cause above.") from error

    def work(self, how: str) -> int:
        if how == "unpicklable":
            raise Unpicklable("shape [0]", "scoring")
        if how == "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        if how == "die":
            os._exit(3)
        return 7

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
