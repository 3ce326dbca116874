"""What becomes of a run, and of a listing, whose standard output is closed or full."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

import pytest

from rlvr.cli.exits import readable_errors
from rlvr.cli.main import main
from rlvr.config import Config
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.tracking.output import GuardedOutput, lasting_output
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.runtime.tracking.waiting import StartConsole
from tests.helpers.forked import Done, forked

STEP = dict.fromkeys(("reward/mean", "accuracy", "length/mean", "rate/tokens_per_second"), 0.5)
STEP["seconds/step"] = 2.0
SAID = "rlvr: standard output cannot be written any more (Broken pipe)"


def without_a_reader(run: Callable[[], object], descriptors: tuple[int, ...] = (1,)) -> Done:
    """Call it in a process whose standard output (and error) is a pipe with its reader closed."""

    def broken() -> None:
        read, write = os.pipe()
        for descriptor in descriptors:
            os.dup2(write, descriptor)
        os.close(read)
        os.close(write)
        run()

    return forked(broken)


def on_a_full_disk(run: Callable[[], object]) -> Done:
    def full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        run()

    return forked(full)


def a_run(folder: RunFolder) -> None:
    """What a training says, from its start to its end, plain and in bars."""
    cfg = Config(recipe="test")
    cfg.tracking.wandb, cfg.steps = "off", 3
    folder.create(cfg)
    for mode in ("plain", "live"):
        with StartConsole(mode, dict) as console:
            tracker = Tracker(cfg, folder, 1, console)
            with tracker.phase("starting the actors"):
                tracker.note("a line")
            for step in (1, 2, 3):
                tracker.step(step, STEP)
            tracker.close()
            print("done", flush=True)
    print("and after it")


@pytest.mark.parametrize("descriptors", [(1,), (1, 2)])
def test_a_training_goes_on_where_nobody_reads_it(tmp_path, descriptors):
    folder = RunFolder(tmp_path, "mine")
    done = without_a_reader(lambda: a_run(folder), descriptors)
    assert done.returncode == 0
    assert done.stderr.count(SAID) == (1 if 2 not in descriptors else 0)
    assert "Traceback" not in done.stderr
    assert [row["step"] for row in folder.read_metrics()] == [1, 2, 3] * 2


def test_a_training_goes_on_where_its_log_has_no_room(tmp_path):
    done = on_a_full_disk(lambda: a_run(RunFolder(tmp_path, "mine")))
    assert done.returncode == 0
    assert done.stderr.count("cannot be written any more (No space left on device)") == 1


def test_an_output_that_is_read_is_left_as_it_was(capsys):
    before = sys.stdout
    with lasting_output(), readable_errors():
        print("a line")
    assert sys.stdout is before
    with pytest.raises(SystemExit), readable_errors():
        raise KeyboardInterrupt
    assert sys.stdout is before
    captured = capsys.readouterr()
    assert (captured.out, captured.err.strip()) == ("a line\n", "stopped by the user")


@pytest.mark.parametrize("arguments", [["recipes"], ["train", "--help"], ["version"]])
def test_a_listing_that_nobody_reads_ends_quietly(arguments):
    done = without_a_reader(lambda: main(arguments))
    assert (done.returncode, done.stderr) == (1, "")
    done = on_a_full_disk(lambda: main(arguments))
    assert done.returncode == 1
    assert done.stderr == "rlvr: standard output cannot be written (No space left on device)\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["plan"], ["train", "--cfg", "job"]])
def test_commands_with_a_configuration_do_as_well(arguments):
    done = without_a_reader(lambda: main(arguments))
    assert (done.returncode, done.stderr) == (1, "")


def test_a_working_folder_that_is_gone_is_named(tmp_path):
    def in_a_deleted_folder() -> None:
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        main(["plan"])

    done = forked(in_a_deleted_folder)
    assert done.returncode == 1
    assert done.stderr == "rlvr: the working folder has been deleted; cd to one that exists\n"


def closed_before_the_start(run: Callable[[], object]) -> Done:
    """Call it as a process whose shell has closed its standard output (`>&-`): Python has none then."""

    def without() -> None:
        before, sys.stdout = sys.stdout, None
        try:
            run()
        finally:
            sys.stdout = before

    return forked(without)


def test_a_listing_without_standard_output_says_so() -> None:
    done = closed_before_the_start(lambda: main(["help"]))
    assert done.returncode == 1
    assert "rlvr: standard output cannot be written (Bad file descriptor)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_standard_output_goes_on() -> None:
    def work() -> None:
        with lasting_output():
            print("a step")
            print("it goes on", file=sys.stderr)

    done = closed_before_the_start(work)
    assert done.returncode == 0
    assert "it goes on" in done.stderr


def test_characters_that_the_terminal_lacks_are_written_as_numbers() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    GuardedOutput(stream, pytest.fail).write("runs/ü done\n")
    assert stream.buffer.getvalue() == b"runs/\\xfc done\n"
