"""Ray's handles as the types that we use of them; they are called as `handle.method.remote(...)`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol, TypeVar

R = TypeVar("R")


class Ref(Protocol[R]):
    """The result of a call, on its way; `rlvr.cluster.wait` fetches it."""

    def future(self) -> Future[R]: ...


class RemoteMethod(Protocol[R]):
    """A method of an actor."""

    def remote(self, *args: object, **kwargs: object) -> Ref[R]:
        """Call it; returns at once."""
        ...
