"""Weights for engines that come and go: a push to those that live, and to those that have started again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.errors import ActorError, DeadlineError, RemoteError
from rlvr.learner.group import LearnerGroup
from rlvr.rollout.pool import EnginePool
from rlvr.runtime.probe import probe
from rlvr.sync.gate import check_mismatch

FAILURES = (ActorError, DeadlineError, RemoteError)


class Pusher:
    """Keeps learner and living engines connected. Called by the loop only, between two of the learner's calls.

    An engine joins once it has a whole push; before anything is generated again `compare` has found its log-probs to
    be the learner's, or has ended the run.
    """

    def __init__(self, engines: EnginePool, learner: LearnerGroup, compare: Callable[[], object]) -> None:
        self.engines, self.learner, self.compare = engines, learner, compare
        self.pausing: Callable[[str], AbstractContextManager[None]] = lambda what: nullcontext()
        self._stall = engines.cfg.rollout.stall_seconds
        # A push that has failed for one may hold the others until its own deadline.
        self._after_push = max(self._stall, engines.cfg.sync.deadline_seconds)
        self._connected = engines.roster.up()
        engines.bring_back = self.bring_back

    def push(self, version: int) -> None:
        """Bring every engine that lives to the learner's weights, as this version; nothing may be generated meanwhile.

        Raises:
            RlvrError: no engine is left, or it was not the engines that failed.
        """
        self._send(lambda: self.learner.push(version))

    def bring_back(self) -> None:
        """Have engines that have started again take part; the learner's weights must be those of the last push."""
        if self.engines.roster.returned():
            with self.pausing("weights for an engine that has started again"):
                self._send(self.learner.push_again)

    def _send(self, send: Callable[[], None]) -> None:
        roster = self.engines.roster
        while True:
            roster.call(self._stall)
            roster.await_one()
            returned = roster.returned()
            members = dict(sorted((roster.up() | returned).items()))
            try:
                if members != self._connected:
                    self._connected = {}
                    self.learner.connect([roster.handles[engine] for engine in members])
                    self._connected = members
                send()
            except FAILURES as error:
                roster.call(self._after_push)
                now = roster.up() | roster.returned()
                left = {engine: life for engine, life in members.items() if now.get(engine) == life}
                if left == members:
                    raise
                # What they hold now is of two versions.
                roster.replace_all(left, f"a push failed half-way ({error})")
                continue
            roster.join(returned)
            if returned:
                names = ", ".join(f"engine-{engine}" for engine in returned)
                self.compare()
                roster.say(f"{names} is back with the learner's weights; its log-probs agree")
            return


def open_pusher(
    cfg: Config,
    engines: EnginePool,
    learner: LearnerGroup,
    stream: PromptStream,
    note: Callable[[str], None],
) -> Pusher:
    """A pusher that compares log-probs on a probe, and stops the run as the gate does; `note` hears of it all."""
    engines.roster.say = learner.say = note

    def compare() -> None:
        batch = probe(cfg, engines.ask, learner, stream, f"again.{learner.pushed}")
        check_mismatch(batch, learner.pushed, cfg.sync, cfg.model.dtype, note)

    return Pusher(engines, learner, compare)
