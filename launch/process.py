"""Processes that a job starts: ended with it whatever happens, and commands of SLURM with a deadline."""

from __future__ import annotations

import ctypes
import shlex
import signal
import subprocess
import time
from collections.abc import Callable

from rlvr.errors import RlvrError

COMMAND_SECONDS = 60.0  # for SLURM's commands to answer
_PR_SET_PDEATHSIG = 1


class JobError(RlvrError):
    """The job cannot be run or go on."""


class Cancelled(Exception):
    """SLURM or the user ends the job."""


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child is to do before it starts (`preexec_fn`): ask for this signal when its parent is gone."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it would kill the run until the run listens for it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, number)

    return prepare


def end(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> None:
    """Send a signal, and SIGKILL if that has not ended the process in time; nothing if it has ended already."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command_output(*command: str) -> str:
    """What a command of SLURM prints.

    Raises:
        JobError: it failed, or did not answer in time.
    """
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise JobError(f"{command[0]}: no answer within {COMMAND_SECONDS:g} s") from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise JobError(f"{shlex.join(command)}: {getattr(error, 'stderr', '') or error}") from error


def say(text: str) -> None:
    """A line in the job's output."""
    print(f"[launch {time.strftime('%Y-%m-%d %H:%M:%S')}] {text}", flush=True)
