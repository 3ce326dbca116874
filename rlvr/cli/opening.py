"""How every command begins, and with it how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rlvr.cli.exits import readable_errors
from rlvr.cli.help import answer_help
from rlvr.cli.overrides.command_line import check_text


@contextmanager
def opened(command: str) -> Iterator[None]:
    """Answer `--help`, refuse a line that is no text, and print errors of the block as `readable_errors` does."""
    with readable_errors():
        answer_help(command)
        check_text(sys.argv[1:])
        yield
