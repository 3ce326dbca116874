"""Why a step teaches nothing, from the verdicts that it saw, and what would help. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rlvr.advantage.group import group_advantage
from rlvr.config import Config
from rlvr.errors import EmptyBatchError
from rlvr.reward.failures import check_failures, excerpt, graded_pairs
from rlvr.reward.score import RAW
from rlvr.reward.verdict import Outcome
from rlvr.reward.verifiers import MATH
from rlvr.reward.workers.pool import OFFENDERS_FILE
from rlvr.types import RolloutBatch, Sample

REMEDIES = 3  # named, the most likely first


def refuse_unusable(step: int, rollout: RolloutBatch, cfg: Config, samples_file: Path) -> None:
    """Refuse a step on whose responses the verifier failed too often, or that dynamic sampling left without a group.

    Raises:
        VerifierError, EmptyBatchError: with the reason, the remedies and where the responses lie.
    """
    check_failures(
        graded_pairs(rollout.groups + rollout.dropped),
        cfg.reward,
        where=f"step {step}",
        kept=f"All of them, with the verifier's reasons, are in {samples_file.with_name(OFFENDERS_FILE)}, the step's "
        f"responses in {samples_file}.",
        remedy="then continue with run.resume=auto.",
    )
    if not rollout.groups:
        what = "score" if cfg.reward.score == RAW else "correctness"
        raise EmptyBatchError(
            f"step {step}: none of {rollout.prompts_drawn} prompts gave answers that differ in {what}; "
            f"{diagnose(rollout.samples, cfg)}\nThe step's responses are in {samples_file}."
        )


def why_nothing_is_learnt(rollout: RolloutBatch, cfg: Config) -> str:
    """Why a loss that reads advantages learns nothing about the task from a step; empty where it does.

    Either every advantage is 0, or what tells the responses apart is their length alone.
    """
    groups = group_advantage(rollout.groups, cfg.advantage)
    if not any(s.advantage for g in groups for s in g.samples):
        return "no group's rewards differ, so the step teaches nothing"
    graded = [s.verdict for s in rollout.samples if s.verdict is not None and not s.failed]
    silent = all(verdict.outcome is Outcome.NO_ANSWER for verdict in graded)
    if silent and len({verdict.credit for verdict in graded}) == 1:
        return "no response has an answer, so rewards differ by length alone"
    return ""


def diagnose(samples: Sequence[Sample], cfg: Config) -> str:
    """Say what the verdicts on the responses of a step were, what would help, most likely first, and show one.

    `samples` are all responses of the step, at least one, graded.
    """
    advice = "\n".join(f"  {i}. {text}" for i, text in enumerate(remedies(samples, cfg), start=1))
    shown = _example(samples)
    cut = ", truncated" if shown.truncated else ""
    return (
        f"{seen(samples)}.\nWhat may help, the most likely first:\n{advice}\n"
        f"For example {shown.id} ({_kind(shown)}{cut}): {excerpt(shown.text)!r}"
    )


def seen(samples: Sequence[Sample]) -> str:
    """The shares of the verdicts, and of the truncated responses, in one line."""
    counts = Counter(_kind(s) for s in samples)
    n, truncated = len(samples), sum(s.truncated for s in samples)
    parts = [
        f"{counts[kind]} {label} ({counts[kind] / n:.0%})"
        for kind, label in (
            (Outcome.NO_ANSWER, "without an answer"),
            (Outcome.WRONG, "wrong"),
            (Outcome.CORRECT, "correct"),
            (Outcome.FAILED, "on which the verifier failed"),
        )
        if counts[kind]
    ]
    if truncated:
        parts.append(f"{truncated} truncated at the response limit ({truncated / n:.0%})")
    return f"of {n} responses: {', '.join(parts)}"


def remedies(samples: Sequence[Sample], cfg: Config) -> list[str]:
    """What would help, the most likely first: each by the share of responses that it would change."""
    n = len(samples)
    finished = [s for s in samples if not s.truncated]
    share = {kind: sum(_kind(s) is kind for s in samples) / n for kind in Outcome}
    truncated = 1 - len(finished) / n
    # A response that was cut off may have come to its answer later: those that ended by themselves tell.
    silent = sum(_kind(s) is Outcome.NO_ANSWER for s in finished) / max(len(finished), 1)
    wrong = sum(_kind(s) is Outcome.WRONG for s in finished) / n
    found = [
        (share[Outcome.NO_ANSWER] * (silent if finished else 0.5), _ask_for_an_answer(cfg)),
        (
            truncated,
            f"raise rollout.max_response_tokens={cfg.rollout.max_response_tokens} (and model.max_length="
            f"{cfg.model.max_length}, which holds prompt and response): answers are cut off",
        ),
        (
            wrong,
            "the problems are too hard for this model: easier ones in data.train, more than "
            f"rollout.samples_per_prompt={cfg.rollout.samples_per_prompt}, or a stronger model.path",
        ),
        (share[Outcome.CORRECT], "the problems are too easy for this model: harder ones in data.train"),
        (
            2 * min(wrong, share[Outcome.CORRECT]),
            f"more than rollout.samples_per_prompt={cfg.rollout.samples_per_prompt}, or raise rollout.max_rounds="
            f"{cfg.rollout.max_rounds} and continue with run.resume=auto: single prompts are all right or all wrong",
        ),
        (
            share[Outcome.FAILED],
            "mend the verifier, which failed on these: offending_samples.jsonl has its reasons",
        ),
    ]
    likely = sorted((entry for entry in found if entry[0] > 0), key=lambda entry: -entry[0])
    return [text for _, text in likely[:REMEDIES]]


def _ask_for_an_answer(cfg: Config) -> str:
    if cfg.reward.verifier is not None:
        return (
            f"let data.template={cfg.data.template} ask for the form that reward.verifier={cfg.reward.verifier} reads: "
            "it found no answer"
        )
    own = {
        source.name: source.verifier for source in cfg.data.training if source.verifier not in (None, MATH)
    }
    if own:
        named = ", ".join(f"{verifier} (source {name})" for name, verifier in own.items())
        return f"let the prompts ask for the form that their verifiers read, {named}: they found no answer"
    other = "" if cfg.reward.policy == "last_box_or_unboxed" else ", or set reward.policy=last_box_or_unboxed"
    return (
        f"choose a data.template that asks for a \\boxed{{}} answer (now {cfg.data.template}){other}: "
        f"reward.policy={cfg.reward.policy} found no answer"
    )


def _kind(sample: Sample) -> Outcome:
    """The verdict, the two kinds of failure as one."""
    assert sample.verdict is not None  # the step has been graded
    return Outcome.FAILED if sample.failed else sample.verdict.outcome


def _example(samples: Sequence[Sample]) -> Sample:
    """The first response with the most frequent verdict."""
    most, _ = Counter(_kind(s) for s in samples).most_common(1)[0]
    return next(s for s in samples if _kind(s) is most)
