"""What actors are busy with, where whoever waits for them can read it while their calls go on.

It lies in Ray's key-value store: an actor in its constructor, or in a long call, answers no other call.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import astuple, dataclass
from time import monotonic

ACTOR = "RLVR_ACTOR"  # environment variable: the name of the actor that a process is
REPORT_SECONDS = 1.0  # between two reports of one count
NAMESPACE = "rlvr"
_open = threading.Lock()
_closed = threading.Event()


@dataclass(frozen=True, slots=True)
class Doing:
    """What an actor is busy with, and how far it is; no words: it is ready for calls."""

    what: str
    done: float = 0.0
    total: float = 0.0  # 0: cannot be counted
    unit: str = ""

    def __str__(self) -> str:
        if not self.total:
            return self.what
        form = ",.0f" if self.total >= 100 else ".3g"
        return f"{self.what} {self.done:{form}} of {self.total:{form}} {self.unit}".rstrip()


READY = Doing("")
UNPLACED = Doing("its process starts")  # or Ray has no node for it yet
PLACED = Doing("its process is there")


class Counter:
    """Reports how many of a total are done, now and then; outside an actor to nobody."""

    def __init__(self, what: str, total: float, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._said = 0.0, monotonic()
        report(Doing(what, 0, total, unit))

    def add(self, count: float = 1) -> None:
        """So many more are done."""
        self._done += count
        if monotonic() - self._said >= REPORT_SECONDS:
            report(Doing(self._what, self._done, self._total, self._unit))
            self._said = monotonic()


def report(doing: Doing) -> None:
    """Say what this actor is busy with; nothing happens in a process that is none."""
    name = os.environ.get(ACTOR)
    if name is not None and "ray" in sys.modules:
        post(name, doing)


def post(name: str, doing: Doing) -> None:
    """Say it of another actor; the driver does so before the actor's process exists."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_put

    if ray.is_initialized():
        _internal_kv_put(f"{_prefix()}{name}", json.dumps(astuple(doing)), namespace=NAMESPACE)


def reports() -> dict[str, Doing]:
    """What every actor of this process's cluster said last, by name; nothing before it starts and after its end."""
    if "ray" not in sys.modules:
        return {}
    import ray
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_list

    with _open:
        if _closed.is_set() or not ray.is_initialized():
            return {}
        prefix = _prefix()
        found = {
            key: _internal_kv_get(key, namespace=NAMESPACE)
            for key in _internal_kv_list(prefix, namespace=NAMESPACE)
        }
    return {
        key.decode().removeprefix(prefix): Doing(*json.loads(value)) for key, value in found.items() if value
    }


def open_board() -> None:
    """A cluster has been started."""
    _closed.clear()


def close_board() -> None:
    """A cluster is about to end: a question that it could no longer answer would end this process as well."""
    with _open:
        _closed.set()


def _prefix() -> str:
    import ray

    return f"doing/{ray.get_runtime_context().get_job_id()}/"
