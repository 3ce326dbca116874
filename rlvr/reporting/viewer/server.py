"""A server for one person on this machine: loopback only, a secret in the address, and nothing but these answers.

GET  /<secret>/               the page
GET  /<secret>/interventions  {"version": n, "asked": [...]}; ?after=n waits until there is something newer
POST /<secret>/interventions  a Choice as JSON; answers with its number
GET  /<secret>/training       rows of metrics.jsonl behind byte ?after=n, where they end, and the newest samples
"""

from __future__ import annotations

import json
import secrets
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rlvr.analysis.intervene.records import Choice
from rlvr.errors import ConfigError, RlvrError
from rlvr.reporting.viewer.live import news
from rlvr.reporting.viewer.queue import Interventions

HOST = "127.0.0.1"
LONGEST_WAIT = 20.0  # seconds until a question for news is answered without any
MOST_BYTES = 10_000  # of a question
KINDS = {field.name: str if field.name == "model" else int for field in fields(Choice)}


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
        asked = self._path()
        if asked is None:
            return
        given = parse_qs(urlsplit(self.path).query).get("after", ["-1"])[0]
        try:
            after = int(given)
        except ValueError:
            self._answer(400, {"error": f"after={given!r}: a whole number was expected"})
            return
        if asked == "":
            self._send(200, "text/html; charset=utf-8", self.server.page)
        elif asked == "interventions" and self.server.interventions is not None:
            version, known = self.server.interventions.since(after, LONGEST_WAIT)
            self._answer(200, {"version": version, "asked": known})
        elif asked == "training":
            try:
                self._answer(200, news(self.server.run, after))
            except RlvrError as error:
                self._answer(500, {"error": str(error)})
        else:
            self._answer(404, {"error": "there is nothing here"})

    def do_POST(self) -> None:
        """An intervention."""
        asked = self._path()
        if asked is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            self._answer(413, {"error": f"at most {MOST_BYTES} bytes, with their number"})
            return
        body = self.rfile.read(int(length))
        if asked != "interventions" or self.server.interventions is None:
            self._answer(404, {"error": "there is nothing here"})
        elif self.headers.get_content_type() != "application/json":  # a form of another page cannot send it
            self._answer(415, {"error": "application/json was expected"})
        else:
            try:
                choice = choice_from(body)
            except ConfigError as error:
                self._answer(400, {"error": str(error)})
                return
            self._answer(202, {"number": self.server.interventions.ask(choice).number})

    def _path(self) -> str | None:
        """What is asked for behind the secret; None once the request has been refused."""
        first, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        host = self.headers.get("Host", "")
        if host not in self.server.hosts or not secrets.compare_digest(
            first.encode(), self.server.secret.encode()
        ):
            self.close_connection = True
            self._answer(403, {"error": "open the address that `rlvr view` printed"})
            return None
        return rest

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Referrer-Policy", "no-referrer"),
                ("X-Content-Type-Options", "nosniff"),
            ):
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
