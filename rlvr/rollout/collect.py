"""Stages 1 to 3: draw prompts, generate, grade, and keep the groups that carry a learning signal."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config import Config
from rlvr.data.curriculum import draw, learnt
from rlvr.data.stream import PromptStream
from rlvr.reward.failures import too_many_failed
from rlvr.reward.score import score_groups, worth
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.given import build_answers, given_groups
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.sampling import Sampling
from rlvr.rollout.stop import ends_of
from rlvr.rollout.streaming.rounds import next_draw
from rlvr.timing import PhaseClock
from rlvr.types import Group, Prompt, RolloutBatch, Successes


def has_signal(group: Group, score: str) -> bool:
    """Whether the group's graded samples differ in what the verifier's word is worth, as reward.score has it; if all
    are equal every advantage is 0 (DAPO's condition 0 < correct < n, arXiv 2503.14476, eq. 11). Punishments for
    length do not count."""
    return len({worth(s, score) for s in group.graded}) > 1


def is_kept(group: Group, cfg: Config) -> bool:
    """Whether a graded group is trained on: dynamic sampling drops those without a signal."""
    return has_signal(group, cfg.reward.score) or not cfg.rollout.dynamic_sampling


def training_sampling(cfg: Config) -> Sampling:
    """How training responses are sampled."""
    r = cfg.rollout
    return Sampling(r.temperature, r.top_p, r.top_k, r.max_response_tokens, ends=ends_of(r))


def truncation_note(cfg: Config) -> str | None:
    """What a run with truncated sampling says at its start."""
    r = cfg.rollout
    cuts = [f"rollout.top_p={r.top_p:g}"] * (r.top_p < 1) + [f"rollout.top_k={r.top_k}"] * (r.top_k > 0)
    cuts += [f"rollout.min_tokens={r.min_tokens}"] * (r.min_tokens > 0)
    if not cuts or r.answers is not None:
        return None
    return (
        f"truncated sampling ({', '.join(cuts)}): tokens are drawn from the truncated distribution; log-probs, "
        "ratios and the mismatch gate are of the whole one, and the bias of that is not corrected"
    )


def respond(prompts: Sequence[Prompt], engines: EnginePool, cfg: Config, *, key: str) -> Sequence[Group]:
    """Responses to the prompts: sampled by the engines, or given (rollout.answers)."""
    n = cfg.rollout.samples_per_prompt
    if cfg.rollout.answers is None:
        return engines.generate(prompts, training_sampling(cfg), n=n, key=key)
    write = build_answers(cfg.rollout.answers)
    room = cfg.rollout.max_response_tokens
    return given_groups(
        prompts, write, engines.tokenizer, n=n, key=key, seed=cfg.seed, max_response_tokens=room
    )


def collect(
    engines: EnginePool,
    graders: GraderPool,
    stream: PromptStream,
    cfg: Config,
    *,
    position: int,
    step: int,
    known: Successes | None = None,
) -> RolloutBatch:
    """The groups of one step, starting at `position` of the prompt stream; `known` is what data.sampler goes by.

    Without dynamic sampling this is one round. With it, groups whose answers are all right or all wrong (with
    reward.score=raw: all of one score) are dropped and replaced by further prompts, for at most rollout.max_rounds
    rounds; what is still missing then is reported in `short_of` and training goes on with the partial batch. A verifier
    that fails on more than reward.max_failed of the responses so far ends the step early.
    """
    want = cfg.data.prompts_per_step
    rounds_allowed = cfg.rollout.max_rounds if cfg.rollout.dynamic_sampling else 1
    clock = PhaseClock()
    kept: list[Group] = []
    dropped: list[Group] = []
    known = known or {}
    drawn = rounds = skipped = 0
    while len(kept) < want and rounds < rounds_allowed:
        count = next_draw(want - len(kept), len(kept), drawn, want)
        prompts = draw(stream, position, count, cfg, known)
        position, skipped = prompts.position, skipped + prompts.skipped
        with clock.phase("generate"):
            groups = respond(prompts.prompts, engines, cfg, key=f"{step}.{rounds}")
        with clock.phase("reward"):
            groups = score_groups(groups, graders, cfg.reward, cfg.rollout.max_response_tokens)
        for group in groups:
            (kept if is_kept(group, cfg) else dropped).append(group)
        drawn += count
        rounds += 1
        if too_many_failed([s for g in kept + dropped for s in g.samples], cfg.reward.max_failed):
            break  # the step will be refused: another round would only take its time
    return RolloutBatch(
        groups=tuple(kept[:want]),
        dropped=tuple(dropped + kept[want:]),
        data_position=position,
        skipped=skipped,
        successes=learnt(known, kept + dropped, cfg),
        prompts_drawn=drawn,
        prompts_kept=len(kept),
        rounds=rounds,
        short_of=max(0, want - len(kept)),
        generated_tokens=sum(len(s.token_ids) for g in kept + dropped for s in g.samples),
        seconds=clock.phases,
    )
