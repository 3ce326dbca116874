"""Whose turn it is where engines and learner share their GPUs; pure, so that the order can be tested without one.

    GENERATE  engines hold weights and KV cache, the learner's states lie in host memory
    LEARN     the learner holds all its states, the engines sleep
    PUSH      the learner holds its parameters, the engines memory for theirs and no KV cache yet

Weights wake before the KV cache: together with what the learner holds then, both would not fit.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Protocol

from rlvr.errors import RlvrError


class Turn(StrEnum):
    """What the GPUs are for at the moment."""

    GENERATE = "generate"
    LEARN = "learn"
    PUSH = "push"


class Moves(Protocol):
    """The six moves between host memory and GPU; each returns once it is done."""

    def engines_sleep(self) -> None:
        """Free the KV cache and the engines' weights."""

    def engines_wake_weights(self) -> None:
        """Give the engines memory for their weights: kept ones at sleep level 1, without content at level 2."""

    def engines_wake_cache(self) -> None:
        """Give the engines their KV cache."""

    def learner_load(self) -> None:
        """Bring all of the learner's states to the GPU."""

    def learner_keep_parameters(self) -> None:
        """Leave the parameters on the GPU, everything else goes to host memory."""

    def learner_unload(self) -> None:
        """Send the rest to host memory, too."""


class TurnError(RlvrError):
    """Engines and learner were asked for something in an order that would use memory that holds nothing."""


class Turns:
    """Takes turns by the moves that lie between them; `level` is vLLM's sleep level (1 keeps weights, 2 drops them)."""

    def __init__(self, moves: Moves, *, level: int, start: Turn) -> None:
        self._moves, self._level = moves, level
        self.now = start
        self._whole = level == 1 or start is Turn.GENERATE  # whether the engines' weights have content
        self._lock = threading.RLock()

    def take(self, turn: Turn) -> None:
        """Go over to a turn; nothing happens where it is that turn already.

        Raises:
            TurnError: the engines would generate with weights that a sleep of level 2 has dropped.
        """
        with self._lock:
            if turn is self.now:
                return
            if turn is Turn.GENERATE and not self._whole:
                raise TurnError(
                    "the engines were asked for tokens, but their weights were dropped when they went to sleep "
                    "(cluster.sleep_level=2) and have not been pushed since: push first, or use level 1"
                )
            self._leave(turn)
            self.now = turn

    def pushed(self) -> None:
        """Told after every push: the engines' weights are whole again."""
        if self.now is not Turn.PUSH:
            raise TurnError(
                f"weights were pushed in the turn {self.now}: their memory was not there to take them"
            )
        self._whole = True

    def _leave(self, turn: Turn) -> None:
        moves = self._moves
        if self.now is Turn.GENERATE or (self.now is Turn.PUSH and turn is Turn.LEARN):
            moves.engines_sleep()
            self._whole = self._whole and self._level == 1
            moves.learner_load()
            if turn is Turn.PUSH:
                self.now = Turn.LEARN
                self._leave(turn)
        elif turn is Turn.PUSH:
            moves.learner_keep_parameters()
            moves.engines_wake_weights()
        elif self.now is Turn.LEARN:  # nothing was learnt that the engines do not have
            moves.learner_unload()
            moves.engines_wake_weights()
            moves.engines_wake_cache()
        else:
            moves.learner_unload()
            moves.engines_wake_cache()
