"""The trusted side of a jail: starts it, gives it one program after the other, and uses what they define.

Tests run here. A name that the program defines is a `Remote` in them, and calling it sends the arguments in and a
plain value back; so a program sees neither the tests nor what they expect, and cannot pass them by leaving early.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError
from rlvr.reward.sandbox import kernel, values
from rlvr.timing import Deadline

START_SECONDS = 10.0  # to lock a process up, before the program's own time begins
_SCRIPT = Path(__file__).with_name("jail.py")


class JailError(RlvrError):
    """The jail itself does not work, which says nothing about a program."""


class ProgramEnded(Exception):
    """The program's process is gone, or broke the rules: it cannot pass."""


class OutOfTime(ProgramEnded):
    """The program took longer than it may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    seconds: float = 4.0  # all of a response's programs together, computing or not
    memory_bytes: int = 512 << 20  # beyond what Python itself has
    file_bytes: int = 16 << 20
    folder_bytes: int = 64 << 20  # where the kernel lets it be mounted
    output_bytes: int = 4 << 20


class Warden:
    """One process that forks a jailed one for each program; ends with the thread that made it, or by `close`.

    Raises:
        JailError: the kernel lacks what a jail is made of.
    """

    def __init__(self) -> None:
        if reason := kernel.missing():
            raise JailError(
                f"programs cannot be run safely here: {reason}. Grade such a task on a machine that has it, or with a "
                "verifier of your own (reward.verifier=package.module:function) that asks another service."
            )
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_SCRIPT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={},  # it could be read from the memory of the jails
            )
        self._orders = ours

    def close(self) -> None:
        """End the jail's process."""
        self._orders.close()
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def program(self, limits: Limits) -> Iterator[Cell]:
        """A fresh process for one program, gone with its folder at the end of the block.

        Raises:
            JailError: the process that makes them is gone, or this one could not be locked up.
        """
        with _folder() as folder, contextlib.ExitStack() as stack:
            requests, replies = os.pipe(), os.pipe()
            for descriptor in (requests[1], replies[0]):
                stack.callback(os.close, descriptor)
            order = {"folder": folder, **asdict(limits)}
            try:
                socket.send_fds(self._orders, [json.dumps(order).encode()], [requests[0], replies[1]])
                int(self._orders.recv(32))
            except (OSError, ValueError) as error:
                raise JailError(f"the jail's process is gone ({error})") from error
            finally:
                os.close(requests[0])
                os.close(replies[1])
            try:
                yield Cell(requests[1], replies[0], limits.seconds)
            finally:
                with contextlib.suppress(OSError):  # gone itself, which the next program will find
                    self._orders.send(b"end")
                    self._orders.recv(32)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="rlvr-jail-")
    try:
        yield folder
    finally:
        subprocess.run(["rm", "-rf", "--", folder], check=False)  # however deep a program has made it


class Cell:
    """One program in its process."""

    def __init__(self, requests: int, replies: int, seconds: float) -> None:
        self._requests, self._replies = requests, replies
        self.time = Deadline(START_SECONDS)
        self._waiting = b""
        os.set_blocking(requests, False)
        try:
            self._line()  # it is locked up
        except ProgramEnded as error:
            raise JailError(
                f"a program could not be locked up ({error}); the grader's log says why"
            ) from error
        self.time = Deadline(seconds)  # the program's own

    def load(self, text: str) -> list[str]:
        """Run the program as a module; the names that it has.

        Raises:
            Exception: what the program raised.
            ProgramEnded: it ended its process, or was too slow.
        """
        names = self.ask("load", text)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ProgramEnded("the program answered in the jail's place")
        return names

    def name(self, name: str) -> Any:
        """What a name of the program stands for."""
        return self.ask("name", name)

    def script(self, text: str, given: str) -> str:
        """What the program writes on an input; raises as `load`."""
        return str(self.ask("script", text, given))

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A call of something inside; lists and dictionaries among the arguments take what it made of them."""
        answer = self.ask("call", number, list(arguments), named)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], list)):
            raise ProgramEnded("the program answered in the jail's place")
        for before, after in zip(arguments, answer[1], strict=False):
            if type(before) is list and type(after) is list:
                before[:] = after
            elif type(before) in (dict, set) and type(after) is type(before):
                before.clear()
                before.update(after)
        return answer[0]

    def ask(self, order: str, *arguments: Any) -> Any:
        """What the other side makes of an order with plain arguments; raises as `load`."""
        message = {"order": order, "arguments": values.dump(list(arguments), _number_of)}
        self._send(values.to_line(message))
        try:
            answer = json.loads(self._line())
            if "value" in answer:
                return values.load(answer["value"], self._remote)
            (name,), text = answer["raised"], str(answer["text"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProgramEnded(f"the program wrote into the jail's answers ({error})") from error
        if name == "StopIteration" and order != "apply":  # it would end a loop of the tests
            raise RuntimeError(f"the program raised StopIteration: {text}")
        raise _exception(name, text)

    def _remote(self, number: int) -> Remote:
        return Remote(self, number)

    def _send(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            _, ready, _ = select.select([], [self._requests], [], self.time.left)
            if not ready:
                raise OutOfTime("the program took longer than it may")
            try:
                rest = rest[os.write(self._requests, rest) :]
            except BrokenPipeError as error:
                raise ProgramEnded("the program ended its process") from error

    def _line(self) -> bytes:
        while b"\n" not in self._waiting:
            ready, _, _ = select.select([self._replies], [], [], self.time.left)
            if not ready:
                raise OutOfTime("the program took longer than it may")
            piece = os.read(self._replies, 1 << 16)
            if not piece:
                raise ProgramEnded("the program ended its process")
            self._waiting += piece
            if len(self._waiting) > 2 * values.LARGEST:
                raise ProgramEnded("the program answered with more than a message may have")
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line


class Remote:
    """Something inside a jail, as tests use it: called, looked into, gone through; equal to nothing but itself."""

    __slots__ = ("_cell", "_number")

    def __init__(self, cell: Cell, number: int) -> None:
        object.__setattr__(self, "_cell", cell)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._cell.call(self._number, arguments, named)

    def __getattr__(self, name: str) -> Any:
        return self._cell.ask("attribute", self._number, name)

    def __bool__(self) -> bool:
        return bool(self._cell.ask("apply", "bool", [self]))

    def __len__(self) -> int:
        return int(self._cell.ask("apply", "len", [self]))

    def __iter__(self) -> Iterator[Any]:
        steps = self._cell.ask("apply", "iter", [self])
        while True:
            try:
                yield self._cell.ask("apply", "next", [steps])
            except StopIteration:
                return

    def __getitem__(self, key: Any) -> Any:
        return self._cell.call(self.__getattr__("__getitem__")._number, (key,), {})

    def __contains__(self, value: Any) -> bool:
        return any(part == value for part in self)

    def __str__(self) -> str:
        return str(self._cell.ask("apply", "str", [self]))

    def __repr__(self) -> str:
        return str(self._cell.ask("apply", "repr", [self]))


def _number_of(value: Any) -> int:
    if isinstance(value, Remote):
        return int(value._number)
    raise TypeError(f"a {type(value).__name__} cannot be handed to a program in a jail: plain values only")


def _exception(name: Any, text: str) -> Exception:
    kind = getattr(builtins, str(name), Exception)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # UnicodeError and its like want more than a text
            return kind(text)
        return ValueError(f"{name}: {text}")
    return ProgramEnded(f"the program raised {name}: {text}")  # SystemExit and KeyboardInterrupt end no test
