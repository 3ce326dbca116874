"""Evaluations beside the batches of a flow: their groups belong to no batch."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlvr.rollout.flow.growing import GrowingGroups
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stepping import Request
from rlvr.rollout.streaming.records import Action
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.types import Group, Prompt


@dataclass(frozen=True, slots=True)
class Question:
    """`n` responses to a held-out prompt."""

    set: str  # its name
    key: str  # what the names of its responses begin with
    prompt: Prompt
    seed: int  # of the first response; the next has the next
    sampling: Sampling
    n: int


@dataclass(frozen=True, slots=True)
class Reading:
    """An evaluation, graded."""

    step: int  # after which it was asked for
    sets: dict[str, tuple[Group, ...]]  # in the order of its questions


@dataclass(slots=True)
class _OpenEvaluation:
    """An evaluation under way."""

    step: int
    questions: dict[int, Question]  # by the number of the group
    answers: dict[int, Group]


Answers = queue.SimpleQueue[Reading | BaseException]


class FlowReadings:
    """Evaluations of a flow; see `rlvr.rollout.source.Beside`."""

    def __init__(
        self,
        scheduler: Scheduler,
        growing: GrowingGroups,
        *,
        # Has the flow's thread do this, with the version of the weights that engines have then.
        begin: Callable[[Callable[[int], list[Action]]], None],
        wait: Callable[[Answers, str, str], Reading],  # what for, and the name of its deadline
    ) -> None:
        self._scheduler, self._growing, self._begin, self._wait = scheduler, growing, begin, wait
        self.answers: Answers = queue.SimpleQueue()
        self.reading: set[int] = set()  # the loop's
        self._open: dict[int, _OpenEvaluation] = {}  # the thread's: by the number of a group

    # Called by the loop.

    def read(self, step: int, questions: Sequence[Question]) -> None:
        """Ask for an evaluation after this step, on the weights that it left or later ones."""
        self.reading.add(step)
        self._begin(lambda version: self._opened(step, questions, version))

    def answered(self, *, wait: bool = False) -> list[Reading]:
        """The evaluations that are done since the last call; with `wait` all that are under way."""
        done: list[Reading] = []
        while self.reading and (wait or not self.answers.empty()):
            steps = ", ".join(map(str, sorted(self.reading)))
            what = f"evaluation after step {steps}: not done within"
            done.append(self._wait(self.answers, what, "rollout.deadline_seconds"))
            self.reading.remove(done[-1].step)
        return done

    # Called by the flow's thread.

    def _opened(self, step: int, questions: Sequence[Question], version: int) -> list[Action]:
        numbers, actions = self._scheduler.ask([question.n for question in questions], version)
        reading = _OpenEvaluation(step, dict(zip(numbers, questions, strict=True)), {})
        for number, question in reading.questions.items():
            self._open[number] = reading
            self._growing.begin(number, question.prompt, question.n)
        return actions

    def request(self, number: int, i: int) -> Request:
        """What to ask an engine for member i of a group."""
        asked = self._open[number].questions[number]
        return Request(
            f"{asked.key}/{asked.prompt.id}/{i}", asked.prompt.token_ids, asked.seed + i, asked.sampling
        )

    def graded(self, number: int, group: Group) -> list[Action]:
        """A group is graded."""
        reading = self._open.pop(number)
        reading.answers[number] = group
        if len(reading.answers) == len(reading.questions):
            sets: dict[str, list[Group]] = {}
            for one, question in reading.questions.items():
                sets.setdefault(question.set, []).append(reading.answers[one])
            self.answers.put(Reading(reading.step, {name: tuple(own) for name, own in sets.items()}))
        return self._scheduler.answered(number)
