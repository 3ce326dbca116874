"""When a verifier fails too often for its verdicts to be trusted: the limit, and what is said about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlvr.config import RewardConfig
from rlvr.errors import VerifierError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.types import Group, Sample

SHOWN = 3  # failures spelled out
EXCERPT, REASON = 160, 300  # characters of a gold answer or a response, and of a reason


def too_many_failed(samples: Sequence[Sample], limit: float) -> bool:
    """Whether the verifier failed on more than `limit` of the samples, or on every one."""
    return _too_many(sum(s.failed for s in samples), len(samples), limit)


def check_failures(
    graded: Iterable[tuple[GradeRequest, Verdict]], cfg: RewardConfig, *, where: str, kept: str, remedy: str
) -> None:
    """Refuse verdicts of which more than reward.max_failed, or all, are failures of the verifier.

    `where` names the step or the set, `kept` says where its responses lie, `remedy` how to go on once it is mended.

    Raises:
        VerifierError: with the share, the limit, the first failures and what to do.
    """
    pairs = list(graded)
    failures = [(request, verdict) for request, verdict in pairs if verdict.failed]
    if not _too_many(len(failures), len(pairs), cfg.max_failed):
        return
    late = sum(verdict.outcome is Outcome.TIMED_OUT for _, verdict in failures)
    name = ", ".join(dict.fromkeys(_verifier(request, cfg) for request, _ in failures))
    lines = [
        f"  {request.sample_id}: {verdict.outcome}, {verdict.detail[:REASON]}\n"
        f"    gold {excerpt(request.gold)!r}, response {excerpt(request.response)!r}"
        for request, verdict in failures[:SHOWN]
    ]
    raise VerifierError(
        f"{where}: the verifier ({name}) failed on {len(failures)} of {len(pairs)} responses "
        f"({len(failures) / len(pairs):.1%}; {late} of them timed out), above reward.max_failed={cfg.max_failed:g}. A "
        "failure says nothing about an answer, so these are neither right nor wrong. The first of them:\n"
        + "\n".join(lines)
        + f"\n{kept} Mend the verifier or those rows (it had reward.deadline_seconds={cfg.deadline_seconds:g} an "
        f"answer and reward.memory_mb={cfg.memory_mb} a worker), or raise reward.max_failed; {remedy}"
    )


def graded_pairs(groups: Iterable[Group]) -> list[tuple[GradeRequest, Verdict]]:
    """What was asked of the verifier and what it said, of every graded sample."""
    return [
        (request, s.verdict)
        for g in groups
        for s, request in zip(g.samples, g.grade_requests(), strict=True)
        if s.verdict is not None
    ]


def _verifier(request: GradeRequest, cfg: RewardConfig) -> str:
    if request.rules.verifier is not None:
        return f"{request.rules.verifier} of source {request.row.source}"
    return "the built-in one" if cfg.verifier is None else f"reward.verifier={cfg.verifier}"


def excerpt(text: str) -> str:
    """The end of a text, where the answer stands, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= EXCERPT else f"...{flat[-EXCERPT:]}"


def _too_many(failed: int, total: int, limit: float) -> bool:
    return total > 0 and (failed / total > limit or failed == total)
