"""The prompts of a flow, one after the other: those that an earlier attempt had under way, then the stream's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rlvr.config import Config
from rlvr.data.curriculum import ProblemStream, draw, learnt
from rlvr.types import Group, Prompt, Successes


class PromptFeed:
    """Draws by data.sampler, which knows of the groups of all batches that have been formed."""

    def __init__(
        self,
        stream: ProblemStream,
        cfg: Config,
        *,
        position: int,
        pending: Sequence[int] = (),
        known: Successes,
    ) -> None:
        self._stream, self._cfg = stream, cfg
        self._again = deque(pending)
        self.position, self.known = position, known
        self._skipped = 0

    def next(self) -> tuple[int, Prompt]:
        """The next prompt, and its place in the stream."""
        if self._again:
            place = self._again.popleft()
            return place, self._stream.take(place, 1)[0]
        drawn = draw(self._stream, self.position, 1, self._cfg, self.known)
        self.position, self._skipped = drawn.position, self._skipped + drawn.skipped
        return drawn.position - 1, drawn.prompts[0]

    def give_back(self, last: int, finished: Callable[[int, Prompt], bool]) -> None:
        """Pass over prompts that have been `finished`, up to place `last`; the others of these come next."""
        waiting: deque[int] = deque()
        while self._again or self.position <= last:
            place, prompt = self.next()
            if not finished(place, prompt):
                waiting.append(place)
        self._again = waiting

    def learn(self, groups: Sequence[Group]) -> int:
        """A batch was formed with these graded groups; returns how many prompts were passed over since the last one."""
        self.known = learnt(self.known, groups, self._cfg)
        skipped, self._skipped = self._skipped, 0
        return skipped

    @property
    def waiting(self) -> tuple[int, ...]:
        """Places in the stream that an earlier attempt had under way and that were not drawn again yet."""
        return tuple(self._again)
