"""Commands in a process of their own that need not start Python and import everything again: a fork of this one."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Done:
    """How a process ended, as `subprocess.run` has it."""

    returncode: int
    stdout: str
    stderr: str


def run_module(module: str, *arguments: str, cwd: Path | None = None, **env: str) -> Done:
    """`python -m MODULE ARGUMENTS...`, in this folder, with these variables besides."""

    def run() -> None:
        os.environ.update(env)
        become(module, arguments, cwd or Path.cwd())

    return forked(run)


def become(module: str, arguments: Sequence[str], cwd: Path) -> None:
    """Do what `python -m MODULE ARGUMENTS...` does in this folder."""
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # runpy warns of a module that is there already
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def forked(run: Callable[[], object], seconds: float = 120) -> Done:
    """Call it in a fork and wait for its end; kills a fork that takes longer."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            os._exit(_call(run, out.fileno(), err.fileno()))
        try:
            status = _wait(child, time.monotonic() + seconds)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        return Done(os.waitstatus_to_exitcode(status), _content(out), _content(err))


def _wait(child: int, end: float) -> int:
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        assert time.monotonic() < end, "the forked command did not end in time"
        time.sleep(0.005)


def _call(run: Callable[[], object], out: int, err: int) -> int:
    """The exit code of Python, had this been all of its program."""
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code: object = None
        try:
            run()
        except SystemExit as ended:
            code = ended.code
            if code is not None and not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        return code if isinstance(code, int) else 0
    except BaseException:
        return 120  # as Python has it where its own end fails


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
