"""How a command ends: errors that a user can act on in one message, and the exit code that each of them has."""

from __future__ import annotations

import os
import sys
from contextlib import ContextDecorator
from typing import Any

from rlvr.cli.surroundings import STOPPED
from rlvr.cluster import interrupts
from rlvr.errors import (
    EXIT_INTERRUPTED,
    EXIT_LOST,
    EXIT_PAUSED,
    ActorError,
    DeadlineError,
    PausedError,
    RlvrError,
)
from rlvr.runtime.tracking.output import ending_output


class readable_errors(ContextDecorator):
    """Print an error meant for the user as one message and exit as `exit_code` says; Ctrl-C exits with 130.

    A command whose output nobody reads ends as well, unless it has begun `lasting_output`.
    """

    def __enter__(self) -> None:
        interrupts.listen()
        self._output = ending_output()
        self._output.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._output.__exit__(kind, error, trace)
        # An interrupt inside a library can come out as that library's own error.
        if error is not None and (isinstance(error, KeyboardInterrupt) or interrupts.asked()):
            interrupts.settle()
            print(STOPPED, file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)
        # Whatever looks at a path may meet another user's folder, and no caller can do more about it.
        if isinstance(error, PermissionError) and error.filename is not None:
            error = RlvrError(
                f"{error.filename}: this user (uid {os.geteuid()}) may not use it ({error.strerror}); ask its owner to "
                "let you, or name another place"
            )
        if isinstance(error, RlvrError) and not os.environ.get("RLVR_TRACEBACK"):
            notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", []))
            print(f"\n{type(error).__name__}: {error}{notes}", file=sys.stderr)
            print("(RLVR_TRACEBACK=1 shows where)", file=sys.stderr)
            sys.exit(exit_code(error))


def exit_code(error: RlvrError) -> int:
    """What a process that ends with this error exits with: 75 after a pause, 69 for a lost process, else 1."""
    if isinstance(error, PausedError):
        return EXIT_PAUSED
    return EXIT_LOST if isinstance(error, ActorError | DeadlineError) else 1
