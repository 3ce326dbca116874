"""Evaluation on held-out sets with the training engines and the training grader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlvr.config import Config
from rlvr.data.eval_sets import eval_named
from rlvr.data.stream import EvalSet
from rlvr.reward.failures import check_failures, graded_pairs
from rlvr.reward.score import score_groups
from rlvr.reward.workers.pool import OFFENDERS_FILE, GraderPool
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stop import ends_of
from rlvr.stats.accuracy import accuracy_ci95, correctness
from rlvr.types import Group, Prompt

SAMPLES = "the run's samples"
GO_ON = "then go on with the same run.name (in training run.resume=auto)."


@dataclass(frozen=True, slots=True)
class EvalReport:
    """avg@n on one set with a 95 % interval clustered by problem; samples on which the verifier failed are missing."""

    name: str
    accuracy: float
    ci_low: float
    ci_high: float
    problems: int
    samples_per_problem: int
    mean_length: float  # response tokens
    truncated: float  # share of responses
    outcomes: dict[str, int]  # verdict -> count
    groups: tuple[Group, ...]  # the graded responses, for the sample dump
    versions: tuple[int, int] | None = (
        None  # of the weights, first and last, where they may have moved meanwhile
    )


def evaluate(
    engines: EnginePool, graders: GraderPool, eval_sets: Sequence[EvalSet], cfg: Config
) -> tuple[EvalReport, ...]:
    """Sample and grade every set; the same random numbers each time, so that differences come from weights."""
    return tuple(
        report(chosen.name, sample_and_grade(engines, graders, chosen.name, chosen.prompts, cfg))
        for chosen in eval_sets
    )


def sample_and_grade(
    engines: EnginePool, graders: GraderPool, name: str, prompts: Sequence[Prompt], cfg: Config
) -> tuple[Group, ...]:
    """Graded responses to prompts of one set; which ones are asked together does not change the seeds.

    Raises:
        VerifierError: the verifier failed on more than reward.max_failed of them.
    """
    return graded_responses(
        engines,
        graders,
        prompts,
        replace(cfg, eval=eval_named(name, cfg)),
        key=key_of(name),
        where=f"evaluation on {name}",
        samples_folder=SAMPLES,
        remedy=GO_ON,
    )


def key_of(name: str) -> str:
    """What seeds the random numbers of a set: the same at every evaluation."""
    return f"eval-{name}"


def graded_responses(
    engines: EnginePool,
    graders: GraderPool,
    prompts: Sequence[Prompt],
    cfg: Config,
    *,
    key: str,
    where: str,
    samples_folder: str,
    remedy: str,
) -> tuple[Group, ...]:
    """Sample `eval.samples_per_prompt` responses to each prompt and grade them; `key` seeds their random numbers.

    Raises:
        VerifierError: the verifier failed on too many; `where`, `samples_folder` and `remedy` complete the sentence.
    """
    groups = engines.generate(prompts, evaluation_sampling(cfg), n=cfg.eval.samples_per_prompt, key=key)
    scored = score_groups(groups, graders, cfg.reward, cfg.rollout.max_response_tokens)
    _refuse_failures(scored, cfg, where, samples_folder, remedy)
    return scored


def evaluation_sampling(cfg: Config) -> Sampling:
    """How responses to held-out problems are sampled."""
    limit = cfg.rollout.max_response_tokens
    return Sampling(
        cfg.eval.temperature, cfg.eval.top_p, -1, limit, logprobs=False, ends=ends_of(cfg.rollout)
    )


def refuse_failures_on(name: str, graded: Sequence[Group], cfg: Config) -> None:
    """Refuse verdicts on a set that cannot be trusted.

    Raises:
        VerifierError: the verifier failed on more than reward.max_failed of them.
    """
    _refuse_failures(graded, cfg, f"evaluation on {name}", SAMPLES, GO_ON)


def _refuse_failures(
    graded: Sequence[Group], cfg: Config, where: str, samples_folder: str, remedy: str
) -> None:
    check_failures(
        graded_pairs(graded),
        cfg.reward,
        where=where,
        kept=f"All of them, with the verifier's reasons, are in {samples_folder}/{OFFENDERS_FILE}.",
        remedy=remedy,
    )


def report(name: str, groups: Sequence[Group]) -> EvalReport:
    """The figures of one set from its graded responses."""
    correct = correctness([[None if s.failed else s.correct for s in g.samples] for g in groups])
    samples = [s for g in groups for s in g.samples]
    mean, low, high = accuracy_ci95(correct)
    outcomes: dict[str, int] = {}
    for s in samples:
        if s.verdict is not None:
            outcomes[s.verdict.outcome.value] = outcomes.get(s.verdict.outcome.value, 0) + 1
    return EvalReport(
        name=name,
        accuracy=float(mean),
        ci_low=float(low),
        ci_high=float(high),
        problems=len(groups),
        samples_per_problem=correct.shape[1],
        mean_length=float(np.mean([len(s.token_ids) for s in samples])),
        truncated=float(np.mean([s.truncated for s in samples])),
        outcomes=outcomes,
        groups=tuple(groups),
    )
