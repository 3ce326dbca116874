"""Inside a jail: runs one program that is not trusted and answers calls of its functions.

`python -I jail.py FD` is started by `rlvr.reward.sandbox.warden` and knows nothing but what comes through that
socket. It forks one process for each program; in it there are the program, its arguments and nothing else: the
tests and the expected values stay on the other side. Only the standard library is imported.
"""

import builtins
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import kernel
import values

MODULE = "program"
STACK_BYTES = 8 << 20
OPEN_FILES = 64


def main() -> None:
    """Fork a process for every order until the other side closes the socket."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    kernel.die_with_parent()
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 2)
        if not order:
            return
        pid = os.fork()
        if pid == 0:
            try:
                orders.close()
                _serve(json.loads(order), *descriptors)
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        orders.send(str(pid).encode())
        closed = not orders.recv(16)  # the order to end it; until it is waited for, its number is its own
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if closed:
            return
        orders.send(b"gone")


def _serve(limits: dict[str, Any], requests: int, replies: int) -> None:
    sys.setrecursionlimit(3000)
    sys.set_int_max_str_digits(0)  # a program may write long integers; its time is limited all the same
    with open(requests, "rb") as lines, open(replies, "wb") as answers:
        _lock_up(limits)
        answers.write(values.to_line("locked up"))
        answers.flush()
        program = Program(limits["output_bytes"])
        while line := lines.readline(values.LARGEST + 1):
            answers.write(_answer(program, json.loads(line)))
            answers.flush()


def _lock_up(limits: dict[str, Any]) -> None:
    """Give up all that a program has no use for.

    A kernel may give this user neither a network nor a file system of its own: the filter of calls refuses sockets
    all the same, and files are limited one by one.
    """
    folder = limits["folder"]
    os.environ.clear()
    os.environ |= {"HOME": folder, "TMPDIR": folder, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    tempfile.tempdir = folder
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if kernel.leave_networks():
        kernel.mount_small(folder, limits["folder_bytes"])
    os.chdir(folder)
    kernel.die_with_parent()  # a new namespace has undone it
    kernel.hide_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for name, limit in {
        resource.RLIMIT_AS: pages * resource.getpagesize() + limits["memory_bytes"],
        resource.RLIMIT_CPU: int(limits["seconds"]) + 1,
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_CORE: 0,
    }.items():
        _, hard = resource.getrlimit(name)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(name, (most, most))
    kernel.restrict_files(_readable(), folder)
    kernel.restrict_calls()


def _readable() -> list[str]:
    """What Python and its packages are loaded from, and nothing in which a task's answers could lie."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    system = (
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
    )
    return [
        *paths,
        *system,
        "/etc/localtime",
        "/dev/null",
        "/dev/urandom",
        "/dev/zero",
        "/proc/self",
        "/proc/cpuinfo",
    ]


class Program:
    """The program's names, what of it has been handed out, and what it writes."""

    def __init__(self, output_bytes: int) -> None:
        self.names: dict[str, Any] = {"__name__": MODULE, "__builtins__": builtins}
        self._handed_out: list[Any] = []
        self._output_bytes = output_bytes

    def keep(self, value: Any) -> int:
        """A number for a thing that stays here."""
        self._handed_out.append(value)
        return len(self._handed_out) - 1

    def thing(self, number: int) -> Any:
        """What has been given this number."""
        return self._handed_out[number]

    def load(self, text: str) -> list[str]:
        """Run the program as a module; returns the names that it defines."""
        exec(compile(text, "<program>", "exec"), self.names)
        return [name for name in self.names if type(name) is str and not name.startswith("_")]

    def script(self, text: str, given: str) -> str:
        """Run the program as a script on an input; returns what it has written."""
        Path(".input").write_text(given)
        for number, path, mode in ((0, ".input", os.O_RDONLY), (1, ".output", os.O_RDWR | os.O_CREAT)):
            opened = os.open(path, mode, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        with open(0, closefd=False) as sys.stdin, open(1, "w", closefd=False) as sys.stdout:
            self.names["__name__"] = "__main__"
            with contextlib.suppress(SystemExit):  # how many a script ends
                exec(compile(text, "<program>", "exec"), self.names)
        if os.path.getsize(".output") > self._output_bytes:
            raise MemoryError("more output than a program may write")
        return Path(".output").read_text()

    def name(self, name: str) -> Any:
        """What a name of the program stands for."""
        return self.names[name]

    def attribute(self, number: int, name: str) -> Any:
        """An attribute of a thing."""
        return getattr(self.thing(number), name)

    def call(self, number: int, arguments: list[Any], named: dict[str, Any]) -> tuple[Any, list[Any]]:
        """A thing called, and what the call has made of its arguments."""
        return self.thing(number)(*arguments, **named), arguments

    def apply(self, operation: str, arguments: list[Any]) -> Any:
        """A built-in function of things, such as len or next."""
        return getattr(builtins, operation)(*arguments)


def _answer(program: Program, message: dict[str, Any]) -> bytes:
    try:
        arguments = values.load(message["arguments"], program.thing)
        result = getattr(program, message["order"])(*arguments)
        return bytes(values.to_line({"value": values.dump(result, program.keep)}))
    except BaseException as error:  # whatever a program raises; exits included
        names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        try:
            text = str(error)[:500]
        except BaseException:  # of an exception class of its own
            text = ""
        return bytes(values.to_line({"raised": names[:1] or ["Exception"], "text": text}))


if __name__ == "__main__":
    main()
