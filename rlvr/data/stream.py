"""The training stream and the evaluation sets: problems as tokenised prompts.

The stream is a pure function of (seed, position), so a resumed run continues with exactly the prompts that it
would have seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from rlvr.config import DataConfig
from rlvr.data.arithmetic import train_problem
from rlvr.data.fingerprint import Fingerprint, fingerprint
from rlvr.data.overlap import SharedQuestion, settle_overlap
from rlvr.data.sources import ARITHMETIC, BadRow, load_problems, rules_of
from rlvr.data.templates import takes_conversations, tokenize
from rlvr.errors import DataError
from rlvr.reward.verdict import DEFAULT_RULES, Rules
from rlvr.types import Problem, Prompt, Tokenizer

log = logging.getLogger(__name__)

IDS_LISTED = 5
ENDLESS_PROBED = 64  # prompts that tell an endless stream's seed and version


@dataclass(frozen=True, slots=True)
class LengthLimit:
    """How many tokens a prompt may have: the configured limit, and what the context leaves for it."""

    max_prompt_tokens: int
    context: int | None = None  # model.max_length; None: not checked here
    max_response_tokens: int = 0

    @property
    def tokens(self) -> int:
        if self.context is None:
            return self.max_prompt_tokens
        return min(self.max_prompt_tokens, self.context - self.max_response_tokens)

    def remedy(self) -> str:
        if self.tokens == self.max_prompt_tokens:
            return f"data.max_prompt_tokens is {self.tokens}; raise it, or set data.on_long_prompt=skip"
        return (
            f"model.max_length {self.context} less rollout.max_response_tokens {self.max_response_tokens} "
            f"leaves {self.tokens}; change one of them, or set data.on_long_prompt=skip"
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was left out of a training stream or an evaluation set."""

    bad_rows: tuple[BadRow, ...] = ()
    long_prompts: tuple[str, ...] = ()  # ids
    overlaps: tuple[SharedQuestion, ...] = ()  # found; whether their problems were dropped is data.on_overlap


@dataclass(frozen=True, slots=True)
class EvalSet:
    """An evaluation set as tokenised prompts."""

    name: str
    prompts: tuple[Prompt, ...]
    left_out: LeftOut = LeftOut()

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells these prompts from others; computed anew each time."""
        return fingerprint(self.prompts, len(self.prompts))


class PromptSource(Protocol):
    """Prompts by position; `size` is their number, None if endless."""

    @property
    def size(self) -> int | None: ...

    def at(self, position: int) -> Prompt: ...


@dataclass(frozen=True, slots=True)
class EpochSource:
    """A finite data set, walked through again and again; every epoch has its own order when shuffled.

    From the second epoch on a prompt's id carries the epoch, counted from 0, as `<id>#<epoch>`: prompt ids
    are unique within a run.
    """

    prompts: tuple[Prompt, ...]
    seed: int
    shuffle: bool = True

    @property
    def size(self) -> int:
        return len(self.prompts)

    def at(self, position: int) -> Prompt:
        epoch, place = divmod(position, self.size)
        prompt = self.prompts[epoch_order(self.seed, epoch, self.size)[place] if self.shuffle else place]
        if epoch == 0:
            return prompt
        return replace(prompt, problem=replace(prompt.problem, id=f"{prompt.id}#{epoch}"))


@dataclass(frozen=True, slots=True)
class ArithmeticSource:
    """The endless arithmetic problems: position i is problem i of the seed."""

    seed: int
    template: str
    tokenizer: Tokenizer
    limit: LengthLimit
    rules: Rules = DEFAULT_RULES

    @property
    def size(self) -> None:
        return None

    def at(self, position: int) -> Prompt:
        problem = replace(train_problem(self.seed, position), rules=self.rules)
        prompt = tokenize(problem, self.template, self.tokenizer)
        fitting_prompts((prompt,), self.limit, "refuse")  # skipping would shift every later position
        return prompt


@dataclass(frozen=True, slots=True)
class PromptStream:
    """The training prompts in the order in which a run draws them."""

    name: str
    source: PromptSource
    left_out: LeftOut = LeftOut()

    @property
    def size(self) -> int | None:
        """Prompts of one epoch; None for an endless stream."""
        return self.source.size

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells this stream from others: the first epoch in its order, or the first prompts of an endless one."""
        return fingerprint(self.take(0, self.size or ENDLESS_PROBED), self.size)

    def take(self, position: int, count: int) -> list[Prompt]:
        """Return prompts `position` to `position + count - 1`; depends on nothing else.

        Raises ValueError if either number is negative.
        """
        if position < 0 or count < 0:
            raise DataError(f"take(position={position}, count={count}): both must be at least 0")
        return [self.source.at(index) for index in range(position, position + count)]


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, size: int) -> tuple[int, ...]:
    """Return the order of an epoch, a permutation of `range(size)`.

    Uses NumPy's frozen legacy generator: its streams never change between versions, so a run resumes the same
    after an upgrade. The seed must lie in [0, 2**32).
    """
    return tuple(np.random.RandomState([seed, epoch]).permutation(size).tolist())


def fitting_prompts(
    prompts: Sequence[Prompt], limit: LengthLimit, on_long_prompt: str
) -> tuple[tuple[Prompt, ...], tuple[str, ...]]:
    """Return the prompts that fit the limit, and the ids of those that do not.

    Raises DataError where a prompt does not fit and `on_long_prompt` is "refuse", and where none fits.
    """
    if on_long_prompt not in ("refuse", "skip"):
        raise DataError(f"data.on_long_prompt is {on_long_prompt!r}; expected 'refuse' or 'skip'")
    long = [prompt for prompt in prompts if len(prompt.token_ids) > limit.tokens]
    if not long:
        return tuple(prompts), ()
    listed = ", ".join(f"{prompt.id} ({len(prompt.token_ids)} tokens)" for prompt in long[:IDS_LISTED])
    more = ", ..." if len(long) > IDS_LISTED else ""
    message = f"{len(long)} of {len(prompts)} prompts are too long: {listed}{more}"
    if on_long_prompt == "refuse" or len(long) == len(prompts):
        raise DataError(f"{message}. {limit.remedy()}")
    log.warning("%s. They are left out", message)
    return tuple(p for p in prompts if len(p.token_ids) <= limit.tokens), tuple(p.id for p in long)


def build_training_stream(
    cfg: DataConfig,
    tokenizer: Tokenizer,
    *,
    seed: int,
    context: int | None = None,
    max_response_tokens: int = 0,
    eval_sets: Sequence[EvalSet] | None = None,
) -> PromptStream:
    """Build the stream of `data.train`, checked against the evaluation sets by `data.on_overlap`.

    `context` and `max_response_tokens` also hold prompts to the room that a response leaves. `eval_sets` are
    those of `build_eval_sets`; without them they are loaded from the configuration for the overlap check.
    Raises DataError for bad rows, long prompts and overlap, each by its policy, and for an unusable seed.
    """
    if not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed}; expected a number in [0, 2**32)")
    limit = LengthLimit(cfg.max_prompt_tokens, context, max_response_tokens)
    if cfg.train.name == ARITHMETIC and cfg.train.path is None and cfg.train.limit is None:
        source = ArithmeticSource(seed, cfg.template, tokenizer, limit, rules_of(cfg.train))
        source.at(0)  # a template or limit that cannot work fails here rather than at step 1
        return PromptStream(cfg.train.name, source)
    loaded = load_problems(
        cfg.train, on_bad_row=cfg.on_bad_row, conversations=takes_conversations(cfg.template)
    )
    problems, overlaps = settle_overlap(loaded.problems, _eval_problems(cfg, eval_sets), cfg.on_overlap)
    prompts = [tokenize(problem, cfg.template, tokenizer) for problem in problems]
    kept, long = fitting_prompts(prompts, limit, cfg.on_long_prompt)
    return PromptStream(
        cfg.train.name, EpochSource(kept, seed, cfg.shuffle), LeftOut(loaded.bad_rows, long, overlaps)
    )


def build_eval_sets(
    cfg: DataConfig,
    tokenizer: Tokenizer,
    *,
    context: int | None = None,
    max_response_tokens: int = 0,
) -> tuple[EvalSet, ...]:
    """Build the evaluation sets of `data.eval`, each in its own order.

    Raises DataError for bad rows and long prompts, by their policies, and for two sets of the same name.
    """
    names = [source.name for source in cfg.eval]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"data.eval names {', '.join(twice)} more than once; give each source its own name")
    limit = LengthLimit(cfg.max_prompt_tokens, context, max_response_tokens)
    sets = []
    for source in cfg.eval:
        loaded = load_problems(
            source,
            on_bad_row=cfg.on_bad_row,
            evaluation=True,
            conversations=takes_conversations(cfg.template),
        )
        prompts = [tokenize(problem, cfg.template, tokenizer) for problem in loaded.problems]
        kept, long = fitting_prompts(prompts, limit, cfg.on_long_prompt)
        sets.append(EvalSet(source.name, kept, LeftOut(loaded.bad_rows, long)))
    return tuple(sets)


def _eval_problems(cfg: DataConfig, eval_sets: Sequence[EvalSet] | None) -> dict[str, tuple[Problem, ...]]:
    if eval_sets is not None:
        return {chosen.name: tuple(prompt.problem for prompt in chosen.prompts) for chosen in eval_sets}
    return {
        source.name: load_problems(source, on_bad_row=cfg.on_bad_row, evaluation=True).problems
        for source in cfg.eval
    }
