"""The supervisor of a job, started by the batch script on its first node (see launch/script.py).

With several nodes it starts Ray on all of them through srun and waits until each has joined; then it runs
`rlvr.train` and watches over both. SIGUSR1 (SLURM's warning before the time limit) is passed on: the run writes a
checkpoint and the job is requeued, as it is after a crash that left a newer checkpoint, and where a step outlasts
the warning. SIGTERM (scancel) closes the run. Whatever happens, nothing that was started here outlives the supervisor.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from launch.outcome import Decision, Ending, first_step, newest_step, summary_time, verdict
from launch.process import Cancelled, JobError, command_output, die_with_parent, end, say
from launch.ray_step import RayStep, job_number, ray_on_all_nodes
from rlvr.errors import RlvrError

NOTICE_SECONDS = 30.0  # for the run to end by itself once a node is lost
SRUN_SECONDS = 5.0  # for srun to end after a node that it lost
REPEAT_SECONDS = 5.0  # between two SIGUSR1: a run that is just starting does not listen yet
REQUEUE_SECONDS = 10.0  # for SLURM to requeue the job before its limit
LATE = "its step is not done: slurm.warn_seconds must cover a step, an evaluation and a checkpoint"


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line of the supervisor."""

    ray: RayStep
    warn_seconds: float
    max_requeues: int
    run_folder: Path
    training: tuple[str, ...]
    of_sweep: bool

    @property
    def grace_seconds(self) -> float:
        """How long the run may take to pause; the rest is for closing it and Ray, and for the requeue.

        Closing seldom takes its full time, so a short warning is shared by halves.
        """
        closing = 2 * self.ray.stop_seconds + REQUEUE_SECONDS
        return max(self.warn_seconds - closing, self.warn_seconds / 2)


@dataclass(slots=True)
class Signals:
    """What signals have asked for."""

    pause: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> Signals:
        """Take over the signals of this process."""
        signal.signal(signal.SIGUSR1, lambda number, frame: self.pause.set())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self.stop.set())
        return self


def parse(arguments: Sequence[str]) -> Settings:
    """The settings; those of a sweep's job come from its line of the sweep file.

    Raises:
        JobError: the sweep file has no line for this array task.
    """
    parser = argparse.ArgumentParser(prog="python -m launch.job", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--ready-seconds", type=float, required=True)
    parser.add_argument("--stop-seconds", type=float, required=True)
    parser.add_argument("--warn-seconds", type=float, required=True)
    parser.add_argument("--max-requeues", type=int, required=True)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--ray-port", type=int)
    parser.add_argument("--interface")
    parser.add_argument("--ray-arg", action="append", default=[])
    parser.add_argument("--run-folder", type=Path)
    parser.add_argument("--sweep-file", type=Path)
    parser.add_argument("training", nargs="*")
    a = parser.parse_args(list(arguments))
    run_folder, training = a.run_folder, tuple(a.training)
    if a.sweep_file is not None:
        task = int(os.environ["SLURM_ARRAY_TASK_ID"])
        try:
            line = json.loads(a.sweep_file.read_text().splitlines()[task])
            run_folder, training = Path(line["run_folder"]), tuple(line["arguments"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise JobError(
                f"{a.sweep_file}: has no job for array task {task} ({error!r}); submit again"
            ) from error
    ray = RayStep(
        nodes=a.nodes,
        ready_seconds=a.ready_seconds,
        stop_seconds=a.stop_seconds,
        logs=a.logs,
        port=a.ray_port,
        interface=a.interface,
        extra=tuple(a.ray_arg),
    )
    return Settings(ray, a.warn_seconds, a.max_requeues, run_folder, training, a.sweep_file is not None)


def supervise(settings: Settings, asked: Signals) -> Decision:
    """Run one attempt of the job and say what is to happen next.

    Raises:
        RlvrError: Ray could not be brought up.
        Cancelled: the job was ended from outside.
    """
    attempt = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    say(f"job {job_number()}, attempt {attempt + 1}, {settings.ray.nodes} node(s), {settings.run_folder}")
    written = summary_time(settings.run_folder)
    if written is not None and (attempt or settings.of_sweep):
        say("the run is finished already")
        return Decision(0)
    # Where the user names a checkpoint, it is where a job begins that has none of its own to go on from.
    named = None if attempt and newest_step(settings.run_folder) else named_checkpoint(settings.training)
    before = first_step(settings.run_folder, named)
    # Anybody who reaches an open Ray port can run code as this user: only holders of the token may join.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    resume = ["run.resume=auto"] if attempt and named is None else []
    with ExitStack() as stack:
        cluster: list[str] = []
        ray: subprocess.Popen[bytes] | None = None
        if settings.ray.nodes > 1:
            address, ray = stack.enter_context(ray_on_all_nodes(settings.ray, asked.stop.is_set))
            cluster = [f"cluster.address={address}"]
        ending = run_training([*settings.training, *resume, *cluster], ray, asked, settings)
    return verdict(
        ending,
        finished=summary_time(settings.run_folder) not in (None, written),
        before=before,
        after=newest_step(settings.run_folder),
        attempt=attempt,
        max_requeues=settings.max_requeues,
    )


def named_checkpoint(training: Sequence[str]) -> str | None:
    """The checkpoint that the run's own arguments name, None where they say auto or never."""
    values = [a.partition("=")[2].strip("'\"") for a in training if a.startswith("run.resume=")]
    return values[-1] if values and values[-1] not in ("auto", "never") else None


def run_training(
    arguments: Sequence[str], ray: subprocess.Popen[bytes] | None, asked: Signals, settings: Settings
) -> Ending:
    """Run `rlvr.train` to its end, passing on what is asked.

    Raises:
        Cancelled: SIGTERM came; the run has been closed.
    """
    command = [sys.executable, "-m", "rlvr.train", *arguments]
    say(shlex.join(["python", *command[1:]]))
    run = subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent(signal.SIGINT))
    stop_seconds = settings.ray.stop_seconds
    warned: float | None = None  # when SIGUSR1 came,
    told = 0.0  # and when it was last passed on
    lost: float | None = None
    late = False
    try:
        while run.poll() is None:
            now = time.monotonic()
            if asked.stop.is_set():
                say("ending the run: the job is being cancelled, or its time is up")
                end(run, signal.SIGINT, stop_seconds)
                raise Cancelled
            if asked.pause.is_set() and warned is None:
                say("SIGUSR1: the run is to write a checkpoint and stop")
                warned = now
            if warned is not None and now - told > REPEAT_SECONDS:
                told = now
                run.send_signal(signal.SIGUSR1)
            if warned is not None and now - warned > settings.grace_seconds:
                say(f"ending the run {settings.grace_seconds:.0f} s after the warning, {LATE}")
                late = True
                end(run, signal.SIGINT, stop_seconds)
            if ray is not None and ray.poll() is not None and lost is None:
                say(f"Ray has ended on some node (srun: exit code {ray.returncode})")
                lost = now
            if lost is not None and now - lost > NOTICE_SECONDS:
                end(run, signal.SIGINT, stop_seconds)
            time.sleep(0.2)
    finally:
        end(run, signal.SIGKILL, stop_seconds)
    if run.returncode and ray is not None and lost is None:
        with suppress(subprocess.TimeoutExpired):  # the run may have noticed a lost node before srun did
            ray.wait(SRUN_SECONDS)
            lost = time.monotonic()
    return Ending(
        run.returncode, pause_asked=warned is not None, node_lost=lost is not None, ended_for_limit=late
    )


def main() -> None:
    """Entry point."""
    asked = Signals().listen()
    try:
        settings = parse(sys.argv[1:])
        outcome = supervise(settings, asked)
        if outcome.message:
            say(outcome.message)
        if outcome.code and not outcome.requeue:
            own = f"submit again with run.name={settings.run_folder.name}"
            say("to go on, " + ("submit the same sweep again" if settings.of_sweep else own))
        if outcome.requeue:
            command_output("scontrol", "requeue", os.environ["SLURM_JOB_ID"])
        sys.exit(outcome.code)
    except Cancelled:
        say("cancelled")
        sys.exit(128 + signal.SIGTERM)
    except RlvrError as error:
        say(f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
