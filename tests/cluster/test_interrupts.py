"""Interrupts that nobody sees the first time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.cli.exits import exit_code, readable_errors
from rlvr.cluster import interrupts, start
from rlvr.config import ClusterConfig
from rlvr.errors import EXIT_LOST, ConfigError, DeadlineError


class Swallowing:
    """What is interrupted in here goes nowhere: Python only prints a line about it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may have been started with nohup
    interrupts.listen()
    yield
    interrupts.settle()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_swallowed_interrupt_is_raised_at_the_next_look() -> None:
    interrupts.check()
    Swallowing()
    assert interrupts.asked()
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()


def ending(looked: list[str]) -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        interrupts.check()
        looked.append("while it ends")
        try:
            raise ValueError
        except ValueError:
            interrupts.check()
            looked.append("in an error on the way")


def test_what_ends_because_of_it_is_not_interrupted_again() -> None:
    looked: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        ending(looked)
    assert looked == ["while it ends", "in an error on the way"]


def command() -> None:
    with readable_errors():
        Swallowing()
        raise ValueError("what a library makes of it")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_command_says_it_once_and_is_done_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="130"):
        command()
    assert capsys.readouterr().err.endswith("\nstopped by the user\n")
    interrupts.check()


@pytest.mark.parametrize(("code", "raised"), [(signal.SIGTERM, KeyboardInterrupt), (1, SystemExit)])
def test_what_ray_makes_of_a_sigterm_while_it_starts_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, code: int, raised: type[BaseException]
) -> None:
    def init(**options: Any) -> None:
        sys.exit(code)

    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(raised):
        start(ClusterConfig(), actors=1)


def test_a_ray_that_does_not_start_here_is_not_looked_for_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        raise ValueError("no room")

    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(ConfigError, match=r"cluster.address=local: Ray cannot be started here \(no room\)$"):
        start(ClusterConfig(), actors=1)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            Exception("The node timed out during startup."),
            r"during startup\)\. Most often the machine is.*ulimit -u",
        ),
        (BlockingIOError(11, "Resource temporarily unavailable"), "unavailable.*ulimit -u"),
        (
            PermissionError(13, "Permission denied", "/scratch/ray"),
            r"/scratch/ray'\)\. It keeps sockets and logs in .*set RAY_TMPDIR to a folder that can",
        ),
    ],
)
def test_a_ray_that_does_not_come_up_is_one_sentence_and_worth_another_attempt(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    def init(**options: Any) -> None:
        raise raised

    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(DeadlineError, match=rf"Ray did not come up here \(.*{said}") as caught:
        start(ClusterConfig(), actors=1)
    assert exit_code(caught.value) == EXIT_LOST


def test_a_terminal_that_is_closed_interrupts_unless_nohup_has_it_ignored() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    interrupts.settle()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.listen()
    signal.raise_signal(signal.SIGHUP)
    interrupts.check()
