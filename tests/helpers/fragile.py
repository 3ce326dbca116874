"""An actor that fails as it is told. It imports little, so that its process is there soon."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from typing import Any

from pydantic import BaseModel, field_validator

from rlvr.errors import ConfigError, RlvrError


class Locked(Exception):
    """Cannot be pickled: it holds a lock."""

    def __init__(self) -> None:
        super().__init__("the scheduler is locked")
        self.lock = threading.Lock()


class WantsTwo(Exception):
    """Cannot be unpickled: pickle calls it with the text alone."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text today")


class OfAUser(RlvrError):
    """Defined where the driver may not find it."""


class Length(BaseModel):
    length: int

    @field_validator("length")
    @classmethod
    def fits(cls, value: int) -> int:
        raise ValueError(f"length {value} is too much " + "for anybody " * 3)


def because() -> None:
    try:
        raise KeyError("max_position_embeddings")
    except KeyError as error:
        raise RuntimeError("the model could not be set up") from error


def deep(level: int) -> None:
    deep(level + 1)


FAILURES: dict[str, Any] = {
    "cannot be pickled": lambda: (_ for _ in ()).throw(Locked()),
    "cannot be unpickled": lambda: (_ for _ in ()).throw(WantsTwo("half the weights", 3)),
    "wraps another": because,
    "pydantic": lambda: Length(length=4096),
    "exits": lambda: sys.exit(3),
    "recursion": lambda: deep(0),
    "megabytes": lambda: (_ for _ in ()).throw(ValueError("first\n" + "x" * 20_000_000 + "\nlast")),
    "out of memory": lambda: importlib.import_module("torch").empty(1 << 60),
    "mute": lambda: (_ for _ in ()).throw(Mute()),
    "of a user": lambda: (_ for _ in ()).throw(OfAUser("mine")),
    "many": lambda: (_ for _ in ()).throw(ExceptionGroup("two", [OSError("disk"), ValueError("x")])),
}


class Fragile:
    """Fails as it is told, when it is built or when it is called."""

    def __init__(self, at_start: str | None = None) -> None:
        if at_start is not None:
            FAILURES[at_start]()

    def fail(self, how: str) -> None:
        FAILURES[how]()

    def refuse(self) -> None:
        raise ConfigError("rollout.engines=9: too many")

    def disk(self) -> None:
        raise OSError(28, "No space left on device", "/data/x")

    def unsendable(self) -> Any:
        return threading.Lock()

    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"

    def after(self, other: Any) -> str:
        return f"after {other}"

    def pid(self) -> int:
        return os.getpid()
