"""Standard output whose reader goes away (`| head -3`), or whose disk is full: a run goes on, a listing ends."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

FALLS_SILENT = (
    "rlvr: standard output cannot be written any more ({}). Nothing further is said there; the work goes on, and what "
    "it finds is in its files."
)


class GuardedOutput:
    """A text stream that calls `lost` the first time it cannot be written, and from then on swallows what it is given.

    Everything but writing is left to the stream itself; of a guarded one, to the stream behind it.
    """

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None]) -> None:
        self._stream: TextIO = stream._stream if isinstance(stream, GuardedOutput) else stream
        self._lost, self._silent = lost, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or swallow."""
        if not self._silent:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:  # PYTHONIOENCODING=ascii, say, and a path or an answer with an accent
                code = self._stream.encoding
                return self._stream.write(text.encode(code, "backslashreplace").decode(code))
            except OSError as error:
                self._give_up(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each, or swallow."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, unless nobody listens."""
        if not self._silent:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._silent = True
        _to_nowhere(self._stream)
        self._lost(error)


def _to_nowhere(stream: TextIO) -> None:
    """What the stream still holds must not fail a second time, when Python flushes it at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # no stream of the system's, as in a notebook
        return


def _open_stream(stream: TextIO | None) -> TextIO:
    """The stream, or where it was closed before the start (`>&-`) one that fails as a closed one does."""
    return cast("TextIO", _Closed()) if stream is None else stream


class _Closed(io.TextIOBase):
    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


@contextmanager
def lasting_output() -> Iterator[None]:
    """Work that goes on without its output: stderr says once that it is lost, and stderr may be lost as well."""
    before = sys.stdout, sys.stderr
    errors = GuardedOutput(_open_stream(sys.stderr), lambda error: None)

    def lost(error: OSError) -> None:
        print(FALLS_SILENT.format(error.strerror), file=errors, flush=True)

    sys.stdout, sys.stderr = GuardedOutput(_open_stream(sys.stdout), lost), errors
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def ending_output() -> Iterator[None]:
    """Work that is nothing without its output: ends with code 1, quietly where the reader has seen enough."""
    if isinstance(sys.stdout, GuardedOutput):
        yield  # whoever guards it has decided
        return
    before = sys.stdout

    def lost(error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            print(f"rlvr: standard output cannot be written ({error.strerror})", file=sys.stderr)
        sys.exit(1)

    sys.stdout = GuardedOutput(_open_stream(sys.stdout), lost)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = before
