"""Commands whose Python has already imported what they need: forks of a server, one to each process of pytest.

Half of what a driver computes in a run of four steps is the import of torch, transformers and Ray. Variables are set
after that: where a library is to read one as it is imported, start the command anew.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.forked import become
from tests.helpers.paths import REPOSITORY

_COMMANDS = (
    "rlvr.train",
    "rlvr.findings",
    "rlvr.evaluate",
    "rlvr.analyze",
    "rlvr.cross_sample",
    "launch.slurm",
)
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*_COMMANDS, "ray", "transformers.models.auto.tokenization_auto", "pyarrow"])


class Preloaded:
    """`python -m MODULE ARGUMENTS...` in a session of its own, with what `subprocess.Popen` offers to look after it."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        output: Path,
        errors: Path | None = None,  # None: as the rest of the output
        cwd: Path = REPOSITORY,
        variables: Mapping[str, str] | None = None,  # None: those of this process
    ) -> None:
        variables = dict(os.environ if variables is None else variables)
        files = (output, errors or output)
        self._process = _CONTEXT.Process(target=_run, args=(module, arguments, files, cwd, variables))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    module: str,
    *arguments: str,
    timeout: float,
    cwd: Path = REPOSITORY,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` does with `capture_output`."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        started = Preloaded(module, arguments, output=output, errors=errors, cwd=cwd, variables=variables)
        try:
            code = started.wait(timeout)
        finally:
            started.send_signal(9)
        return subprocess.CompletedProcess([module, *arguments], code, output.read_text(), errors.read_text())


def _run(
    module: str, arguments: Sequence[str], files: Sequence[Path], cwd: Path, variables: Mapping[str, str]
) -> None:
    os.setsid()
    for number, file in enumerate(files, start=1):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(variables)
    try:
        become(module, arguments, cwd)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
