"""Exceptions of the run's processes, so that each reaches the user in its own words. Pure: knows nothing of Ray.

A process whose constructor raises would be lost, and its reason with it; an exception that cannot be pickled would
arrive as a complaint about pickling. A guarded class keeps the one for the first call and rewrites the other.
"""

from __future__ import annotations

import functools
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from rlvr.errors import RlvrError

INSIDE = "(inside a process of the run, during: "  # begins the note on an exception that came from one
NAME = "RLVR_ACTOR"  # environment variable with the name of a process of the run
KEPT_LINES = 12  # of a library's message; some print a whole configuration


class RemoteError(RlvrError):
    """A library raised inside a process of the run: the message has its type, its words and the process."""


def portable(error: BaseException) -> Exception:
    """The exception itself where another process can read it, else a RemoteError with its type and words."""
    if isinstance(error, Exception):
        try:
            same = pickle.loads(pickle.dumps(error))
        except Exception:  # whatever a library's exception does when it is pickled
            same = None
        if type(same) is type(error) and str(same) == str(error):
            return error
    written = RemoteError(in_words(error))
    written.add_note("".join(traceback.format_exception(error)))
    return written


def in_words(error: BaseException) -> str:
    """`Type: message`, and the exceptions that led to it, each in at most a dozen lines."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < 4:
        lines = [line.rstrip() for line in str(cause).strip().splitlines() if line.strip()]
        text = "\n".join(lines[:KEPT_LINES]) + ("\n..." if len(lines) > KEPT_LINES else "")
        told.append(f"{type(cause).__name__}: {text}" if text else type(cause).__name__)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\nbecause of ".join(told)


def guarded(actor_class: type) -> type:
    """A subclass whose constructor never raises and whose public methods raise nothing that cannot travel.

    What the constructor raised is raised by every method, so by the first call that somebody waits for.
    """

    class Guarded(actor_class):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.failed_start: Exception | None = None
            try:
                super().__init__(*args, **kwargs)
            except BaseException as error:  # SystemExit as well: some libraries exit where they should raise
                self.failed_start = portable(error)

    for name in dir(actor_class):
        method = getattr(actor_class, name)
        if not name.startswith("_") and callable(method):
            setattr(Guarded, name, _guarded_method(method))
    Guarded.__name__, Guarded.__qualname__ = actor_class.__name__, actor_class.__qualname__
    return Guarded


def _guarded_method(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.failed_start is not None:
            raise self.failed_start
        try:
            return method(self, *args, **kwargs)
        except (Exception, SystemExit) as error:
            raise portable(error) from None

    return call
