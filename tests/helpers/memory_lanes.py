"""A flow whose engines, graders and prompts are in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rlvr.config import Config
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.rollout.flow.growing import GrowingGroups
from rlvr.rollout.flow.source import FlowSource
from rlvr.rollout.generation import Generation, Slice
from rlvr.rollout.stepping import Request
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.window import FlowWindow
from rlvr.types import Prompt, Span
from tests.helpers.records import prompt

STEPS, WANT, SAMPLES = 6, 3, 2


class Stream:
    """An endless stream: prompt i is called i."""

    def take(self, position: int, count: int) -> list[Prompt]:
        return [prompt(str(i)) for i in range(position, position + count)]


class Graders:
    """Right is what ends in an even token; of every third group all are."""

    def grade(self, requests: Sequence[GradeRequest]) -> dict[str, Verdict]:
        return {
            r.sample_id: Verdict(
                r.sample_id, Outcome.CORRECT if r.response == "right" else Outcome.WRONG, None, "1", 0.0
            )
            for r in requests
        }


class Words:
    """A tokenizer of two words."""

    def batch_decode(self, ids: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return ["right" if own[-1] == 1 else "wrong" for own in ids]


class MemoryLanes:
    """Engines whose responses take as many slices as their place in the group says."""

    def __init__(self, count: int) -> None:
        self.count, self.version, self.stuck = count, 0, False
        self.fails: Exception | None = None
        self.endless = ""  # a group whose responses do not end
        self.paused = threading.Event()  # set by the test: a slice inside is a fault
        self._running: list[dict[str, int]] = [{} for _ in range(count)]
        self._born: dict[str, int] = {}
        self._under_way: list[int] = []
        self.lives = dict.fromkeys(range(count), 0)
        self.waiting: dict[int, int] = {}  # engines that have started again
        self.told: list[str] = []
        self.held = False  # nothing gets on
        self.looks = 0  # of the flow's thread, once in each of its rounds
        self.seeds: dict[str, int] = {}
        self.asked: list[Request] = []
        self.forgotten: set[str] = set()
        self.asked_again: set[str] = set()
        self._whole = threading.Lock()  # an engine is lost between two slices, never within one

    def up(self) -> dict[int, int]:
        self.looks += 1
        return dict(self.lives)

    def returned(self) -> bool:
        return bool(self.waiting)

    def bring_back(self) -> None:
        self.lives |= self.waiting
        self.waiting = {}

    def lose(self, engine: int) -> None:
        """It has forgotten everything, also what it was just working on."""
        with self._whole:
            del self.lives[engine]
            self.forgotten |= self._running[engine].keys()
            self._running[engine] = {}
            self._under_way = [other for other in self._under_way if other != engine]

    def tell(self, text: str) -> None:
        self.told.append(text)

    def advance(self, engine: int, requests: Sequence[Request], cancelled: Sequence[str]) -> None:
        assert not self.paused.is_set(), "an engine was asked for tokens in a pause"
        with self._whole:
            if engine not in self.lives:
                return
            for key in cancelled:
                del self._running[engine][key]
            for request in requests:
                self._running[engine][request.key] = 1 + int(request.key[-1]) * 2
                self._born[request.key] = self.version
                assert self.seeds.setdefault(request.key, request.seed) == request.seed
                self.asked_again |= {request.key} & self.forgotten
                self.asked.append(request)
            self._under_way.append(engine)

    def working(self) -> dict[int, float]:
        return dict.fromkeys(self._under_way, 0.0)

    def running(self, engine: int) -> int:
        return len(self._running[engine])

    def done(self, timeout: float) -> list[tuple[int, Slice]]:
        if self.fails:
            raise self.fails
        if self.stuck:
            time.sleep(timeout)
            return []
        with self._whole:
            ended, self._under_way = self._under_way, []
            return [(engine, self._slice(engine)) for engine in ended]

    def _slice(self, engine: int) -> Slice:
        running = self._running[engine]
        for key in () if self.held else running:
            running[key] -= key.split("/")[0] != self.endless
        keys = [key for key, left in running.items() if left == 0]
        for key in keys:
            del running[key]
        return Slice(tuple((key, self._generation(key)) for key in keys), 0.5, len(running))

    def _generation(self, key: str) -> Generation:
        group, _, place = key.split("/")
        right = place == "0" or (group.isdigit() and int(group) % 3 == 0)
        ids = np.asarray([5, 1 if right else 2])
        born, now = self._born[key], self.version
        spans = (Span(born, 0),) if born == now else (Span(born, 0), Span(now, 1))
        return Generation(ids, np.zeros(2, dtype=np.float32), truncated=False, spans=spans)


def config(**rollout: object) -> Config:
    cfg = Config()
    settings = {
        "staleness": 1,
        "dynamic_sampling": True,
        "samples_per_prompt": SAMPLES,
        "deadline_seconds": 5.0,
    }
    return replace(
        cfg,
        steps=STEPS,
        data=replace(cfg.data, prompts_per_step=WANT),
        rollout=replace(cfg.rollout, **settings | rollout),
    )


def open_flow(cfg: Config, lanes: MemoryLanes, position: int = 0, pending: Sequence[int] = ()) -> FlowSource:
    r = cfg.rollout
    window = FlowWindow(want=WANT, staleness=r.staleness, last=STEPS, most_drawn=WANT * r.max_rounds)
    scheduler = Scheduler(window, samples_per_group=SAMPLES, capacity=4)
    feed = PromptFeed(Stream(), cfg, position=position, pending=pending, known={})
    return FlowSource(lanes, scheduler, GrowingGroups(Graders(), Words(), cfg), feed, cfg, version=0)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_for_round(lanes: MemoryLanes) -> None:
    """Until the flow's thread has gone through a whole round that began after the call."""
    before = lanes.looks
    wait_until(lambda: lanes.looks >= before + 2)
