"""What an exception inside an actor becomes on its way to the user.

A library's exception may not survive the way between two processes: its class is unknown on the other side,
wants arguments, or holds a lock. So it is put into words where it is raised.
"""

from __future__ import annotations

import errno
import functools
import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from rlvr.cluster.board import ACTOR, PLACED, report
from rlvr.errors import RemoteError, RemoteOSError, RlvrError

MAX_LINES = 12
MAX_LINE = 600  # characters
SHARED_MEMORY = "/dev/shm"
FULL_MB = 64  # a disk with less room may have been too full for what was refused


def guarded(actor_class: type) -> type:
    """The class as it runs in an actor: nothing but an RlvrError leaves it.

    A constructor that fails leaves an object whose every method raises the reason: a constructor's exception
    would end the process, and be told from a crash by its text only.
    """

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self._failed_start = None
        try:
            report(PLACED)
            actor_class.__init__(self, *args, **kwargs)  # type: ignore[misc]
        except BaseException as error:
            self._failed_start = portable(error)

    members = {name: getattr(actor_class, name) for name in dir(actor_class) if not name.startswith("_")}
    methods: dict[str, Any] = {name: _guarded(m) for name, m in members.items() if callable(m)}
    return type(actor_class.__name__, (actor_class,), methods | {"__init__": __init__})


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._failed_start is not None:
            raise self._failed_start
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            raise portable(error) from error

    return call


def portable(error: BaseException) -> RlvrError:
    """The exception itself if it is one of ours, else its words; its traceback goes to the actor's log.

    Raises:
        BaseException: `error` itself where Ray asks the process to end.
    """
    if isinstance(error, KeyboardInterrupt) or hasattr(error, "ray_terminate_msg"):
        raise error
    if isinstance(error, RlvrError) and type(error).__module__.startswith("rlvr.") and _survives(error):
        return error
    traceback.print_exception(error)
    log = os.path.realpath("/proc/self/fd/2")
    where = f"\n(the traceback is in {log})" if os.path.isfile(log) else ""
    kind = RemoteOSError if isinstance(error, OSError) else RemoteError
    return kind(f"{os.environ.get(ACTOR, 'an actor')} failed with {in_words(error)}{where}")


def _survives(error: Exception) -> bool:
    try:
        return str(pickle.loads(pickle.dumps(error))) == str(error)
    except Exception:  # anything may be attached to it
        return False


def in_words(error: BaseException) -> str:
    """Type and text of an exception and, where there is one, of its first cause."""
    chain = [error]  # a cause may lead back to what it caused
    while (beneath := _beneath(chain[-1])) is not None and all(beneath is not e for e in chain):
        chain.append(beneath)
    said, first = _say(error), _say(chain[-1])
    return said if len(chain) == 1 or first.partition(": ")[2] in said else f"{said}\nbecause of {first}"


def _beneath(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _say(error: BaseException) -> str:
    try:
        text = _problems(error) or str(error)
    except Exception:  # a library's own __str__ may fail
        text = "(its text cannot be read)"
    text += _full(error)
    lines = [line.rstrip()[:MAX_LINE] for line in text.splitlines() if line.strip()]
    if len(lines) > MAX_LINES:  # the subject comes first, the reason last
        lines = [*lines[: MAX_LINES // 3], "...", *lines[-(MAX_LINES - MAX_LINES // 3) :]]
    return f"{type(error).__name__}: " + "\n".join(lines)


def _full(error: BaseException) -> str:
    """Where a disk is full: the system does not say so of semaphores and shared memory, which are files as well."""
    if not isinstance(error, OSError) or error.errno != errno.ENOSPC or error.filename is not None:
        return ""
    said = []
    for place in dict.fromkeys((SHARED_MEMORY, tempfile.gettempdir(), os.path.expanduser("~"))):
        try:
            room = shutil.disk_usage(place)
        except OSError:
            continue
        if room.free < FULL_MB * 2**20:
            said.append(f"{place} has {room.free / 2**20:.0f} of {room.total / 2**20:.0f} MiB left")
    return f" ({'; '.join(said)})" if said else ""


def _problems(error: BaseException) -> str:
    """The messages of a pydantic error; its text is mostly a print of what was checked."""
    if type(error).__name__ != "ValidationError" or not hasattr(error, "errors"):
        return ""
    return "\n".join(": ".join([*map(str, found["loc"]), found["msg"]]) for found in error.errors())
