"""Stopping between two steps when a scheduler asks for it, so that the run can go on later."""

from __future__ import annotations

import signal
import threading


def listen_for_pause() -> threading.Event:
    """An event that SIGUSR1 sets from now on; the loop looks at it at the end of each step.

    SLURM sends the signal some time before a job's limit (`#SBATCH --signal`), see `launch`.
    """
    asked = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, lambda number, frame: asked.set())
    return asked
