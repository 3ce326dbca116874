"""Ctrl-C, SIGTERM and a closed terminal: remembered, so that one which a library has swallowed ends the command."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_asked = threading.Event()


def listen() -> None:
    """Have them raise KeyboardInterrupt from now on; only the main thread can say so, others change nothing."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signal.SIGHUP, _interrupt)


def asked() -> bool:
    """Whether this process has been asked to end; an interrupt can come out of a library as the library's own error."""
    return _asked.is_set()


def settle() -> None:
    """Forget it: the command has ended for it."""
    _asked.clear()


def check() -> None:
    """Raise the interrupt again where it came to nothing: raised in a destructor or a callback, it only leaves a line.

    Raises:
        KeyboardInterrupt: the process has been asked to end, and this is not yet part of its ending.
    """
    ending = any(isinstance(error, KeyboardInterrupt) for error in _being_handled())
    if asked() and not ending and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _being_handled() -> Iterator[BaseException]:
    error = sys.exception()
    while error is not None:
        yield error
        error = error.__context__


def _interrupt(signum: int, frame: Any) -> None:
    _asked.set()
    raise KeyboardInterrupt
