"""The page of a run, served to one person on this machine: loopback only, a secret in the address, these answers alone.

GET  /<secret>/               the page
GET  /<secret>/interventions  {"version": n, "asked": [...]}; ?after=n waits until there is something newer
POST /<secret>/interventions  a Choice as JSON; answers with its number
GET  /<secret>/training       rows of metrics.jsonl behind byte ?after=n, where they end, and the newest samples
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from rlvr.analysis.intervene.records import Choice, append, read_all
from rlvr.errors import ConfigError, DataError, RlvrError
from rlvr.runtime.disk.dumps import dump_files, dump_lines, dump_name, without_nan
from rlvr.runtime.disk.rows import new_rows

if TYPE_CHECKING:
    from rlvr.analysis.intervene.bench import Bench

HOST = "127.0.0.1"
LONGEST_WAIT = 20.0  # seconds until a question for news is answered without any
MOST_BYTES = 10_000  # of a question
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
SHOWN = 8  # responses of the newest step
MOST_CHARACTERS = 4_000  # of a question or a response on the page
FIELDS = ("question", "response", "answer", "verdict", "reward", "truncated")
KINDS = {field.name: str if field.name == "model" else int for field in fields(Choice)}

log = logging.getLogger(__name__)


class Viewer(ThreadingHTTPServer):
    """Serves one run until `shutdown`; `address` is what to open.

    Raises:
        ConfigError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, page: str, interventions: Interventions | None, run: Path, port: int = 0) -> None:
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"port={port}: cannot be used ({error.strerror}); leave it out for a free one"
            ) from error
        self.page, self.interventions, self.run = page.encode(), interventions, run
        self.secret = secrets.token_urlsafe(16)
        # The names under which a browser on this machine knows the server; others are refused.
        self.hosts = tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.secret}/"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Viewer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "rlvr", ""
    timeout = 60

    def do_GET(self) -> None:
        """The page, and what it asks for."""
        if (asked := self._path()) is None:
            return
        given = parse_qs(urlsplit(self.path).query).get("after", ["-1"])[0]
        try:
            after = int(given)
        except ValueError:
            return self._answer(400, error=f"after={given!r}: a whole number was expected")
        if asked == "":
            self._send(200, "text/html; charset=utf-8", self.server.page)
        elif asked == "interventions" and self.server.interventions is not None:
            version, known = self.server.interventions.since(after, LONGEST_WAIT)
            self._answer(200, version=version, asked=known)
        elif asked == "training":
            try:
                self._answer(200, **news(self.server.run, after))
            except RlvrError as error:
                self._answer(500, error=str(error))
        else:
            self._answer(404, error="there is nothing here")

    def do_POST(self) -> None:
        """An intervention."""
        if (asked := self._path()) is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            return self._answer(413, error=f"at most {MOST_BYTES} bytes, with their number")
        body = self.rfile.read(int(length))
        if asked != "interventions" or self.server.interventions is None:
            self._answer(404, error="there is nothing here")
        elif self.headers.get_content_type() != "application/json":  # a form of another page cannot send it
            self._answer(415, error="application/json was expected")
        else:
            try:
                self._answer(202, number=self.server.interventions.ask(choice_from(body)).number)
            except ConfigError as error:
                self._answer(400, error=str(error))

    def _path(self) -> str | None:
        """What is asked for behind the secret; None once the request has been refused."""
        first, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        knows = secrets.compare_digest(first.encode(), self.server.secret.encode())
        if not knows or self.headers.get("Host", "") not in self.server.hosts:
            self.close_connection = True
            self._answer(403, error="open the address that `rlvr view` printed")
            return None
        return rest

    def _answer(self, status: int, **content: Any) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | HEADERS).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the page was closed
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the console belongs to what the command says."""


def choice_from(body: bytes) -> Choice:
    """A choice as the page sends it.

    Raises:
        ConfigError: it is no JSON object with these keys and types.
    """
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ConfigError(f"not JSON ({error})") from error
    if not isinstance(content, dict) or set(content) != set(KINDS):
        raise ConfigError(f"an object with {', '.join(KINDS)} was expected")
    for name, kind in KINDS.items():
        if type(content[name]) is not kind:
            raise ConfigError(f"{name}={content[name]!r}: {kind.__name__} was expected")
    return Choice(**content)


@dataclass(frozen=True, slots=True)
class Asked:
    """An intervention since it was asked for."""

    number: int
    choice: Choice
    state: str  # waiting | running | done | failed
    result: dict[str, Any] | None = None
    error: str | None = None


class Interventions:
    """What has been asked for in the folder of a run, with what earlier sessions left there.

    One is done after the other, in the order in which they were asked for; no page needs to stay open.
    `open_bench` loads the models, in the thread that then uses them; a failure to load is every answer's.
    """

    def __init__(self, folder: Path, open_bench: Callable[[], Bench]) -> None:
        self._folder, self._open_bench = folder, open_bench
        kept = (Asked(row["number"], Choice(**row["choice"]), "done", row) for row in read_all(folder))
        self._known = {asked.number: asked for asked in kept}
        self._changed = threading.Condition()
        self._version, self._at = 0, dict[int, int]()  # of the list, and when each of them last changed
        self._waiting: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._work, name="interventions", daemon=True).start()

    def ask(self, choice: Choice) -> Asked:
        """Queue one; it is carried out whether or not somebody waits for it."""
        with self._changed:
            asked = Asked(max(self._known, default=0) + 1, choice, "waiting")
            self._tell(asked)
        self._waiting.put(asked.number)
        return asked

    def since(self, version: int, seconds: float) -> tuple[int, list[dict[str, Any]]]:
        """What has changed since `version` and the version of the list, once there is something or time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version, timeout=seconds)
            changed = [n for n in sorted(self._known) if self._at.get(n, 0) > version]
            return self._version, [asdict(self._known[n]) for n in changed]

    def _tell(self, asked: Asked) -> None:
        with self._changed:
            self._known[asked.number] = asked
            self._version += 1
            self._at[asked.number] = self._version
            self._changed.notify_all()

    def _work(self) -> None:
        bench: Bench | None = None
        while True:
            asked = self._known[self._waiting.get()]
            self._tell(replace(asked, state="running"))
            try:
                bench = bench or self._open_bench()
                done = bench.run(asked.choice, asked.number)
                append(self._folder, done)
                self._tell(replace(asked, state="done", result=json.loads(done.as_json())))
            except RlvrError as error:
                self._tell(replace(asked, state="failed", error=str(error)))
            except Exception as error:  # of a model or a user's verifier; the next one may do better
                log.exception("intervention %d", asked.number)
                self._tell(replace(asked, state="failed", error=f"{type(error).__name__}: {error}"))


def news(folder: Path, after: int) -> dict[str, Any]:
    """Rows of metrics.jsonl behind byte `after`, responses of the newest step, and whether the run has finished.

    `start` and `end` are the bytes of these rows: the next question is for those after `end`, and where `start` is 0
    they are all there are, for a resumed run writes the file anew. A row that is being written comes with the next
    question; a number that JSON lacks is null.

    Raises:
        DataError: a file of the run cannot be read.
    """
    rows, start, end = new_rows(folder / "metrics.jsonl", after)
    return {
        "start": start,
        "end": end,
        "rows": without_nan(rows),
        "finished": (folder / "summary.json").is_file(),
        "samples": _newest(folder / "samples"),
    }


def _newest(samples: Path) -> dict[str, Any] | None:
    files = dump_files(samples, "step_*") if samples.is_dir() else []
    if not files:
        return None
    try:
        rows = [json.loads(line) for line in islice(dump_lines(files[-1]), SHOWN)]
        shown = [{name: _short(row.get(name)) for name in FIELDS} for row in rows]
    except (ValueError, AttributeError) as error:  # somebody may have touched it
        raise DataError(
            f"{files[-1]}: no dump of responses ({error}); put it back, or move it away"
        ) from error
    return {"dump": dump_name(files[-1]), "rows": shown}


def _short(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > MOST_CHARACTERS
    return value[:MOST_CHARACTERS] + " …" if too_long else value
