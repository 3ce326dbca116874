"""Waiting for actors: every call has a deadline, and its failure is put into words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from rlvr.cluster import interrupts, ray_processes
from rlvr.cluster.board import UNPLACED, Doing, reports
from rlvr.cluster.handles import Ref
from rlvr.cluster.prerequisites import SHELL
from rlvr.cluster.remote import in_words
from rlvr.errors import ActorError, DeadlineError, RemoteError, RlvrError
from rlvr.timing import Patience

R = TypeVar("R")
WITH_NODE = "the process behind it died with its node"
LOOK_SECONDS = 2.0  # between two looks at Ray's own processes
GRACE_SECONDS = 5.0  # for Ray to notice that a process has died of whose end another one complains


@dataclass(frozen=True, slots=True)
class Calls(Generic[R]):
    """Calls made together: how long they may take from when they are waited for, and what they do."""

    refs: Sequence[Ref[R]]
    deadline_seconds: float
    what: str
    key: str = ""  # the setting that the deadline comes from


def wait(refs: Sequence[Ref[R]], *, deadline_seconds: float, what: str, key: str = "") -> list[R]:
    """Results of the calls, in order; raises as `wait_together` does."""
    return wait_together(Calls(refs, deadline_seconds, what, key))[0]


def wait_together(*calls: Calls[R]) -> list[list[R]]:
    """Results of all the calls, in order; the first failure ends the wait.

    Raises:
        DeadlineError: some call was not done in time; the message has `what` and which calls are pending.
        ActorError: an actor, or Ray itself, died.
        RlvrError: raised inside an actor, RemoteError for what a library or a user's code raised there.
    """
    import ray

    waited = Patience()
    pending = {ref: call for call in calls for ref in call.refs}
    results: dict[Ref[R], R] = {}
    while pending:
        interrupts.check()
        ray_processes.check()
        next_due = min(pending.values(), key=lambda call: call.deadline_seconds)
        left = max(0.0, next_due.deadline_seconds - waited.seconds)
        look_again = min(left, LOOK_SECONDS)
        done, _ = ray.wait(list(pending), num_returns=1, timeout=look_again, fetch_local=False)
        if not done and waited.seconds >= next_due.deadline_seconds:
            raise _too_late(next_due, pending)
        for ref in done:
            what = pending.pop(ref).what
            try:
                results[ref] = ray.get(ref)
            except ray.exceptions.RayError as error:
                _raise_root(error, what, list(pending))
    return [[results[ref] for ref in call.refs] for call in calls]


def outcomes(
    refs: Sequence[Ref[R]], *, timeout: float, what: str, for_all: bool = False
) -> list[tuple[Ref[R], R | RlvrError]]:
    """What became of the calls that are done, after waiting at most so long for the first of them, or for all.

    A failure is returned as what `wait_together` would raise, and says nothing of the other calls.
    """
    import ray

    interrupts.check()
    ray_processes.check()
    if not refs:
        return []
    count = len(refs) if for_all else 1
    done, rest = ray.wait(list(refs), num_returns=count, timeout=timeout, fetch_local=False)
    if done and rest:
        done = [*done, *ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]]
    return [(ref, _outcome(ref, what)) for ref in done]


def _outcome(ref: Ref[R], what: str) -> R | RlvrError:
    import ray

    done: Any = ref
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        return _meaning(error, what)


def _too_late(call: Calls[R], pending: Collection[Ref[R]]) -> DeadlineError:
    stuck = [position for position, ref in enumerate(call.refs) if ref in pending]
    return DeadlineError(
        f"{call.what}: {len(stuck)} of {len(call.refs)} calls (number {stuck}) not done within "
        f"{call.deadline_seconds:g} s. {why_late(reports())}, or raise {call.key or 'the deadline'}."
    )


def why_late(doing: Mapping[str, Doing]) -> str:
    """What holds calls up, and where to look, by what every actor said last."""
    if waiting := sorted(name for name, said in doing.items() if said == UNPLACED):
        return (
            f"No process has come up for {', '.join(waiting)}: either no node of the Ray cluster has room, or the node "
            f"that Ray chose cannot start one, as where `ray start` was given there without {SHELL} in PATH. Look at "
            "raylet*.err in Ray's folder on that node. If the call is another's, that process is stuck or too "
            "slow: look at its log"
        )
    return "The process is stuck or too slow: look at its log in Ray's folder, named at the start of the run"


def _raise_root(first: Exception, what: str, pending: Sequence[Ref[R]]) -> NoReturn:
    """Raise what the first failure means, or the death of an actor where it only follows from that."""
    import ray

    failures = [first]
    done = ray.wait(list(pending), num_returns=len(pending), timeout=GRACE_SECONDS)[0] if pending else []
    for ref in done:
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            failures.append(error)
    meanings = [(_meaning(failure, what), failure) for failure in failures]
    deaths = [(meaning, failure) for meaning, failure in meanings if type(meaning) is ActorError]
    meaning, failure = (deaths or meanings)[0]
    raise meaning from failure


def died_with_node(error: BaseException) -> bool:
    """Whether Ray says that an actor's node was lost, rather than its process alone."""
    return type(error) is ActorError and WITH_NODE in str(error)


def _meaning(error: Any, what: str) -> RlvrError:
    """What an error of Ray means to a user."""
    import ray

    cause = error
    while isinstance(cause, ray.exceptions.RayTaskError):
        cause = cause.cause
    if isinstance(cause, RlvrError):
        cause.add_note(f"(inside an actor, during: {what})")
        return cause
    foreign = not isinstance(cause, ray.exceptions.RayError)  # a result that cannot be pickled, say
    unprepared = isinstance(cause, ray.exceptions.RuntimeEnvSetupError)
    lines = str(cause).strip().splitlines()
    if getattr(cause, "actor_init_failed", False):  # before our constructor: a module that is not there, say
        return RemoteError(f"{what}: an actor could not be set up ({lines[-1]})")
    if foreign or unprepared:
        return RemoteError(f"{what}: an actor failed with {in_words(cause)}")
    of_node = next((line.strip() for line in lines if "its node has died" in line), None)
    if of_node is not None:
        return ActorError(f"{what}: {WITH_NODE} ({of_node})")
    unreachable = isinstance(cause, ray.exceptions.ActorUnavailableError)
    return ActorError(
        f"{what}: the process behind it died{' or its node is lost' * unreachable} ({lines[0]}). Often it ran out of "
        "memory; Ray's log folder, named at the start of the run, has its last words."
    )
