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
    """The moves between host memory and GPU; each returns once it is done."""

    def engines_sleep(self) -> None:
        """Free the KV cache and the engines' weights."""

    def engines_wake_weights(self) -> None:
        """Give the engines memory for their weights: kept ones at sleep level 1, without content at level 2."""

    def engines_wake_cache(self) -> None:
        """Give the engines their KV cache."""

    def push_again(self) -> None:
        """Send the weights of the last push once more."""

    def learner_load(self) -> None:
        """Bring all of the learner's states to the GPU."""

    def learner_keep_parameters(self) -> None:
        """Leave the parameters on the GPU, everything else goes to host memory."""

    def learner_unload(self) -> None:
        """Send the rest to host memory, too."""


class TurnError(RlvrError):
    """Engines and learner were asked for something in an order that would use memory that is not there."""


class TurnTaking(Protocol):
    """Told before engines or learner are used."""

    def take(self, turn: Turn) -> None:
        """Make it this turn."""

    def pushed(self) -> None:
        """Told after every push."""


class Apart:
    """Engines and learner have devices of their own: it is always everybody's turn."""

    def take(self, turn: Turn) -> None:
        """Nothing has to move."""

    def pushed(self) -> None:
        """Nothing has to move."""


class Turns:
    """Takes turns by the moves that lie between them; `level` is vLLM's sleep level: 1 keeps weights, 2 drops them."""

    def __init__(self, moves: Moves, *, level: int, start: Turn) -> None:
        self._moves, self._level = moves, level
        self.now = start
        self._lock = threading.RLock()

    def take(self, turn: Turn) -> None:
        """Go over to a turn; nothing happens where it is that turn already."""
        with self._lock:
            while self.now is not turn:
                self.now = self._step_towards(turn)

    def pushed(self) -> None:
        """Told after every push.

        Raises:
            TurnError: there was no memory that could have taken the weights.
        """
        if self.now is not Turn.PUSH:
            raise TurnError(f"weights were pushed in the turn {self.now}: take the turn {Turn.PUSH} first")

    def _step_towards(self, turn: Turn) -> Turn:
        moves = self._moves
        if self.now is Turn.GENERATE or (self.now is Turn.PUSH and turn is Turn.LEARN):
            moves.engines_sleep()
            moves.learner_load()
            return Turn.LEARN
        if self.now is Turn.PUSH:
            moves.learner_unload()
            moves.engines_wake_cache()
            return Turn.GENERATE
        moves.learner_keep_parameters()
        moves.engines_wake_weights()
        # Nothing is new to push then, but the sleep dropped the weights.
        if turn is Turn.GENERATE and self._level > 1:
            moves.push_again()
        return Turn.PUSH
