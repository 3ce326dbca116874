"""What a step reports: the metrics of a batch and its phases as flat names. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlvr.data.curriculum import count_standings
from rlvr.reward.verdict import Outcome
from rlvr.stats.concentration import effective_ratio, gini, top_share
from rlvr.sync.sent import Sent
from rlvr.timing import PhaseClock
from rlvr.types import Batch, Floats, RolloutBatch, StepStats

PERCENTILES = (50, 90, 95, 99)
WEIGHT_PERCENTILES = (1, 5, 10, *PERCENTILES)  # a weighting may act by what it takes away
TOP_SHARES = (1, 5, 20)  # of the tokens, in percent
# Metrics that depend on the clock and so differ between two runs of the same configuration.
TIMING_PREFIXES = ("seconds/", "rate/")


def sets_among(keys: Iterable[str]) -> list[str]:
    """Names of the evaluation sets among the names of metrics, each once; those of the hub have a slash themselves."""
    accuracies = (key for key in keys if key.startswith("eval/") and key.endswith("/accuracy"))
    return list(dict.fromkeys(key.removeprefix("eval/").removesuffix("/accuracy") for key in accuracies))


def compared_tokens(batch: Batch, version: int) -> NDArray[np.bool_]:
    """[T] the tokens whose log-probs on both sides come from the weights `version`.

    Older tokens (staleness > 0) are left out: there the two differ because the policy has moved. So are tokens whose
    context older weights have read (rollout.on_update=keep), and given ones, which no engine sampled.
    """
    scored = batch.signals.old_logp is not None
    return (batch.weight_version == version) & batch.own_context & scored


def logprob_mismatch(batch: Batch, version: int) -> tuple[float, float] | None:
    """Mean and largest |rollout log-prob - learner log-prob| over the compared tokens; None if there are none."""
    compared = compared_tokens(batch, version)
    if batch.signals.old_logp is None or not compared.any():
        return None
    gap = np.abs(batch.rollout_logp - batch.signals.old_logp)[compared]
    return float(gap.mean()), float(gap.max())


def staleness(batch: Batch, version: int) -> float:
    """Steps between the oldest weights that sampled a token of the batch and `version`; 0 if none sampled."""
    sampled = batch.weight_version[batch.weight_version >= 0]
    return float(version - sampled.min()) if len(sampled) else 0.0


def step_metrics(
    rollout: RolloutBatch,
    batch: Batch,
    stats: StepStats,
    clock: PhaseClock,
    version: int,
    busy_seconds: float,
    fresh: Batch | None = None,
    sent: Sent | None = None,
) -> dict[str, float]:
    """All numbers of one training step whose batch was scored by weights `version`.

    `seconds/overhead` is the part of a synchronous step in which no actor worked (`busy_seconds`): grading,
    Ray, packing and bookkeeping. Rewards and accuracies are over the responses on which the verifier did not fail.

    Log-probs of both sides are compared on `fresh`, which is the batch itself unless its tokens are too old. `sent` is
    what the push after it has sent.

    `seconds/generate` and `seconds/reward` were spent collecting the batch, within `seconds/rollout` in a
    synchronous run and beside the learner otherwise.
    """
    fresh = fresh or batch
    metrics = _responses(rollout, batch) | _sampling(rollout, batch, version) | _update(stats)
    metrics |= {
        "tokens/trained": float(batch.tokens),
        "tokens/generated": float(rollout.generated_tokens),
    }
    metrics |= _mismatch(fresh, version)
    if sent is not None:
        metrics |= sent.metrics()
    metrics |= _outcomes(rollout) | curriculum_metrics(rollout)
    for name, values in batch.signals.present().items():
        metrics |= _distribution(name, values)
    if batch.token_weight is not None:
        metrics |= _distribution("token_weight", batch.token_weight, WEIGHT_PERCENTILES)
    return metrics | _clocked(rollout, clock, busy_seconds)


def _responses(rollout: RolloutBatch, batch: Batch) -> dict[str, float]:
    """What the responses are worth, and how long they are."""
    samples = [s for g in rollout.groups for s in g.samples]
    rewards = batch.reward[np.isfinite(batch.reward)]  # where the verifier failed there is none
    lengths = batch.response_lengths
    return {
        "reward/mean": float(rewards.mean()),
        "reward/std": float(rewards.std()),
        "accuracy": float(np.mean([s.correct for s in rollout.samples if not s.failed])),
        "accuracy/kept": float(np.mean([s.correct for s in samples if not s.failed])),
        "length/mean": float(lengths.mean()),
        "length/max": float(lengths.max()),
        "length/truncated": float(np.mean([s.truncated for s in samples])),
    }


def _sampling(rollout: RolloutBatch, batch: Batch, version: int) -> dict[str, float]:
    return {
        "sampling/acceptance": rollout.acceptance,
        "sampling/rounds": float(rollout.rounds),
        "sampling/short_of": float(rollout.short_of),
        "sampling/staleness": staleness(batch, version),
    }


def _update(stats: StepStats) -> dict[str, float]:
    """What the learner says of its updates."""
    found = {
        "loss": stats.loss,
        "grad_norm": stats.grad_norm,
        "lr": stats.learning_rate,
        "ratio/max": stats.ratio_max,
        "clip/low": stats.clip_low,
        "clip/high": stats.clip_high,
        "kl/old": stats.kl_old,
        "kl/base_penalty": stats.kl_base,
        "updates": float(stats.updates),
        "micro_batches": float(stats.micro_batches),
    }
    if stats.entropy_coef is not None:
        found["entropy/coef"] = stats.entropy_coef
    return found


def _mismatch(fresh: Batch, version: int) -> dict[str, float]:
    found = {"mismatch/compared_tokens": float(compared_tokens(fresh, version).sum())}
    if (gap := logprob_mismatch(fresh, version)) is not None:
        found |= {"mismatch/mean": gap[0], "mismatch/max": gap[1]}
    return found


def _clocked(rollout: RolloutBatch, clock: PhaseClock, busy_seconds: float) -> dict[str, float]:
    """What depends on the clock, see `TIMING_PREFIXES`."""
    step = clock.seconds
    seconds = {**clock.phases, **rollout.seconds, "step": step}
    return {f"seconds/{name}": value for name, value in seconds.items()} | {
        "seconds/overhead": max(0.0, step - busy_seconds),
        "rate/tokens_per_second": rollout.generated_tokens / max(step, 1e-9),
    }


def source_metrics(rollout: RolloutBatch, sources: Sequence[str]) -> dict[str, float]:
    """What each source of a mixture gave to the step; only counts for one of which nothing was drawn or graded."""
    metrics: dict[str, float] = {}
    for name in sources:
        samples = [
            s for g in rollout.groups + rollout.dropped for s in g.samples if g.prompt.problem.source == name
        ]
        graded = [s for s in samples if not s.failed]
        if graded:
            metrics[f"source/{name}/accuracy"] = float(np.mean([s.correct for s in graded]))
            metrics[f"source/{name}/reward"] = float(np.mean([s.reward for s in graded]))
        if samples:
            metrics[f"source/{name}/length"] = float(np.mean([len(s.token_ids) for s in samples]))
        metrics |= {
            f"source/{name}/responses": float(len(samples)),
            f"source/{name}/groups": float(sum(g.prompt.problem.source == name for g in rollout.groups)),
            f"source/{name}/failed": float(len(samples) - len(graded)),
        }
    return metrics


def concentration_metrics(
    rollout: RolloutBatch, batch: Batch, gradients: NDArray[np.float64], sources: Sequence[str]
) -> dict[str, float]:
    """How few tokens of the batch carry the weights and the gradient, over all of the loss and by source of a mixture.

    `gradients` [T] are the sizes of the tokens' gradients. A number that is not defined, where all are 0, is missing.
    """
    in_loss = batch.in_loss[batch.sequence_of_token]
    metrics = _concentration(batch, gradients, in_loss)
    of_group = np.asarray([g.prompt.problem.source for g in rollout.groups])
    for name in sources:
        own = in_loss & (of_group == name)[batch.group_index[batch.sequence_of_token]]
        metrics |= {f"source/{name}/{k}": v for k, v in _concentration(batch, gradients, own).items()}
        if total := gradients[in_loss].sum():
            metrics[f"source/{name}/gradient/share"] = float(gradients[own].sum() / total)
    return metrics


def _concentration(
    batch: Batch, gradients: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> dict[str, float]:
    found = {f"gradient/top{p}": top_share(gradients[chosen], p / 100) for p in TOP_SHARES}
    if batch.token_weight is not None:
        weights = batch.token_weight[chosen]
        found |= {"token_weight/gini": gini(weights), "token_weight/effective": effective_ratio(weights)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _outcomes(rollout: RolloutBatch) -> dict[str, float]:
    counts = Counter(s.verdict.outcome for s in rollout.samples if s.verdict is not None)
    found = {f"outcome/{o.value}": float(counts[o]) for o in Outcome}
    verdicts = [s.verdict for s in rollout.samples if s.verdict is not None and not s.failed]
    if any(verdict.score is not None for verdict in verdicts):
        found["score/mean"] = float(np.mean([verdict.credit for verdict in verdicts]))
    return found


def curriculum_metrics(rollout: RolloutBatch) -> dict[str, float]:
    """What data.sampler passed over, and what the problems met so far are to the policy; nothing for uniform."""
    if not rollout.successes:
        return {}
    counts = count_standings(rollout.successes, max(len(g.samples) for g in rollout.groups + rollout.dropped))
    return {"sampling/skipped": rollout.skipped / (rollout.skipped + rollout.prompts_drawn)} | {
        f"problems/{kind.value}": float(count) for kind, count in counts.items()
    }


def _distribution(name: str, values: Floats, percentiles: tuple[int, ...] = PERCENTILES) -> dict[str, float]:
    if len(values) == 0:
        return {}
    marks = np.percentile(values, percentiles)
    return {f"{name}/mean": float(values.mean())} | {
        f"{name}/p{p}": float(v) for p, v in zip(percentiles, marks, strict=True)
    }


def comparable(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics without those that measure time: equal in a resumed run and one never stopped."""
    return {k: v for k, v in metrics.items() if not k.startswith(TIMING_PREFIXES)}
