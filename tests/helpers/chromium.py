"""A browser that a test drives: Chromium over its debugging pipe, without a library."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.helpers.browser import FLAGS, browser

DEADLINE_SECONDS = 300.0  # of one answer


class Chromium:
    """One page in a headless browser of its own."""

    def __init__(self, profile: Path, width: int = 1280) -> None:
        program = browser()
        commands_out, self._commands = os.pipe()
        self._replies, replies_in = os.pipe()
        flags = (
            *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", f"--window-size={width},900",
            "about:blank",
        )  # fmt: skip

        def descriptors() -> None:  # the browser reads from 3 and writes to 4
            first, second = os.dup(commands_out), os.dup(replies_in)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [program, *flags],
            preexec_fn=descriptors,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(replies_in)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        page = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._replies)

    def open(self, address: str) -> None:
        """Load a page and wait until its scripts have run."""
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        reply = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait(self, condition: str) -> Any:
        """The first true value of an expression."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not (value := self.run(condition)):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.1)
        return value

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (reply := self._next()).get("id") != self._number:  # what happens besides
            pass
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._replies], [], [], DEADLINE_SECONDS)
            assert ready, "the browser does not answer"
            piece = os.read(self._replies, 1 << 16)
            assert piece, "the browser has ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
