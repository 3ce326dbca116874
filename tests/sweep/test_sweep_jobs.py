"""The processes of a sweep: side by side or in turn, their logs and last words, and how they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from rlvr.sweep.jobs import Task, last_words, run_tasks
from rlvr.sweep.slots import Need, Room
from tests.helpers.disks import fill, small_disk
from tests.helpers.paths import REPOSITORY

PROGRAM = """
import os, sys, time
do, argument = sys.argv[1:]
print("started", argument, flush=True)
if do == "exit":
    print("ValueError: wrong\\nand more", file=sys.stderr)
    sys.exit(int(argument))
if do == "kill":
    os.kill(os.getpid(), 9)
if do == "meet":  # only ends once the other one runs, too
    open(argument, "a").write(os.environ.get("CUDA_VISIBLE_DEVICES", "-") + "\\n")
    end = time.monotonic() + 90
    while len(open(argument).readlines()) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
"""
SMALL, ROOM = Need(1, 1), Room(2, 1000)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose job_program.py `python -m` finds."""
    (tmp_path / "job_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def task(folder: Path, name: str, *arguments: object, need: Need = SMALL) -> Task:
    """A job of the program above."""
    return Task(name, "job_program", tuple(map(str, arguments)), need, folder / name)


def run(tasks: list[Task], room: Room) -> list[tuple[str, str]]:
    """(event, what) in their order: starts with `log` or `console`, ends with the problem."""
    events: list[tuple[str, str]] = []
    run_tasks(
        tasks,
        room,
        on_start=lambda t, logged: events.append((f"start {t.name}", "log" if logged else "console")),
        on_end=lambda t, problem: events.append((f"end {t.name}", problem)),
    )
    return events


def test_one_at_a_time_writes_to_the_console(module, capfd):
    events = run([task(module, "a", "exit", 0), task(module, "b", "exit", 3)], Room(1, 1000))
    assert events == [
        ("start a", "console"),
        ("end a", ""),
        ("start b", "console"),
        ("end b", "exit code 3, see its output above"),
    ]
    said = capfd.readouterr()
    assert "started 0" in said.out
    assert "ValueError: wrong" in said.err
    assert not (module / "a").exists()


def test_side_by_side_each_has_its_log_and_its_gpu(module, capfd):
    meeting = module / "meeting"
    jobs = [task(module, name, "meet", meeting, need=Need(1, 1, gpus=1)) for name in "ab"]
    events = run(jobs, Room(2, 1000, gpus=("3", "5")))
    assert [what for what, _ in events[:2]] == ["start a", "start b"]
    assert set(events[2:]) == {("end a", ""), ("end b", "")}
    assert sorted(meeting.read_text().split()) == ["3", "5"]
    assert capfd.readouterr() == ("", "")
    for name in "ab":
        header, started = (module / name / "console.log").read_text().splitlines()
        assert header.startswith("=== 20")
        assert header.endswith(f"python -m job_program meet {meeting}")
        assert started == f"started {meeting}"


@pytest.mark.slow
def test_a_broken_job_says_its_last_words_and_a_repeat_appends(module):
    jobs = [task(module, "bad", "exit", 2), task(module, "dead", "kill", 0), task(module, "good", "exit", 0)]
    for _ in range(2):
        ends = dict(e for e in run(jobs, ROOM) if e[0].startswith("end"))
        assert ends == {
            "end bad": f"exit code 2: ValueError: wrong\n    output in {module}/bad/console.log",
            "end dead": f"ended by SIGKILL: started 0\n    output in {module}/dead/console.log",
            "end good": "",
        }
    assert (module / "bad" / "console.log").read_text().count("=== 20") == 2


def test_a_folder_that_cannot_be_made_is_the_failure_of_one_job(module):
    (module / "bad").write_text("a file where the folder should be")
    ends = dict(run([task(module, "bad", "exit", 0), task(module, "good", "exit", 0)], ROOM))
    assert ends["end bad"] == f"cannot be started: {module}/bad: File exists"
    assert ends["end good"] == ""


@pytest.fixture
def full_disk(tmp_path: Path):
    """A file system of 64 KB that has two files and no more room."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        yield disk


def test_a_full_disk_fails_one_job_after_the_other_without_a_traceback(module, full_disk):
    fill(full_disk)
    jobs = [task(full_disk, "a", "exit", 0), task(full_disk, "b", "exit", 0)]
    assert run(jobs, ROOM)[1::2] == [
        (f"end {name}", "cannot be started: job_program: No space left on device") for name in "ab"
    ]


def test_a_log_that_runs_full_does_not_end_the_job(module, full_disk):
    (module / "job_program.py").write_text(
        "import sys\nfor _ in range(300):\n    print('x' * 1000)\nprint('OSError: last words')\n"
        "sys.exit(int(sys.argv[2]))"
    )
    jobs = [task(full_disk, "a", "exit", 0), task(full_disk, "b", "exit", 4)]
    ends = dict(e for e in run(jobs, ROOM) if e[0].startswith("end"))
    assert ends["end a"] == ""
    assert ends["end b"] == (
        f"exit code 4: OSError: last words\n    output in {full_disk}/b/console.log, which is incomplete "
        "(No space left on device)"
    )


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", ""),
        ("one\n\x1b[31mtwo\x1b[0m\n\n", "two"),
        ("DataError: row 7 is bad\n(RLVR_TRACEBACK=1 shows where)\n", "DataError: row 7 is bad"),
        (
            "KeyError: 1\n\nDuring handling\nrlvr.errors.DataError: 2\nDataErrors are rare",
            "rlvr.errors.DataError: 2",
        ),
        ("50%\rOSError: [Errno 28] No space left on device\r", "OSError: [Errno 28] No space left on device"),
        ("A line about an Error: no", "A line about an Error: no"),
        ("x" * 500, "x" * 300),
    ],
)
def test_last_words(output, words):
    assert last_words(output) == words


STOPPED = """
import signal, sys
from pathlib import Path
from rlvr.sweep import jobs as sweep_jobs
from rlvr.sweep.slots import Need, Room

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
signal.signal(signal.SIGINT, interrupt)
sweep_jobs.STOP_SECONDS = float(sys.argv[2])
folder = Path(sys.argv[1])
tasks = [sweep_jobs.Task(n, "sleeper", (str(folder / n),), Need(1, 1), folder / n) for n in "abc"]
try:
    sweep_jobs.run_tasks(tasks, Room(int(sys.argv[3]), 100), on_start=lambda *_: None, on_end=lambda *_: None)
except KeyboardInterrupt:
    sys.exit(130)
"""
SLEEPER = """
import signal, sys, time
from pathlib import Path
asked = []
if "stubborn" in sys.argv[1]:
    signal.signal(signal.SIGINT, lambda *_: asked.append(1))
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / "ready").write_text("")
try:
    time.sleep(60)
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    time.sleep(0.5)  # closing its engines
    (folder / "closed").write_text("")
"""


def stoppable(
    tmp_path: Path, seconds: float, cores: int
) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """A sweep of three sleepers that has as many running as there are cores."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    command = [sys.executable, "-c", textwrap.dedent(STOPPED), str(tmp_path), str(seconds), str(cores)]
    sweep = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"})
    end = time.monotonic() + 90
    while len(list(tmp_path.glob("*/ready"))) < cores:
        assert time.monotonic() < end
        time.sleep(0.02)
    return sweep, psutil.Process(sweep.pid).children()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("cores", [1, 2])
def test_a_stop_reaches_all_that_run_and_starts_no_other(tmp_path, number, cores):
    sweep, children = stoppable(tmp_path, 20, cores)
    sweep.send_signal(number)
    assert sweep.wait(90) == 130
    assert len(list(tmp_path.glob("*/closed"))) == len(children) == cores
    assert not (tmp_path / "c").exists()


def test_those_that_do_not_stop_are_killed_together(tmp_path):
    folder = tmp_path / "stubborn"
    folder.mkdir()
    sweep, children = stoppable(folder, 0.5, 2)
    before = time.monotonic()
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(90) == 130
    assert 0.5 <= time.monotonic() - before < 60
    assert not any(child.is_running() for child in children)


def test_a_second_signal_kills_at_once(tmp_path):
    folder = tmp_path / "stubborn"
    folder.mkdir()
    sweep, children = stoppable(folder, 60, 2)
    sweep.send_signal(signal.SIGINT)
    time.sleep(0.5)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(90) == 130
    assert not any(child.is_running() for child in children)


@pytest.mark.slow  # waits for a deadline
def test_jobs_end_with_a_sweep_that_is_killed(tmp_path):
    sweep, children = stoppable(tmp_path, 20, 2)
    sweep.kill()
    sweep.wait(90)
    _, alive = psutil.wait_procs(children, timeout=90)
    assert not alive
    assert len(list(tmp_path.glob("*/closed"))) == 2


def test_a_process_that_outlives_its_job_holds_up_nothing(module):
    (module / "job_program.py").write_text(
        "import os, subprocess, sys\nchild = subprocess.Popen(['sleep', '60'])\nprint('child', child.pid)\n"
    )
    before = len(os.listdir("/proc/self/fd"))
    started = time.monotonic()
    jobs = [task(module, name, "exit", 0) for name in "ab"]
    events = run(jobs, ROOM)
    assert time.monotonic() - started < 30
    assert [problem for _, problem in events[2:]] == ["", ""]
    assert len(os.listdir("/proc/self/fd")) == before
    for job in jobs:
        os.kill(int(job.log.read_text().split()[-1]), signal.SIGKILL)
