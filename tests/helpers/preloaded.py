"""Commands whose Python has already imported what they need: forks of a server, one to each process of pytest.

Half of what a driver computes in a run of four steps is the import of torch, transformers and Ray.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_COMMANDS = ("rlvr.train", "rlvr.findings")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_COMMANDS, "ray", "transformers.models.auto.tokenization_auto", "pyarrow"])


class Preloaded:
    """`python -m MODULE ARGUMENTS...` in a session of its own, with what `subprocess.Popen` offers to look after it.

    Its variables are set after the libraries were imported: where one of these is to read them, start it anew.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], cwd: Path, variables: Mapping[str, str], log: Path
    ) -> None:
        log.touch()
        self._process = _CONTEXT.Process(target=_run, args=(module, arguments, cwd, dict(variables), log))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As it was when `poll` or `wait` looked last."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(module: str, arguments: Sequence[str], cwd: Path, variables: Mapping[str, str], log: Path) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # it is about to become __main__
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
