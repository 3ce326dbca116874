"""One intervention after the other, in the order in which they were asked for; no page needs to stay open."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rlvr.analysis.intervene.records import Choice, append, read_all
from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from rlvr.analysis.intervene.bench import Bench

log = logging.getLogger(__name__)


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

    `open_bench` loads the models, in the thread that then uses them; a failure to load is every answer's.
    """

    def __init__(self, folder: Path, open_bench: Callable[[], Bench]) -> None:
        self._folder, self._open_bench = folder, open_bench
        kept = read_all(folder)
        self._known = {
            row["number"]: Asked(row["number"], Choice(**row["choice"]), "done", row) for row in kept
        }
        self._changed = threading.Condition()
        self._version, self._at = 0, dict[int, int]()  # of the list, and when each of them last changed
        self._waiting: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._work, name="interventions", daemon=True).start()

    def ask(self, choice: Choice) -> Asked:
        """Queue one; it is carried out whether or not somebody waits for it."""
        with self._changed:
            number = max(self._known, default=0) + 1
            asked = Asked(number, choice, "waiting")
            self._tell(asked)
        self._waiting.put(number)
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
